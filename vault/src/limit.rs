//! A limit on how many may do something at once, which can be changed while they do.
//!
//! Does not own: what is limited. Lowering it interrupts nobody: those that are over it finish, and nobody starts until
//! there is room.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// A limit; cheap to clone.
#[derive(Clone, Debug)]
pub struct Limit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// How many there may be, and how many there are.
    state: Mutex<(usize, usize)>,
    freed: Notify,
}

/// One that is counted, until it is dropped.
#[derive(Debug)]
pub struct LimitGuard {
    shared: Arc<Shared>,
}

impl Limit {
    /// At most `size` at once; at least one.
    pub fn new(size: usize) -> Self {
        let state = Mutex::new((size.max(1), 0));
        Self { shared: Arc::new(Shared { state, freed: Notify::new() }) }
    }

    /// How many there may be.
    pub fn size(&self) -> usize {
        self.shared.state().0
    }

    /// Changes it, to at least one.
    pub fn set(&self, size: usize) {
        self.shared.state().0 = size.max(1);
        self.shared.freed.notify_waiters();
    }

    /// Waits until there is room for one more.
    pub async fn take(&self) -> LimitGuard {
        loop {
            let freed = self.shared.freed.notified();
            tokio::pin!(freed);
            // From here on nothing that is freed is missed.
            freed.as_mut().enable();
            {
                let mut state = self.shared.state();
                if state.1 < state.0 {
                    state.1 += 1;
                    return LimitGuard { shared: Arc::clone(&self.shared) };
                }
            }
            freed.await;
        }
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, (usize, usize)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LimitGuard {
    fn drop(&mut self) {
        self.shared.state().1 -= 1;
        self.shared.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn is_free(limit: &Limit) -> Option<LimitGuard> {
        tokio::time::timeout(Duration::from_millis(50), limit.take()).await.ok()
    }

    #[tokio::test]
    async fn it_can_be_raised_and_lowered_while_it_is_used() {
        let limit = Limit::new(1);
        let first = is_free(&limit).await.expect("room for one");
        assert!(is_free(&limit).await.is_none());
        limit.set(2);
        let second = is_free(&limit).await.expect("raised");
        limit.set(1);
        drop(first);
        assert!(is_free(&limit).await.is_none(), "lowered while both were at it");
        drop(second);
        assert!(is_free(&limit).await.is_some());
    }

    #[tokio::test]
    async fn those_who_wait_get_their_turn() {
        let limit = Limit::new(1);
        let first = limit.take().await;
        let waiting = async {
            for _ in 0..3 {
                drop(limit.take().await);
            }
        };
        tokio::join!(waiting, async { drop(first) }, async { drop(limit.take().await) });
    }
}
