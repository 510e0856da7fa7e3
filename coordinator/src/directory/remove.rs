//! Removing a whole tree: also what is read-only, immutable or very deep, and never what is mounted in it.
//!
//! Does not own: whether it may go. What cannot be removed does not keep the rest: it is counted, and the first is named.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use packhorse_service::descent::{Descent, entries, open_folder};
use rustix::{
    fs::{
        AtFlags, FileType, IFlags, Mode, OFlags, fchmod, fstat, ioctl_getflags, ioctl_setflags, openat,
        statat, unlinkat,
    },
    io::{Errno, Result, fcntl_dupfd_cloexec},
};

/// What was not removed.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// The first, and why.
    pub(super) first: Option<(Vec<u8>, io::Error)>,
    /// How many.
    pub(super) count: u64,
}

impl Left {
    fn add(&mut self, path: Vec<u8>, error: Errno) {
        // A folder that is not empty holds what was counted before.
        if error != Errno::NOTEMPTY {
            self.count += 1;
            self.first.get_or_insert((path, error.into()));
        }
    }
}

/// Removes a folder with everything in it.
pub(super) fn remove_tree(folder: &Path) -> io::Result<()> {
    let Some((parent, name)) = folder.parent().zip(folder.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = File::open(parent)?;
    let mut descent = Descent::new(parent.into());
    let mut left = Left::default();
    if !enter(&mut descent, name.as_bytes(), &mut left) {
        return finish(folder, left);
    }
    let mut todo = vec![list(&descent, &mut left)];
    while let Some(names) = todo.last_mut() {
        match names.pop() {
            Some((name, true)) => {
                if enter(&mut descent, &name, &mut left) {
                    todo.push(list(&descent, &mut left));
                }
            }
            Some((name, false)) => {
                if let Err(error) = unlink(descent.here(), &name, AtFlags::empty()) {
                    left.add(descent.path(&name), error);
                }
            }
            None => {
                todo.pop();
                let Some((_, name)) = descent.up()? else { break };
                if let Err(error) = unlink(descent.here(), &name, AtFlags::REMOVEDIR) {
                    left.add(descent.path(&name), error);
                }
            }
        }
    }
    finish(folder, left)
}

fn finish(folder: &Path, left: Left) -> io::Result<()> {
    let Some((path, error)) = left.first else { return Ok(()) };
    let path = folder.parent().unwrap_or(folder).join(std::ffi::OsStr::from_bytes(&path));
    let more = if left.count > 1 { format!(" ({} are left in all)", left.count) } else { String::new() };
    Err(io::Error::new(error.kind(), format!("{}: {error}{more}", path.display())))
}

fn list(descent: &Descent, left: &mut Left) -> Vec<(Vec<u8>, bool)> {
    entries(descent.here()).unwrap_or_else(|error| {
        left.add(descent.path(b""), Errno::from_io_error(&error).unwrap_or(Errno::IO));
        Vec::new()
    })
}

/// Goes into a folder, which is made accessible for that.
fn enter(descent: &mut Descent, name: &[u8], left: &mut Left) -> bool {
    let entered = descent.down(name).or_else(|error| match error {
        Errno::ACCESS => {
            rustix::fs::chmodat(descent.here(), name, Mode::RWXU, AtFlags::empty())?;
            descent.down(name)
        }
        other => Err(other),
    });
    match entered {
        Ok(()) => true,
        Err(error) => {
            left.add(descent.path(name), error);
            false
        }
    }
}

/// Removes one name; what protects it, or its folder, is taken away first where that is needed.
fn unlink(folder: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<()> {
    match unlinkat(folder, name, flags) {
        Err(Errno::ACCESS | Errno::PERM) => {
            let _ = fcntl_dupfd_cloexec(folder, 0).and_then(Protection::lift);
            if let Ok(file) = open_harmless(folder, name) {
                clear_flags(&file);
            }
            unlinkat(folder, name, flags)
        }
        other => other,
    }
}

/// Opens a folder or a regular file; opening anything else may have effects.
pub(super) fn open_harmless(folder: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => open_folder(folder, name),
        FileType::RegularFile => {
            let how = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            openat(folder, name, how, Mode::empty())
        }
        _ => Err(Errno::INVAL),
    }
}

/// What keeps a file or folder from being changed; lifted for a while.
pub(super) struct Protection {
    file: OwnedFd,
    mode: Mode,
    flags: Option<IFlags>,
}

impl Protection {
    /// Takes it away from a folder or regular file, as far as we may.
    pub(super) fn lift(file: OwnedFd) -> Result<Self> {
        let mode = Mode::from_raw_mode(fstat(&file)?.st_mode & 0o7777);
        let flags = clear_flags(&file);
        if !mode.contains(Mode::RWXU) {
            fchmod(&file, mode | Mode::RWXU)?;
        }
        Ok(Self { file, mode, flags })
    }

    /// Puts it back.
    pub(super) fn restore(self) -> Result<()> {
        if !self.mode.contains(Mode::RWXU) {
            fchmod(&self.file, self.mode)?;
        }
        self.flags.map_or(Ok(()), |flags| ioctl_setflags(&self.file, flags))
    }
}

/// Takes the marks away that keep even root from changing it, and says what they were. File systems without them do not
/// mind.
fn clear_flags(file: impl AsFd) -> Option<IFlags> {
    let marks = IFlags::IMMUTABLE | IFlags::APPEND;
    let flags = ioctl_getflags(&file).ok().filter(|flags| flags.intersects(marks))?;
    ioctl_setflags(&file, flags - marks).ok().map(|()| flags)
}
