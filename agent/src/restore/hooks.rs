//! Step 6: the custom hooks, from their archive.
//!
//! Does not own: fetching and checking the archive (`fetch`). Only members under `custom_hooks/` are unpacked, with
//! their modes, but without the bits that lend somebody's rights (setuid, setgid); nothing is ever written through a link
//! or outside that folder, and an archive that asks for it is refused as a whole.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use packhorse_model::Problem;
use tar::{Archive, Entry, EntryType};

use crate::restore::io_problem::io_problem;

/// Unpacks a hooks archive into a repository. Blocking.
pub(super) fn unpack(repository: &Path, archive: &[u8]) -> Result<(), Problem> {
    try_unpack(repository, archive).map_err(|e| io_problem("unpack custom hooks", repository.display(), &e))
}

fn try_unpack(repository: &Path, archive: &[u8]) -> io::Result<()> {
    let mut folders = Vec::new();
    for entry in Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let Some(path) = inside(&path)? else { continue };
        unpack_entry(repository, &path, &mut entry, &mut folders)?;
    }
    // Innermost first, and last of all: a folder that may not be written can still be filled.
    for (folder, mode) in folders.into_iter().rev() {
        fs::set_permissions(folder, Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn unpack_entry(
    repository: &Path,
    path: &Path,
    entry: &mut Entry<'_, &[u8]>,
    folders: &mut Vec<(PathBuf, u32)>,
) -> io::Result<()> {
    make_parents(repository, path)?;
    let target = repository.join(path);
    let mode = entry.header().mode()? & 0o777;
    match entry.header().entry_type() {
        EntryType::Directory => {
            if fs::symlink_metadata(&target).is_err() {
                fs::create_dir(&target)?;
            } else if !fs::symlink_metadata(&target)?.is_dir() {
                return Err(refused(path, "is both a folder and something else"));
            }
            folders.push((target, mode));
            Ok(())
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let mut file = fs::File::create_new(&target)?;
            io::copy(entry, &mut file)?;
            file.set_permissions(Permissions::from_mode(mode))
        }
        EntryType::Symlink => match entry.link_name()? {
            Some(link) => symlink(link, &target),
            None => Err(refused(path, "is a link to nothing")),
        },
        EntryType::Link => hard_link(repository, path, entry.link_name()?.as_deref()),
        EntryType::XGlobalHeader => Ok(()),
        other => Err(refused(path, &format!("is of type {other:?}"))),
    }
}

fn hard_link(repository: &Path, path: &Path, source: Option<&Path>) -> io::Result<()> {
    let source = match source.map(inside).transpose()? {
        Some(Some(source)) => source,
        _ => return Err(refused(path, "is a link to something outside the archive")),
    };
    make_parents(repository, &source)?;
    let source = repository.join(source);
    if !fs::symlink_metadata(&source)?.is_file() {
        return Err(refused(path, "is a hard link to something other than a file"));
    }
    fs::hard_link(source, repository.join(path))
}

/// The member's plain path when it lies under `custom_hooks`, none when it lies beside it.
fn inside(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            _ => return Err(refused(path, "leaves the repository")),
        }
    }
    Ok(plain.starts_with("custom_hooks").then_some(plain))
}

/// Makes the folders above a member; each must be a real folder, never a link.
fn make_parents(repository: &Path, path: &Path) -> io::Result<()> {
    let mut folder = repository.to_owned();
    for part in path.parent().iter().flat_map(|parent| parent.components()) {
        folder.push(part);
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(refused(path, "lies below something that is no folder")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&folder)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn refused(path: &Path, finding: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("member {:?} {finding}", path.display().to_string()))
}

#[cfg(test)]
mod tests;
