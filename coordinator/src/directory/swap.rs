//! A restore as a whole: look at the target, unpack beside it, and put the new tree in its place.
//!
//! Does not own: the archive (`unpack`), working folders (`staging`) or what is kept (`kept`). Until the swap the target
//! is not touched. Where the kernel and filesystem can, the swap is one exchange of two names; elsewhere it is two
//! renames, and where the target itself cannot be renamed one rename for each entry. What is kept of the old tree is
//! carried over after that, and only then the old tree is deleted. An error half way is rolled back; a death half way is
//! seen to by the next restore.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use packhorse_model::{BackupId, ErrorKind, Problem, Subject};
use rustix::{
    fs::{CWD, Gid, Mode, RenameFlags, Uid, renameat_with, syncfs},
    io::Errno,
};
use tokio_util::sync::CancellationToken;

use super::{
    Target,
    failure::local,
    kept::{Kept, Obstacle},
    site::{Site, stays},
    staging::Staging,
    tree::Attributes,
    unpack::unpack,
};
use crate::pipe::PlainReader;

const WHAT: &str = "restore directory";
const UNTOUCHED: &str = "the directory was left as it was";

/// Restores the archive at the target; says what of the old tree could not be removed afterwards. Blocking.
pub(super) fn restore(
    reader: PlainReader,
    target: &Target,
    id: &BackupId,
    plain: u64,
    cancel: &CancellationToken,
) -> Result<Option<Problem>, Problem> {
    let untouched = |problem: Problem| problem.leaving(UNTOUCHED);
    let site = Site::find(&target.path, &target.others).map_err(untouched)?;
    let failed = |error| local(WHAT, site.target.display(), error).leaving(UNTOUCHED);
    if !target.force && !site.is_empty().map_err(failed)? {
        return Err(occupied(&site));
    }
    let place = if site.inside { &site.target } else { &site.parent };
    let mut staging = Staging::create(place, &site.prefix, id).map_err(untouched)?;
    let root = File::open(staging.new_tree()).map_err(failed)?;
    let synced = root.try_clone().map_err(failed)?;
    unpack(reader, root.into(), plain).map_err(untouched)?;
    syncfs(&synced).map_err(|error| failed(error.into()))?;
    if cancel.is_cancelled() {
        return Err(Problem::cancelled(WHAT).on(site.target.display()).leaving(UNTOUCHED));
    }
    let kept = Kept::new(target.exclude.clone(), []);
    if site.exists {
        let new = staging.new_tree();
        kept.check(&site.target, &new).map_err(|obstacle| untouched(obstructed(&obstacle)))?;
        kept.record(staging.folder(), &site.target).map_err(failed)?;
    }
    // Links, mounts and the configuration may have changed since the site was found.
    site.check(&target.others).map_err(untouched)?;
    let old = match site.inside {
        true => swap_entries(&site, &mut staging)?,
        false => swap(&site, &mut staging, target.force)?,
    };
    if let Some(old) = &old {
        carry(&kept, old, &site, &mut staging)?;
    }
    // A rename is durable once its folder is.
    let parent = if site.inside { &site.target } else { &site.parent };
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| {
        local(WHAT, parent.display(), error)
            .leaving("the directory is restored, but may not survive a power cut")
    })?;
    Ok(staging.remove().err().map(|error| leftovers(error, &site)))
}

fn obstructed((path, why): &Obstacle) -> Problem {
    Problem::new(ErrorKind::Invalid, Subject::Directory, WHAT)
        .on(path.display())
        .answered(why)
        .next("move it away, or change what the directory excludes; or restore into another folder")
}

/// Carries over what is kept; if that fails, the old tree stays, with what is left in it.
fn carry(kept: &Kept, old: &Path, site: &Site, staging: &mut Staging) -> Result<(), Problem> {
    staging.keep = true;
    let synced = || File::open(&site.target).and_then(|target| Ok(syncfs(&target)?));
    let carried = kept.carry(old, &site.target);
    carried.and_then(|()| synced().map_err(|error| (site.target.clone(), error.to_string()))).map_err(
        |obstacle| {
            obstructed(&obstacle)
                .leaving(format!(
                    "the directory is restored, but what it excludes is still in {}",
                    old.display()
                ))
                .next("move what is excluded back by hand, or restore again")
        },
    )?;
    staging.keep = false;
    Ok(())
}

fn leftovers(error: io::Error, site: &Site) -> Problem {
    local("remove the directory's earlier files", site.target.display(), error)
        .leaving("the directory is restored; its earlier files take up room beside it")
        .next("remove what is named; the next restore tries again")
}

fn occupied(site: &Site) -> Problem {
    Problem::new(ErrorKind::AlreadyExists, Subject::Directory, WHAT)
        .on(site.target.display())
        .answered("the directory is not empty")
        .leaving(UNTOUCHED)
        .next("restore into an empty or new folder, or use --force to replace what it holds")
}

/// Puts the new tree in place; says where the old one is, if there was one.
fn swap(site: &Site, staging: &mut Staging, force: bool) -> Result<Option<PathBuf>, Problem> {
    let (new, target) = (staging.new_tree(), site.target.as_path());
    let swapped = match (site.exists, force) {
        // Replaces a folder only when it is empty, whatever happened since we looked.
        (_, false) | (false, true) => fs::rename(&new, target),
        (true, true) => match renameat_with(CWD, &new, CWD, target, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return swap_in_two(site, staging),
            exchanged => exchanged.map_err(io::Error::from),
        },
    };
    match swapped {
        Ok(()) => Ok((site.exists && force).then_some(new)),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Err(occupied(site)),
        Err(error) => Err(local(WHAT, target.display(), error).leaving(UNTOUCHED)),
    }
}

/// For filesystems without an exchange, such as NFS.
pub(super) fn swap_in_two(site: &Site, staging: &mut Staging) -> Result<Option<PathBuf>, Problem> {
    let (new, old, target) = (staging.new_tree(), staging.old_tree(), &site.target);
    staging.keep = true;
    let out = [(target.clone(), old.clone())];
    let done = move_all(&out, &[(new, target.clone())], staging);
    done.map_err(|(error, state)| local(WHAT, target.display(), error).leaving(state))?;
    Ok(Some(old))
}

fn swap_entries(site: &Site, staging: &mut Staging) -> Result<Option<PathBuf>, Problem> {
    let (new, old, target) = (staging.new_tree(), staging.old_tree(), &site.target);
    let failed = |error| local(WHAT, target.display(), error).leaving(UNTOUCHED);
    fs::create_dir(&old).map_err(failed)?;
    let out = moves(target, &old, |name| stays(name.as_bytes())).map_err(failed)?;
    let into = moves(&new, target, |_| false).map_err(failed)?;
    let attributes = attributes_of(&new).map_err(failed)?;
    staging.keep = true;
    move_all(&out, &into, staging)
        .map_err(|(error, state)| local(WHAT, target.display(), error).leaving(state))?;
    let root = File::open(target).and_then(|root| {
        attributes.apply(&root)?;
        syncfs(&root)?;
        Ok(())
    });
    root.map_err(|error| {
        let state = "all entries are restored, but not the folder's own owner, mode and time";
        local(WHAT, target.display(), error).leaving(state)
    })?;
    Ok(Some(old))
}

type Move = (PathBuf, PathBuf);

fn moves(from: &Path, to: &Path, stays: impl Fn(&OsStr) -> bool) -> io::Result<Vec<Move>> {
    let names = fs::read_dir(from)?.map(|entry| entry.map(|entry| entry.file_name()));
    let names: Vec<_> = names.collect::<io::Result<_>>()?;
    Ok(names.iter().filter(|name| !stays(name)).map(|name| (from.join(name), to.join(name))).collect())
}

/// Does all moves, or undoes those that were done; says which state that leaves.
pub(super) fn move_all(
    out: &[Move],
    into: &[Move],
    staging: &mut Staging,
) -> Result<(), (io::Error, String)> {
    let all: Vec<&Move> = out.iter().chain(into).collect();
    for (done, (from, to)) in all.iter().enumerate() {
        if let Err(error) = fs::rename(from, to) {
            let undone = all[..done].iter().rev().try_for_each(|(from, to)| fs::rename(to, from));
            staging.keep = undone.is_err();
            let state = match undone {
                Ok(()) => UNTOUCHED.to_owned(),
                Err(error) => format!(
                    "the directory is half swapped, and going back failed too ({error}): what was in it is in {}",
                    staging.old_tree().display()
                ),
            };
            return Err((error, state));
        }
    }
    staging.keep = false;
    Ok(())
}

fn attributes_of(folder: &Path) -> io::Result<Attributes> {
    let metadata = fs::metadata(folder)?;
    let owner = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    Ok(Attributes {
        owner: rustix::process::geteuid().is_root().then_some(owner),
        mode: Mode::from_raw_mode(metadata.mode() & 0o7777),
        mtime: (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or(0)),
    })
}
