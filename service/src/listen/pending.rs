//! Handshakes under way: few, and never so many that a new one has to wait.
//!
//! Does not own: their time, which is limited as well. When there are too many, the oldest gives way: an honest one
//! takes moments, so the oldest is one that stalls.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// Handshakes at once.
pub const MAX_HANDSHAKES: usize = 256;

/// The handshakes under way, oldest first; cheap to clone.
#[derive(Clone, Default)]
pub struct Pending {
    queue: Arc<Mutex<VecDeque<(u64, CancellationToken)>>>,
}

/// One handshake; it is over when this is dropped.
pub struct Handshake {
    pending: Pending,
    number: u64,
    /// Cancelled when it has to give way.
    pub give_way: CancellationToken,
}

impl Pending {
    /// Starts a handshake with a number of its own.
    pub fn enter(&self, number: u64) -> Handshake {
        let give_way = CancellationToken::new();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= MAX_HANDSHAKES
            && let Some((_, oldest)) = queue.pop_front()
        {
            oldest.cancel();
        }
        queue.push_back((number, give_way.clone()));
        Handshake { pending: self.clone(), number, give_way }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut queue = self.pending.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_gives_way() {
        let pending = Pending::default();
        let mut all: Vec<_> = (0..MAX_HANDSHAKES as u64).map(|number| pending.enter(number)).collect();
        drop(all.remove(0));
        let fits = pending.enter(9000);
        assert!(all.iter().all(|handshake| !handshake.give_way.is_cancelled()));
        let one_more = pending.enter(9001);
        assert!(all[0].give_way.is_cancelled() && !all[1].give_way.is_cancelled());
        assert!(!fits.give_way.is_cancelled() && !one_more.give_way.is_cancelled());
    }
}
