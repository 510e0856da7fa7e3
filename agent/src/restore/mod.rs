//! Restores the repositories of one storage from the vault.
//!
//! Before it, `plan` looks at the same entries and the same places and says what would be done; it writes nothing.
//!
//! Order: `select` the catalogue's entries; then for each repository, several at once: `fetch` what it must become,
//! `build` an empty repository in the `workshop`, bring its `objects`, write its `refs`, on demand `optimise` it,
//! unpack its `hooks`, and `place` it. At the end the storage's file system is synced, and only then does the restore
//! report success; `early_sync` lets the disk begin before that.
//!
//! A forced restore asks `borrowers` who borrows objects from a repository before it replaces it. One that lends waits until
//! all others are done, and is refused when somebody borrows from it even then.
//!
//! Retries: none here; the vault's client has its own. A repository that fails is named and the others go on.
//!
//! Cancellation: no repository is started any more, threads and git children stop, the temporary folder is removed.
//! Repositories that are in place by then stay: each of them is whole.
//!
//! Whatever is removed, `remove` does it, which enters nothing that is mounted there.
//!
//! Crash: a repository is in place whole or not at all. The temporary folder stays, with nobody holding its lock, and
//! the next restore into the storage removes it. After a power loss, repositories of the running restore that were not
//! yet synced may be damaged or gone; a forced restore syncs each new repository before it replaces an old one.

mod already;
mod borrowers;
mod build;
mod early_sync;
mod fetch;
mod folders;
mod git_child;
mod hooks;
mod inside;
mod io_problem;
mod job;
mod lent;
mod objects;
mod optimise;
mod owner;
mod place;
mod plan;
mod progress;
mod ref_check;
mod refs;
mod remove;
mod repository;
mod run;
mod select;
mod workshop;

pub use job::{RestoreEvent, RestoreJob, RestoreProgress, RestoreResult};
pub use plan::{StoragePlan, plan_storage};
pub use run::restore_storage;
pub use select::Unmatched;

use progress::Progress;
use run::Restore;

#[cfg(test)]
mod tests;
