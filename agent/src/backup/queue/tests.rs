//! The order of the queue, its room, and its end.
//!
//! Does not own: who fills and empties it (`work`).

use packhorse_vault::{Head, ObjectFormat, Oid, RefList, RefSnapshot, RefStorage};
use tokio::time::timeout;

use super::*;

/// Time for something that must happen.
const SOON: Duration = Duration::from_secs(30);

fn snapshot(refs: usize, hooks: Option<Vec<u8>>) -> Snapshot {
    let oid = Oid::from_hex(&[b'1'; 40]).expect("an id");
    let refs = RefSnapshot {
        object_format: ObjectFormat::Sha1,
        ref_storage: RefStorage::Files,
        head: Head::Symbolic(b"refs/heads/main".to_vec()),
        refs: RefList::from_unsorted(
            (0..refs).map(|n| (format!("refs/tags/{n}").into_bytes(), oid)).collect(),
        ),
        symrefs: Vec::new(),
    };
    let fingerprint = packhorse_vault::Fingerprint::of(&refs, None);
    let seen = fingerprint.clone();
    Snapshot { refs, hooks, fingerprint, seen, left_out: Vec::new(), object_files: None }
}

/// Adds a repository that is the `number`th of the walk.
async fn push(queue: &Queue, size: u64, number: u64, snapshot: Snapshot) {
    let path: packhorse_model::RepoPath = format!("{number}.git").parse().expect("a path");
    let candidate = Candidate { path, dir: "/".into(), has_hooks: false, is_shallow: false };
    let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("room");
    let room = queue.room().await.expect("room");
    queue.push(size, (number, candidate, None, permit), snapshot, room);
}

/// Sizes and numbers of what is left, in the order in which it goes.
fn popped(queue: &Queue) -> Vec<(u64, u64)> {
    std::iter::from_fn(|| queue.pop()).map(|waiting| (waiting.size, waiting.number)).collect()
}

#[tokio::test]
async fn the_largest_goes_first_and_of_equals_the_one_that_was_found_first() {
    let queue = Queue::new();
    for (number, size) in [1, 5, 3].into_iter().enumerate() {
        push(&queue, size, number as u64, snapshot(1, None)).await;
    }
    assert_eq!(popped(&queue), [(5, 1), (3, 2), (1, 0)]);
    for (size, number) in [(2, 9), (2, 4), (7, 8), (2, 6)] {
        push(&queue, size, number, snapshot(1, None)).await;
    }
    assert_eq!(queue.pop().map(|waiting| waiting.number), Some(8));
    // One that comes later is not behind smaller ones that have waited.
    push(&queue, 3, 10, snapshot(1, None)).await;
    assert_eq!(popped(&queue), [(3, 10), (2, 4), (2, 6), (2, 9)]);
}

#[tokio::test]
async fn who_waits_is_told_of_the_first_one_and_of_the_end() {
    let queue = Queue::new();
    let mut waiting = Box::pin(queue.is_filled());
    assert!(at_once(&mut waiting).await.is_none(), "nothing is there");
    push(&queue, 1, 0, snapshot(1, None)).await;
    assert!(timeout(SOON, waiting).await.expect("told"));
    queue.close();
    assert!(queue.is_filled().await, "what is there is not forgotten");
    drop(queue.pop());
    assert!(!timeout(SOON, queue.is_filled()).await.expect("told"));
}

/// What a future has to say at once.
async fn at_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    tokio::select! { biased; told = future => Some(told), () = std::future::ready(()) => None }
}

#[tokio::test]
async fn so_many_may_wait_and_each_that_goes_makes_room() {
    let queue = Queue::new();
    for number in 0..WAITING as u64 {
        push(&queue, 1, number, snapshot(0, None)).await;
    }
    let mut room = Box::pin(queue.room());
    assert!(at_once(&mut room).await.is_none(), "it is full");
    drop(queue.pop());
    assert!(timeout(SOON, room).await.expect("room again").is_some());
}

#[tokio::test]
async fn a_snapshot_is_kept_only_where_it_is_small_or_there_is_room() {
    let queue = Queue::new();
    let small = vec![0; KEPT_HOOKS];
    push(&queue, 4, 0, snapshot(KEPT_REFS, Some(small))).await;
    push(&queue, 3, 1, snapshot(KEPT_REFS + 1, None)).await;
    push(&queue, 2, 2, snapshot(1, Some(vec![0; KEPT_HOOKS + 1]))).await;
    let most = KEPT_REFS_IN_ALL as usize - KEPT_REFS;
    push(&queue, 1, 3, snapshot(most, None)).await;
    let kept: Vec<bool> = std::iter::from_fn(|| queue.pop()).map(|w| w.seen.is_some()).collect();
    assert_eq!(kept, [true, true, false, false]);
    // The room came back.
    push(&queue, 1, 4, snapshot(most, None)).await;
    assert!(queue.pop().is_some_and(|waiting| waiting.seen.is_some()));
}

#[tokio::test]
async fn a_snapshot_becomes_old() {
    let queue = Queue::new();
    push(&queue, 1, 0, snapshot(1, None)).await;
    let mut waiting = queue.pop().expect("it waits");
    let seen = waiting.seen.as_mut().expect("it is small");
    assert!(seen.is_fresh());
    seen.at = seen.at.checked_sub(FRESH).expect("the clock has run for longer");
    assert!(!seen.is_fresh());
}
