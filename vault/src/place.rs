//! The folder that is to become a `file://` vault.
//!
//! Does not own: what makes it a vault (`format_marker`). Only the last folder of the path is made, because a missing one
//! above it is more likely a mistake, or a file system that is not mounted. A vault that several users share gets a
//! group, which new folders inherit, and a default ACL, by which no process's umask counts: so nobody has to remember
//! anything when writing to it.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
};

use packhorse_model::{ErrorKind, VaultSettings};
use rustix::{fs::XattrFlags, process::Gid};

use crate::{VaultError, format_marker::no_folder, open::local_path};

/// What to do where we may not write, and there is no vault yet that belongs to somebody.
pub(crate) const MAY_MAKE: &str =
    "run as a user who may write there, or let that user make the folder and give it to us with chown";

/// Makes the folder of a `file://` vault, where it is missing; of another vault, nothing. A group makes it one that all
/// of its members read and write.
pub fn make_place(settings: &VaultSettings, group: Option<&str>) -> Result<(), VaultError> {
    let Some(path) = local_path(settings)? else {
        return group.map_or(Ok(()), |_| Err(invalid("--group", "only a file:// vault has one")));
    };
    let gid = group.map(|name| group_id(name).ok_or_else(|| invalid(name, "is no group of this host")));
    let gid = gid.transpose()?;
    let failed = |e: io::Error| {
        VaultError::from_file("make vault folder", &path.display().to_string(), &e).below(Some(&path))
    };
    if settings.vault_id.is_some() && !path.exists() {
        // No vault may be made here, and where one is to be mounted nothing is made either.
        return Err(no_folder(&settings.url, settings.vault_id.as_deref()));
    }
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(failed(error).leaving("nothing was made", MAY_MAKE));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_parent(&path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed)?,
    }
    gid.map_or(Ok(()), |gid| share(&path, gid).map_err(failed))
}

fn no_parent(path: &Path) -> VaultError {
    let parent = path.parent().unwrap_or(path);
    let answer = format!("there is no folder {}", parent.display());
    VaultError::new(ErrorKind::NotFound, "make vault folder", path.display(), answer)
        .leaving("nothing was made", "mount what belongs there, make the folder, or correct the URL")
}

/// Gives the folder to the group, for everything that will be made in it, too.
fn share(path: &Path, gid: u32) -> io::Result<()> {
    rustix::fs::chown(path, None, Some(Gid::from_raw(gid)))?;
    rustix::fs::setxattr(path, "system.posix_acl_default", &default_acl(), XattrFlags::empty())?;
    // Last: changing the group takes the bit away again.
    fs::set_permissions(path, fs::Permissions::from_mode(0o2770))
}

/// `u::rwx,g::rwx,o::---` as the kernel takes it: a version, then tag, rights and nobody's ID for each.
fn default_acl() -> Vec<u8> {
    const ENTRIES: [(u16, u16); 3] = [(0x01, 7), (0x04, 7), (0x20, 0)];
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, rights) in ENTRIES {
        acl.extend(tag.to_le_bytes());
        acl.extend(rights.to_le_bytes());
        acl.extend(u32::MAX.to_le_bytes());
    }
    acl
}

fn group_id(name: &str) -> Option<u32> {
    if let Ok(gid) = name.parse() {
        return Some(gid);
    }
    let text = fs::read_to_string("/etc/group").ok()?;
    let mut lines = text.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?)
}

fn invalid(what: &str, answer: &str) -> VaultError {
    VaultError::new(ErrorKind::Invalid, "make vault", what, answer)
}
