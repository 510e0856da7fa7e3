//! Memory for what was read from children and is not in the vault's hands yet: one room for all of the process.
//!
//! Does not own: the bytes. It is what lets a program go on while the store is slow, and what holds it back when the
//! store stays slow. A stream may hold as much as it leaves free to others, so one that is ahead of a slow store never
//! keeps the next one from beginning. A few bytes each stream has for itself, whatever others hold: streams also wait
//! for each other's parts in the vault's buffers, and could otherwise wait in a circle.

use std::sync::{
    Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

const MIB: usize = 1 << 20;
/// Bytes of all streams together.
const SIZE: usize = 64 * MIB;
/// Bytes that a stream may hold in any case.
pub(super) const OWN: usize = 4 * MIB;

/// The room.
#[derive(Default)]
pub(super) struct Room {
    /// Bytes that are held.
    held: Mutex<usize>,
    freed: Condvar,
}

/// What one stream holds of it.
pub(super) struct Share {
    room: Arc<Room>,
    /// Changed only while the room is locked.
    held: AtomicUsize,
}

/// Some bytes of a share; free again when this is dropped.
pub(super) struct Hold {
    share: Arc<Share>,
    bytes: usize,
}

impl Room {
    /// The share of a new stream in the room of this process.
    pub(super) fn share() -> Arc<Share> {
        static ROOM: LazyLock<Arc<Room>> = LazyLock::new(Arc::default);
        ROOM.share_of()
    }

    fn share_of(self: &Arc<Self>) -> Arc<Share> {
        Arc::new(Share { room: Arc::clone(self), held: AtomicUsize::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Waits until the stream may hold so many bytes more. Blocking.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Hold {
        let mut held = self.room.lock();
        while !self.may_hold(*held, bytes) {
            held = self.room.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        *held += bytes;
        self.held.fetch_add(bytes, Relaxed);
        drop(held);
        Hold { share: Arc::clone(self), bytes }
    }

    fn may_hold(&self, held_by_all: usize, bytes: usize) -> bool {
        let own = self.held.load(Relaxed) + bytes;
        own <= OWN || own <= SIZE.saturating_sub(held_by_all + bytes)
    }
}

impl Hold {
    /// Holds so many bytes from now on.
    pub(super) fn resize(&mut self, bytes: usize) {
        let mut held = self.share.room.lock();
        *held = *held - self.bytes + bytes;
        self.share.held.fetch_add(bytes, Relaxed);
        self.share.held.fetch_sub(self.bytes, Relaxed);
        self.bytes = bytes;
        drop(held);
        self.share.room.freed.notify_all();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::sync_channel, thread, time::Duration};

    use packhorse_testkit::{assert_stays, wait_until};

    use super::*;

    /// Takes mebibytes until there are no more to take.
    fn fill(share: &Arc<Share>) -> Vec<Hold> {
        let may = |share: &Share| share.may_hold(*share.room.lock(), MIB);
        std::iter::from_fn(|| may(share).then(|| share.take(MIB))).collect()
    }

    #[test]
    fn a_stream_holds_as_much_as_it_leaves_free_and_some_in_any_case() {
        let room = Arc::<Room>::default();
        let streams: Vec<_> = (0..80).map(|_| room.share_of()).collect();
        let holds: Vec<_> = streams.iter().map(fill).collect();
        let counts: Vec<_> = holds.iter().map(Vec::len).collect();
        assert_eq!(counts[..4], [32, 16, 8, 4]);
        assert!(counts[4..].iter().all(|count| *count * MIB == OWN), "{counts:?}");
        drop((holds, streams));
        assert_eq!(*room.lock(), 0);
        assert_eq!(fill(&room.share_of()).len(), 32, "all came back");
    }

    #[test]
    fn who_waits_goes_on_when_something_was_compressed() {
        let share = Arc::<Room>::default().share_of();
        let mut holds = fill(&share);
        let (taken, taking) = sync_channel(1);
        let thread = thread::spawn(move || taken.send(share.take(MIB)));
        assert_stays("a full room", Duration::from_millis(100), || {
            taking.try_recv().map_or(Ok(()), |_| Err("it had room".to_owned()))
        });
        holds.iter_mut().take(2).for_each(|hold| hold.resize(MIB / 2));
        wait_until("room", Duration::from_secs(10), || taking.try_recv().map_err(|error| error.to_string()));
        thread.join().expect("joined").expect("sent");
    }
}
