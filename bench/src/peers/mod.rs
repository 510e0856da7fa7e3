//! What backupctl is compared with, as scripts: one file for each kind of tool.
//!
//! Does not own: which of them is compared where (`rows`). Nothing is synced to the disk, as these tools do not, except
//! where a copy says so.

pub mod borg;
pub mod copies;
pub mod curl;
pub mod git;
pub mod restic;
