//! Moving what is kept from the old tree of a directory into the new one.
//!
//! Does not own: what that is (`kept`). Each name moves by one rename, so at every moment it is in one of the two trees,
//! and nothing that is in the way is ever replaced, but for what the restore itself could not bring. Folders that may not
//! be written are made writable for the time of a move.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use packhorse_service::descent::Descent;
use rustix::{
    fs::{
        AtFlags, Gid, Mode, RenameFlags, Stat, Timespec, Timestamps, Uid, fchmod, fchown, fstat, futimens,
        mkdirat, renameat, renameat_with, statat, unlinkat,
    },
    io::{Errno, Result, fcntl_dupfd_cloexec},
};

use super::{
    kept::{Kept, Obstacle, split},
    remove::{Protection, open_harmless},
};

impl Kept {
    /// Moves everything that is kept from the old tree into the new one.
    pub(super) fn carry(&self, old: &Path, new: &Path) -> std::result::Result<(), Obstacle> {
        let found = self.find(old)?;
        let open = |path: &Path| File::open(path).map_err(|error| (path.to_owned(), error.to_string()));
        let (mut from, mut to) = (Descent::new(open(old)?.into()), Descent::new(open(new)?.into()));
        for path in &found {
            let (parents, name) = split(path);
            let moved = from.go(&parents).and_then(|()| {
                make_way(&from, &mut to, &parents)?;
                self.move_one(&from, &to, name, self.paths.contains(path))
            });
            moved.map_err(|error| (old.join(OsStr::from_bytes(path)), io::Error::from(error).to_string()))?;
        }
        Ok(())
    }

    /// Moves a name from one folder into another, which keeps its time.
    fn move_one(&self, from: &Descent, to: &Descent, name: &[u8], replaces: bool) -> Result<()> {
        let before = fstat(to.here())?;
        let rename = || match renameat_with(from.here(), name, to.here(), name, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) if replaces => {
                renameat_with(from.here(), name, to.here(), name, RenameFlags::EXCHANGE)
            }
            Err(Errno::EXIST) => {
                // A folder that the backup holds empty gives way; anything else stays.
                unlinkat(to.here(), name, AtFlags::REMOVEDIR)?;
                renameat_with(from.here(), name, to.here(), name, RenameFlags::NOREPLACE)
            }
            // A file system without this flag.
            Err(Errno::INVAL | Errno::NOSYS) => match statat(to.here(), name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => renameat(from.here(), name, to.here(), name),
                _ => Err(Errno::EXIST),
            },
            other => other,
        };
        let also = open_harmless(from.here(), name).ok();
        insist([from.here(), to.here()].into_iter().chain(also.as_ref().map(AsFd::as_fd)), rename)?;
        futimens(to.here(), &times(&before))
    }
}

/// Goes to a folder of the new tree; one that is missing is made as the old one is.
fn make_way(from: &Descent, to: &mut Descent, parents: &[&[u8]]) -> Result<()> {
    for depth in 1..=parents.len() {
        match to.go(&parents[..depth]) {
            Err(Errno::NOENT) => {}
            other => {
                other?;
                continue;
            }
        }
        let mut old = Descent::new(fcntl_dupfd_cloexec(from.root(), 0)?);
        old.go(&parents[..depth])?;
        let like = fstat(old.here())?;
        let above = fstat(to.here())?;
        insist([to.here()], || mkdirat(to.here(), parents[depth - 1], Mode::RWXU))?;
        futimens(to.here(), &times(&above))?;
        to.go(&parents[..depth])?;
        if rustix::process::geteuid().is_root() {
            fchown(to.here(), Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid)))?;
        }
        fchmod(to.here(), Mode::from_raw_mode(like.st_mode & 0o7777))?;
        futimens(to.here(), &times(&like))?;
    }
    to.go(parents)
}

/// Does it; when that is refused, lifts for the time what protects these folders.
pub(super) fn insist<'a, T>(
    folders: impl IntoIterator<Item = BorrowedFd<'a>>,
    mut work: impl FnMut() -> Result<T>,
) -> Result<T> {
    match work() {
        Err(Errno::ACCESS | Errno::PERM) => {
            let lift = |folder| fcntl_dupfd_cloexec(folder, 0).and_then(Protection::lift).ok();
            let lifted: Vec<Protection> = folders.into_iter().filter_map(lift).collect();
            let done = work();
            let back = lifted.into_iter().try_for_each(Protection::restore);
            done.and_then(|done| back.map(|()| done))
        }
        other => other,
    }
}

fn times(of: &Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Timestamps {
        last_access: time(of.st_atime, of.st_atime_nsec),
        last_modification: time(of.st_mtime, of.st_mtime_nsec),
    }
}
