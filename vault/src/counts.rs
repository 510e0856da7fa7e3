//! How many requests went to the store, by kind.
//!
//! Does not own: what they cost. Counted where a request is made, multipart parts one by one; retries inside the HTTP
//! client are not seen.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// Requests since the vault was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCounts {
    /// Single puts, parts, and the start, completion and abort of multipart uploads.
    pub puts: u64,
    /// Gets.
    pub gets: u64,
    /// Heads.
    pub heads: u64,
    /// Listings.
    pub lists: u64,
}

impl RequestCounts {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.puts + self.gets + self.heads + self.lists
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter {
    puts: AtomicU64,
    gets: AtomicU64,
    heads: AtomicU64,
    lists: AtomicU64,
}

impl Counter {
    pub(crate) fn put(&self) {
        self.puts.fetch_add(1, Relaxed);
    }
    pub(crate) fn get(&self) {
        self.gets.fetch_add(1, Relaxed);
    }
    pub(crate) fn head(&self) {
        self.heads.fetch_add(1, Relaxed);
    }
    pub(crate) fn list(&self) {
        self.lists.fetch_add(1, Relaxed);
    }
    pub(crate) fn snapshot(&self) -> RequestCounts {
        let load = |n: &AtomicU64| n.load(Relaxed);
        RequestCounts {
            puts: load(&self.puts),
            gets: load(&self.gets),
            heads: load(&self.heads),
            lists: load(&self.lists),
        }
    }
}
