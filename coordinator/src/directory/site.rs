//! Where a target lies: whether it exists, holds something, or is a mount point.
//!
//! Does not own: changing anything. A mount point cannot be renamed, so its entries are swapped one by one; a target
//! with mount points below it is refused, because a swap would carry them away with the old tree.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use packhorse_model::{ErrorKind, Problem, Subject};

use super::{failure::local, staging};

const WHAT: &str = "restore directory";

/// A target as it was found.
pub(super) struct Site {
    /// The target, with symbolic links resolved.
    pub(super) target: PathBuf,
    /// The folder that holds it.
    pub(super) parent: PathBuf,
    /// Whether it is there.
    pub(super) exists: bool,
    /// Whether it is a mount point.
    pub(super) mounted: bool,
    /// How the names of its working folders begin.
    pub(super) prefix: OsString,
}

impl Site {
    /// Looks at the target, after leftovers of dead restores were seen to.
    pub(super) fn find(target: &Path) -> Result<Self, Problem> {
        let failed = |error| local(WHAT, target.display(), error);
        let target = match target.symlink_metadata() {
            Ok(_) => target.canonicalize().map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                resolve_parent(target).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        let Some((parent, name)) = target.parent().zip(target.file_name()) else {
            return Err(failed(io::Error::other("the root folder cannot be restored into")));
        };
        let parent = parent.to_owned();
        let mounts = mount_points().map_err(failed)?;
        let mounted = mounts.contains(&target);
        if let Some(below) = mounts.iter().find(|mount| mount.starts_with(&target) && **mount != target) {
            return Err(Problem::new(ErrorKind::Invalid, Subject::Directory, WHAT)
                .on(target.display())
                .answered(format!("{} is a mount point below it", below.display()))
                .next("unmount it, or restore into another folder and copy"));
        }
        let prefix = staging::prefix((!mounted).then_some(name));
        if mounted {
            staging::clean(&target, &prefix, None)?;
        } else {
            staging::clean(&parent, &prefix, Some(&target))?;
        }
        let exists = target.exists();
        Ok(Self { target, parent, exists, mounted, prefix })
    }

    /// Whether there is anything in the target that a restore would replace.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        if !self.exists {
            return Ok(true);
        }
        for entry in fs::read_dir(&self.target)? {
            if !(self.mounted && entry?.file_name() == "lost+found") {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn resolve_parent(target: &Path) -> io::Result<PathBuf> {
    let target = std::path::absolute(target)?;
    match target.parent().zip(target.file_name()) {
        Some((parent, name)) => Ok(parent.canonicalize()?.join(name)),
        None => Ok(target),
    }
}

fn mount_points() -> io::Result<Vec<PathBuf>> {
    let table = fs::read("/proc/self/mountinfo")?;
    let field = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4).map(unescape);
    Ok(table.split(|byte| *byte == b'\n').filter_map(field).collect())
}

/// The kernel writes space, tab, line break and backslash as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        assert_eq!(unescape(b"/a\\040b\\134c\\x"), Path::new("/a b\\c\\x"));
        assert!(mount_points().expect("read table").contains(&PathBuf::from("/proc")));
    }
}
