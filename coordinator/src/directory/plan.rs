//! What a restore would do to a directory, and what stands in its way: looked at before anything is written.
//!
//! Does not own: the restore (`swap`), which looks again. Nothing is changed here, not even what a dead restore left, so
//! a dry run may look at any time.

use packhorse_model::{DirectorySummary, PlannedDirectory, Problem};
use packhorse_service::places::{Room, room};
use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{Target, failure::local, leftover::Leftover, site::Site, swap::occupied};

const WHAT: &str = "restore directory";

/// What would become of a directory, and where its new tree needs room beside the old one.
pub(super) fn plan(
    target: &Target,
    summary: &DirectorySummary,
) -> Result<(PlannedDirectory, Option<Room>), Problem> {
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
    let planned = PlannedDirectory {
        name: summary.name.clone(),
        target: site.target.display().to_string(),
        exists: site.exists,
        replaces: !is_empty,
        bytes: summary.object.size,
        bytes_plain: summary.bytes_plain,
        room: room.as_ref().map(|room| room.available),
    };
    Ok((planned, room))
}
