//! A loop over repositories, a fixed number at a time, as a script around git would run it.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Result, anyhow};

/// Repositories worked on at once, by both sides.
pub const JOBS: usize = 2;

/// Calls `each` for every item from `JOBS` threads and returns the first error.
pub fn in_parallel(items: &[PathBuf], each: impl Fn(usize, &Path) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<()> {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            match items.get(at) {
                Some(item) => each(at, item)?,
                None => return Ok(()),
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..JOBS).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err(anyhow!("a worker panicked"))))
            .fold(Ok(()), Result::and)
    })
}
