//! A value that is replaced while others use it, such as options that a reload changes.
//!
//! Does not own: when it changes. Whoever works takes the value once, at the start, and keeps it to the end; so nothing
//! changes under work that is going on.

use std::sync::Arc;

use tokio::sync::watch;

/// A shared value; clones are the same one.
#[derive(Debug)]
pub struct Live<T> {
    value: Arc<watch::Sender<Arc<T>>>,
}

impl<T> Live<T> {
    /// The value at this moment.
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.value.borrow())
    }

    /// Replaces the value for whoever asks from now on.
    pub fn replace(&self, value: T) {
        self.value.send_replace(Arc::new(value));
    }

    /// Tells of replacements from now on.
    pub fn changes(&self) -> watch::Receiver<Arc<T>> {
        self.value.subscribe()
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value) }
    }
}

impl<T> From<T> for Live<T> {
    fn from(value: T) -> Self {
        Self { value: Arc::new(watch::Sender::new(Arc::new(value))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_stays_and_the_next_is_new() {
        let live = Live::from(1);
        let (other, taken, changes) = (live.clone(), live.now(), live.changes());
        other.replace(2);
        assert_eq!((*taken, *live.now()), (1, 2));
        assert!(changes.has_changed().expect("the sender lives"));
    }
}
