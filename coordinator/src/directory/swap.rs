//! A restore as a whole: look at the target, unpack beside it, and put the new tree in its place.
//!
//! Does not own: the archive (`unpack`), working folders (`staging`) or what is kept (`kept`). Until the swap the target
//! is not touched. Where the kernel and filesystem can, the swap is one exchange of two names; elsewhere it is two
//! renames, and where the target itself cannot be renamed one rename for each entry. What is kept of the old tree is
//! carried over after that, and only then the old tree is deleted. An error half way is rolled back; a death half way is
//! seen to by the next restore.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::{
        fd::AsFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::MetadataExt,
        },
    },
    path::{Path, PathBuf},
};

use packhorse_model::{BackupId, ErrorKind, Problem, Subject};
use rustix::{
    fs::{
        CWD, FlockOperation, Gid, Mode, RenameFlags, Uid, flock, getxattr, listxattr, renameat,
        renameat_with, syncfs,
    },
    io::Errno,
};
use tokio_util::sync::CancellationToken;

use super::{
    Target,
    attributes::Attributes,
    carry::insist,
    claim::Claim,
    failure::{Missing, local},
    kept::{Kept, Obstacle},
    site::{Site, stays},
    staging::Staging,
    unpack::unpack,
};
use crate::pipe::PlainReader;

const WHAT: &str = "restore directory";
const UNTOUCHED: &str = "the directory was left as it was";

/// Restores the archive at the target, which is claimed if it is there. Blocking.
pub(super) fn restore(
    reader: PlainReader,
    target: &Target,
    claim: Option<Claim>,
    id: &BackupId,
    plain: u64,
    cancel: &CancellationToken,
) -> Result<Swapped, Problem> {
    let untouched = |problem: Problem| problem.leaving(UNTOUCHED);
    let site = Site::find(&target.path, &target.others, target.force).map_err(untouched)?;
    // What a dead restore had moved away is back at its place.
    let _claim = match claim {
        None if site.exists => Claim::now(&site.target).map_err(untouched)?,
        claim => claim,
    };
    let failed = |error| local(WHAT, site.target.display(), error).leaving(UNTOUCHED);
    if !target.force && !site.is_empty().map_err(failed)? {
        return Err(occupied(&site));
    }
    let mut staging = Staging::create(site.workplace(), &site.prefix, id).map_err(untouched)?;
    let root = File::open(staging.new_tree()).map_err(failed)?;
    // The new tree is claimed, too: it is the one that backups see after the swap.
    let synced = root.try_clone().map_err(failed)?;
    flock(&synced, FlockOperation::NonBlockingLockExclusive).map_err(|error| failed(error.into()))?;
    let mut missing = unpack(reader, root.into(), plain, target.numeric_owner).map_err(untouched)?;
    syncfs(&synced).map_err(|error| failed(error.into()))?;
    if cancel.is_cancelled() {
        return Err(Problem::cancelled(WHAT).on(site.target.display()).leaving(UNTOUCHED));
    }
    let unread = target.unread.iter().chain(&missing.contents).cloned();
    let kept = Kept::new(target.exclude.clone(), unread);
    if site.exists {
        let new = staging.new_tree();
        kept.check(&site.target, &new).map_err(|obstacle| untouched(obstructed(&obstacle)))?;
        if !site.inside {
            kept.record(staging.folder(), &site.target).map_err(failed)?;
        }
    }
    // Links, mounts and the configuration may have changed since the site was found.
    site.check(&target.others).map_err(untouched)?;
    let attributes = site.inside.then(|| attributes_of(&staging.new_tree())).transpose().map_err(failed)?;
    let old = match site.inside {
        true => swap_entries(&site, &mut staging, &kept)?,
        false => swap(&site, &mut staging, target.force)?,
    };
    if let Some(old) = &old {
        carry(&kept, old, &site, &mut staging)?;
    }
    // A rename is durable once its folder is.
    let parent = site.workplace();
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| {
        local(WHAT, parent.display(), error)
            .leaving("the directory is restored, but may not survive a power cut")
    })?;
    let leftovers = staging.remove().err().map(|error| leftovers(error, &site));
    // The folder's own come last, because the working folder was in it.
    if let Some(attributes) = attributes {
        let applied = File::open(&site.target).map_err(|error| error.to_string());
        let applied = applied.and_then(|folder| attributes.apply(folder));
        applied.unwrap_or_else(|why| missing.note(b".", why));
    }
    Ok(Swapped { missing, leftovers })
}

/// What a restore came to.
pub(super) struct Swapped {
    /// Members that were not restored, or not with everything that is theirs.
    pub(super) missing: Missing,
    /// What of the old tree could not be removed.
    pub(super) leftovers: Option<Problem>,
}

pub(super) fn obstructed((path, why): &Obstacle) -> Problem {
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

pub(super) fn occupied(site: &Site) -> Problem {
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
        (true, true) => match exchange(&new, target) {
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

/// Lets two folders change places. Without root a folder that may not be written cannot move; so it may for a moment.
fn exchange(new: &Path, target: &Path) -> rustix::io::Result<()> {
    let exchange = || renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE);
    let folders = [new, target].map(|folder| File::open(folder).ok());
    insist(folders.iter().flatten().map(AsFd::as_fd), exchange)
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

/// Swaps the entries one by one; those that are kept stay where they are.
fn swap_entries(site: &Site, staging: &mut Staging, kept: &Kept) -> Result<Option<PathBuf>, Problem> {
    let (new, old, target) = (staging.new_tree(), staging.old_tree(), &site.target);
    let failed = |error| local(WHAT, target.display(), error).leaving(UNTOUCHED);
    let stays = |name: &OsStr| stays(name.as_bytes()) || kept.holds(name.as_bytes());
    let comes = names(&new).map_err(failed)?.into_iter().map(OsString::into_vec).collect();
    // Before the old folder is there, nothing is swapped; once it is, the record says what came.
    let made = staging.make_old(|old| kept.record_swap(staging.folder(), old, comes));
    made.map_err(failed)?;
    let out = moves(target, &old, stays).map_err(failed)?;
    let is_there = |name: &OsStr| stays(name) && target.join(name).symlink_metadata().is_ok();
    let into = moves(&new, target, is_there).map_err(failed)?;
    staging.keep = true;
    move_all(&out, &into, staging)
        .map_err(|(error, state)| local(WHAT, target.display(), error).leaving(state))?;
    let synced = File::open(target).and_then(|root| Ok(syncfs(&root)?));
    synced.and_then(|()| staging.mark_swapped()).map_err(|error| {
        staging.keep = true;
        let state =
            format!("all entries are restored; those that were there before are in {}", old.display());
        local(WHAT, target.display(), error).leaving(state)
    })?;
    Ok(Some(old))
}

type Move = (PathBuf, PathBuf);

fn moves(from: &Path, to: &Path, stays: impl Fn(&OsStr) -> bool) -> io::Result<Vec<Move>> {
    Ok(names(from)?.iter().filter(|name| !stays(name)).map(|name| (from.join(name), to.join(name))).collect())
}

fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

/// Does all moves, or undoes those that were done; says which state that leaves.
pub(super) fn move_all(
    out: &[Move],
    into: &[Move],
    staging: &mut Staging,
) -> Result<(), (io::Error, String)> {
    let all: Vec<&Move> = out.iter().chain(into).collect();
    for (done, (from, to)) in all.iter().enumerate() {
        if let Err(error) = rename(from, to) {
            let undone = all[..done].iter().rev().try_for_each(|(from, to)| rename(to, from));
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

/// Renames, also a folder that may not be written, which without root does not move to another one.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let is_folder = from.symlink_metadata().is_ok_and(|found| found.is_dir());
    let folder = is_folder.then(|| File::open(from).ok()).flatten();
    insist(folder.iter().map(AsFd::as_fd), || renameat(CWD, from, CWD, to)).map_err(io::Error::from)
}

fn attributes_of(folder: &Path) -> io::Result<Attributes> {
    let metadata = fs::metadata(folder)?;
    let owner = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    Ok(Attributes {
        owner: rustix::process::geteuid().is_root().then_some(owner),
        mode: Mode::from_raw_mode(metadata.mode() & 0o7777),
        mtime: (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or(0)),
        xattrs: xattrs_of(folder)?,
    })
}

fn xattrs_of(folder: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; 64 * 1024];
    let length = match listxattr(folder, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 * 1024];
        let length = getxattr(folder, name, &mut value[..])?;
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    Ok(found)
}
