//! Every kind of repository that may lie in a storage, backed up and restored by the real programs.
//!
//! Does not own: random histories (`histories`), daemons and crashes (`system`). Each test makes a state, backs it up,
//! changes it, and in the end asks for every backup point back, from Packhorse and from plain git.

mod alternates;
mod busy;
mod chains;
mod corrupt;
mod damaged;
mod formats;
mod head;
mod hooks;
mod last_good;
mod layouts;
mod lying_helpers;
mod many_refs;
mod names_in_conflict;
mod old_git;
mod proofs;
mod ref_names;
mod restored_beside_readers;
mod rewritten;
mod selection;
mod small_changes;
mod special_refs;
mod symbolic_refs;
mod tags;
mod unchanged;
