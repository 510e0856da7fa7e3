//! A loop over many things, a fixed number at a time, as a script around git would run it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Result, anyhow};

/// Repositories worked on at once, by both sides.
pub const JOBS: usize = 2;

/// Calls `each` for every item from so many threads and returns the first error, after which no item is begun.
pub fn in_parallel<T: Sync>(
    threads: usize,
    items: &[T],
    each: impl Fn(usize, &T) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<()> {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return Ok(()) };
            if let Err(error) = each(at, item) {
                next.store(items.len(), Ordering::Relaxed);
                return Err(error);
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads.clamp(1, items.len().max(1))).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err(anyhow!("a worker panicked"))))
            .fold(Ok(()), Result::and)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_has_its_turn_and_an_error_ends_the_loop() {
        let items: Vec<usize> = (0..100).collect();
        let sum = AtomicUsize::new(0);
        in_parallel(4, &items, |_, item| {
            sum.fetch_add(*item, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
        assert_eq!(sum.into_inner(), 4950);
        let begun = AtomicUsize::new(0);
        let ended = in_parallel(1, &items, |at, _| {
            begun.fetch_add(1, Ordering::Relaxed);
            if at == 3 { Err(anyhow!("the fourth")) } else { Ok(()) }
        });
        assert_eq!((ended.is_err(), begun.into_inner()), (true, 4));
    }
}
