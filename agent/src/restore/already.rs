//! Where a repository goes, and whether the one that is there is the one that would be restored: what an earlier try put
//! there.
//!
//! Does not own: replacing it (`place`). The refs, HEAD and hooks that are there must have the fingerprint that the backup
//! recorded, with nothing of them broken. A repository comes to its place in one step, whole, so its objects are not read
//! again. Nothing is written here, so that a plan and a restore ask the same question.

use std::{
    fs::{self, Metadata},
    path::Path,
};

use packhorse_model::Problem;
use packhorse_vault::{CatalogueEntry, LastGood};
use tokio_util::sync::CancellationToken;

use crate::{
    backup::{fingerprint_of, is_repository},
    git::Git,
    restore::{RestoreJob, place::Place},
};

/// The place of an entry's repository; none when it is there already and stays. A place that may not be taken is refused.
/// Blocking.
pub(super) fn spot(
    job: &RestoreJob,
    entry: &CatalogueEntry,
    last_good: Option<&LastGood>,
    cancel: &CancellationToken,
) -> Result<Option<Place>, Problem> {
    if job.skip_existing {
        let place = Place::look(&job.root, &entry.path, false)?;
        let found = match last_good {
            None => look_at(job, &place, entry, cancel),
            Some(_) => Found::Unknown,
        };
        if found == Found::TheSame {
            return Ok(None);
        }
        if place.is_taken() && !job.force {
            return Err(place.taken_by(found.words()));
        }
    }
    Place::find(&job.root, &entry.path, job.force).map(Some)
}

/// Whether the folder has what git needs to open it, and the configuration that says how to read it. What is not in order
/// here was not put there by a restore.
fn is_usable(dir: &Path) -> bool {
    let has =
        |name: &str, is: fn(&Metadata) -> bool| fs::metadata(dir.join(name)).is_ok_and(|found| is(&found));
    // HEAD may be a link to a ref that does not exist yet.
    is_repository(dir)
        && has("objects", Metadata::is_dir)
        && has("refs", Metadata::is_dir)
        && has("config", Metadata::is_file)
}

/// What is at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// What the entry restores to.
    TheSame,
    /// Another state of a repository.
    Another,
    /// No repository, or one that cannot be read.
    Unreadable,
    /// What no backup has recorded enough of to compare it.
    Unknown,
}

impl Found {
    /// What is said where it is in the way although what is there may stay.
    fn words(self) -> &'static str {
        match self {
            Self::TheSame => "what the backup has is already there",
            Self::Another => "another state of it is there than the backup has",
            Self::Unreadable => "something is there that is no repository, or cannot be read",
            Self::Unknown => {
                "something is there, and --skip-existing cannot compare it with the last good state"
            }
        }
    }
}

/// Whether `place` holds what the entry restores to.
fn look_at(job: &RestoreJob, place: &Place, entry: &CatalogueEntry, cancel: &CancellationToken) -> Found {
    let git = Git::new(job.git.clone());
    let usable = place.folder().filter(|dir| is_usable(dir));
    match usable.and_then(|dir| fingerprint_of(&entry.path, dir, &git, cancel)) {
        None => Found::Unreadable,
        found if found == entry.fingerprint => Found::TheSame,
        Some(_) => Found::Another,
    }
}
