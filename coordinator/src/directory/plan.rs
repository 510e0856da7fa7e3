//! What a restore would do to a directory, and what stands in its way: looked at before anything is written.
//!
//! Does not own: the restore (`swap`), which looks again. Nothing is changed here, not even what a dead restore left, so
//! a dry run may look at any time. The archive is not read: whether it holds something where the target has what is to be
//! kept only the restore finds out, before it touches the target; a plan says that this was not looked at.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use packhorse_model::{DirectorySummary, ErrorKind, PlannedDirectory, Problem, Subject};
use packhorse_service::places::{Room, room};
use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{
    Target,
    failure::local,
    kept::Kept,
    leftover::Leftover,
    site::Site,
    swap::{obstructed, occupied},
};

const WHAT: &str = "restore directory";

/// What would become of a directory.
#[derive(Debug)]
pub struct Planned {
    /// What is told of it.
    pub directory: PlannedDirectory,
    /// Where its new tree needs room beside the old one.
    pub room: Option<Room>,
    /// What nobody looked at.
    pub unseen: Option<Problem>,
}

/// Looks at the target.
pub(super) fn plan(target: &Target, summary: &DirectorySummary) -> Result<Planned, Problem> {
    let site = Site::look(&target.path, &target.others)?;
    let failed = |error| local(WHAT, site.target.display(), error);
    let leftovers = site.leftovers(&target.others, target.force)?;
    let is_empty = site.is_empty().map_err(failed)?;
    if !target.force && (!is_empty || leftovers.iter().any(Leftover::is_the_target)) {
        return Err(occupied(&site));
    }
    let workplace = site.workplace();
    accessat(CWD, workplace, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|error| local(WHAT, workplace.display(), error.into()))?;
    let room = room(workplace).ok();
    let unseen = if site.exists { unseen(&site, target, summary)? } else { None };
    let directory = PlannedDirectory {
        name: summary.name.clone(),
        target: site.target.display().to_string(),
        exists: site.exists,
        replaces: !is_empty,
        bytes: summary.object.size,
        bytes_plain: summary.bytes_plain,
        room: room.as_ref().map(|room| room.available),
    };
    Ok(Planned { directory, room, unseen })
}

/// Finds what is to be kept, as the restore does, and says where the archive may stand in its way.
fn unseen(site: &Site, target: &Target, summary: &DirectorySummary) -> Result<Option<Problem>, Problem> {
    let exclude = target.exclude.iter().chain(&summary.exclude).cloned().collect();
    let kept = Kept::new(exclude, target.unread.iter().cloned());
    let found = kept.find(&site.target).map_err(|obstacle| obstructed(&obstacle))?;
    Ok(Kept::in_doubt(&found, &summary.exclude).map(|first| {
        let number = found.len();
        Problem::new(ErrorKind::Invalid, Subject::Directory, "look into archive")
            .on(site.target.join(OsStr::from_bytes(first)).display())
            .answered(format!(
                "it is to be kept ({number} such in all); whether the backup holds something else in its place was not \
                 looked at, because only the restore reads the archive"
            ))
            .leaving("if the backup does, the restore is refused before it touches the directory")
    }))
}
