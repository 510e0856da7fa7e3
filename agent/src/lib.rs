//! Does: backs up and restores the repositories of a storage node.

pub mod backup;
pub mod git;
pub mod restore;
