//! Owner, mode, time, extended attributes and access control lists of an entry.
//!
//! Does not own: the entry. What can be given is given, and what cannot is said: an attribute that the file system does
//! not know costs itself and no other. A file that cannot be given to its owner does not keep its set-user-id either.

use std::os::{
    fd::{AsFd, AsRawFd, BorrowedFd},
    unix::ffi::OsStrExt,
};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, fchmod,
        fchown, fsetxattr, futimens, lsetxattr, utimensat,
    },
    io::{Errno, Result},
};

use super::{
    acl::{ACCESS, DEFAULT, bytes_of},
    failure::Stop,
    members::Member,
    owners::Owners,
};

/// What an entry gets.
#[derive(Clone, Debug)]
pub(super) struct Attributes {
    /// None unless we may give entries away.
    pub(super) owner: Option<(Uid, Gid)>,
    pub(super) mode: Mode,
    /// Time of modification, in seconds and nanoseconds.
    pub(super) mtime: (i64, u32),
    /// Extended attributes with the access control lists among them.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attributes {
    /// Those of a member, by the names of this host; an owner only if entries may be given away.
    pub(super) fn of(member: &Member, owners: &Owners, owned: bool) -> std::result::Result<Self, Stop> {
        let id = |id: u64| {
            let id = u32::try_from(id).ok().filter(|id| *id != u32::MAX);
            id.ok_or(Stop::Refused("has an owner that cannot exist"))
        };
        let uid = Uid::from_raw(id(owners.user(&member.user, member.uid))?);
        let gid = Gid::from_raw(id(owners.group(&member.group, member.gid))?);
        Ok(Self {
            owner: owned.then_some((uid, gid)),
            mode: Mode::from_raw_mode(member.mode),
            mtime: member.mtime,
            xattrs: xattrs(member, owners),
        })
    }

    /// Gives them to an open file or folder; says what could not be given.
    pub(super) fn apply(&self, entry: impl AsFd) -> std::result::Result<(), String> {
        let mut lost = Lost::default();
        // The owner comes first: a change of it takes capabilities and set-user-id away. The mode comes after the lists,
        // whose mask is part of it.
        let given = self.owner.map_or(Ok(()), |(uid, gid)| fchown(&entry, Some(uid), Some(gid)));
        for (name, value) in &self.xattrs {
            lost.note(
                &String::from_utf8_lossy(name),
                fsetxattr(&entry, name.as_slice(), value, XattrFlags::empty()),
            );
        }
        lost.note("mode", fchmod(&entry, self.mode_after(given)));
        lost.note("owner", given);
        lost.note("time", futimens(&entry, &self.times()));
        lost.finish()
    }

    /// Gives them to an entry that cannot be opened: a symbolic link, which has no mode, a pipe or a device.
    pub(super) fn apply_at(
        &self,
        folder: BorrowedFd<'_>,
        name: &[u8],
        has_mode: bool,
    ) -> std::result::Result<(), String> {
        let mut lost = Lost::default();
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        let given =
            self.owner.map_or(Ok(()), |(uid, gid)| chownat(folder, name, Some(uid), Some(gid), nofollow));
        let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        for (name, value) in &self.xattrs {
            let path = std::ffi::OsStr::from_bytes(&path);
            lost.note(
                &String::from_utf8_lossy(name),
                lsetxattr(path, name.as_slice(), value, XattrFlags::empty()),
            );
        }
        if has_mode {
            lost.note("mode", chmodat(folder, name, self.mode_after(given), AtFlags::empty()));
        }
        lost.note("owner", given);
        lost.note("time", utimensat(folder, name, &self.times(), nofollow));
        lost.finish()
    }

    fn mode_after(&self, given: Result<()>) -> Mode {
        if given.is_ok() { self.mode } else { self.mode - (Mode::SUID | Mode::SGID) }
    }

    fn times(&self) -> Timestamps {
        Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: self.mtime.0, tv_nsec: self.mtime.1.into() },
        }
    }
}

/// The attributes as the kernel takes them; lists by this host's names, where the archive has them as text and the
/// names are known.
fn xattrs(member: &Member, owners: &Owners) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut xattrs = member.xattrs.clone();
    for (name, text) in [ACCESS, DEFAULT].into_iter().zip(&member.acls) {
        let list = text.as_ref().and_then(|text| bytes_of(text, owners));
        let stored = xattrs.iter_mut().find(|(stored, _)| stored == name);
        match (stored, list) {
            (Some((_, value)), Some(list)) => *value = list,
            (None, Some(list)) => xattrs.push((name.to_vec(), list)),
            (_, None) => {}
        }
    }
    xattrs
}

/// The first of the attributes that could not be given, and how many there are.
#[derive(Default)]
struct Lost {
    first: Option<(String, Errno)>,
    more: usize,
}

impl Lost {
    fn note(&mut self, what: &str, given: Result<()>) {
        match (given, &self.first) {
            (Ok(()), _) => {}
            (Err(error), None) => self.first = Some((what.to_owned(), error)),
            (Err(_), Some(_)) => self.more += 1,
        }
    }

    fn finish(self) -> std::result::Result<(), String> {
        let Some((what, error)) = self.first else { return Ok(()) };
        let more = if self.more > 0 { format!(", and {} more", self.more) } else { String::new() };
        Err(format!("its contents are restored, but not its {what}{more}: {}", std::io::Error::from(error)))
    }
}
