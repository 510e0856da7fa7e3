//! Bare repositories made by real git, and the oracle that says whether two of them are the same.
//!
//! Does not own: anything of Packhorse; git alone makes and reads these repositories. Nothing of the developer's
//! configuration takes part, and dates come from a counter, so the same calls give the same object ids.

mod history;
mod hooks;
mod refs;
mod repo;
mod state;

pub use hooks::HookEntry;
pub use repo::GitRepo;
pub use state::{Head, ReachableObjects, RefState, RepoState};
