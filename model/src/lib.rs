//! The words of Packhorse: identifiers, outcomes, problems and policies as plain values.
//!
//! Does not own: I/O, async, the stored format (`vault`) or the wire (`proto`). Every type parses its input once, at
//! the edge, so that code further in cannot meet an invalid one.

mod backup_id;
mod component;
mod database;
mod digest;
mod exit;
mod filter;
mod item_failure;
mod nearest;
mod outcome;
mod owner;
mod problem;
mod ref_name;
mod repo_path;
mod restore_order;
mod restore_plan;
mod selector;
mod shell;
mod storage_name;
mod summary;
mod vault_settings;
mod visible;

pub use backup_id::BackupId;
pub use component::{Component, ComponentSelection};
pub use database::{DatabaseAttributes, DatabaseContents, DatabaseGrant, DatabaseSetting, TableRows};
pub use digest::{ObjectDigest, Sha256Hex};
pub use exit::Exit;
pub use filter::{RepoFilter, RepoPattern};
pub use item_failure::ItemFailure;
pub use nearest::nearest;
pub use outcome::{Counts, Outcome};
pub use owner::whose;
pub use problem::{ErrorKind, InvalidInput, Problem, Subject};
pub use ref_name::{decode_ref_name, encode_ref_name};
pub use repo_path::RepoPath;
pub use restore_order::{RestoreOrder, RestoreTarget};
pub use restore_plan::{DatabaseWay, PlannedDatabase, PlannedDirectory, PlannedRestore, PlannedStorage};
pub use selector::BackupSelector;
pub use shell::shell_quoted;
pub use storage_name::StorageName;
pub use summary::{
    DatabaseSummary, DirectorySummary, GonePart, LackingPart, PassedOver, RestoreSummary, RestoredItem,
    RunState, RunSummary, StorageSummary,
};
pub use vault_settings::VaultSettings;
pub use visible::{visible, visible_json, visible_lines};
