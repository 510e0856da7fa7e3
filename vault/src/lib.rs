//! The shelf: the stored format (keys, manifests, refs files, bundles, catalogues, the commit record) and the object
//! stores that hold it.
//!
//! Does not own: reading repositories (`agent`), deciding what a run does (`coordinator`). The only crate that names
//! `object_store`; everything else sees keys, bytes, `std::io` readers and writers, and [`VaultError`].

mod attempt;
mod bundle;
mod catalogue;
mod counts;
mod create;
mod damage;
mod error;
mod fingerprint;
mod folder;
mod format_marker;
mod handle;
mod information;
mod inventory;
mod journal;
mod key;
mod limit;
mod line;
mod manifest;
mod oid;
mod open;
mod pace;
mod part_size;
mod parts;
mod place;
mod presence;
mod ranges;
mod read;
mod ref_folders;
mod ref_list;
mod refs_file;
mod restore_record;
mod segments;
mod snapshot;
#[cfg(test)]
mod tests;
mod until;
mod upload;
mod words;

pub use attempt::{Attempt, RunAttempt};
pub use bundle::{BundleHeader, empty_pack};
pub use catalogue::{CatalogueEntry, CatalogueReader, CatalogueWriter};
pub use counts::RequestCounts;
pub use damage::{Damage, LastGood, LeftOut};
pub use error::VaultError;
pub use fingerprint::Fingerprint;
pub use format_marker::{FORMAT, FormatMarker};
pub use handle::{Vault, digest_of};
pub use information::BackupInformation;
pub use inventory::{
    CommittedBackup, Earlier, Latest, Resolved, StorageBase, base_for, committed, earlier, is_committed,
    load_summary, nth_counted, resolve,
};
pub use journal::{
    RunEnd, RunJournal, UnfinishedRun, finished_part, journal_of, name_of_run, record_part, unfinished,
};
pub use key::ObjectKey;
pub use limit::{Limit, LimitGuard};
pub use manifest::{ClosedPack, Manifest, Packhorse, RefStorage, Step, Symref};
pub use oid::{ObjectFormat, Oid};
pub use open::open;
pub use pace::Pace;
pub use part_size::PartSize;
pub use place::make_place;
pub use read::ObjectReader;
pub use ref_list::RefList;
pub use refs_file::{parse_refs_file, write_refs_file};
pub use restore_record::{RestoreBegun, RestoreRecord};
pub use segments::{SegmentReader, SegmentWriter};
pub use snapshot::{Head, RefSnapshot};
pub use upload::{Hold, ObjectWriter};
