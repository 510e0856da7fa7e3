//! The archive of a repository's `custom_hooks`, made in memory and the same for the same hooks.
//!
//! Does not own: restoring it. Times and owners are left out on purpose, so that the archive's digest changes only
//! when a hook does; modes are kept, and symbolic links are stored as links, also where `custom_hooks` itself is one: none is
//! followed. Limited in size and depth, because hooks are scripts.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

/// Largest sum of hook files that is accepted.
const MAX_BYTES: u64 = 64 << 20;

/// Folders inside each other that are accepted: each takes a part of the thread's stack.
const MAX_DEPTH: usize = 64;

/// The archive of `<dir>/custom_hooks`, members in order of name; none when there is no such thing. Where it is a link or a
/// file, that is its only member.
pub fn archive(dir: &Path) -> io::Result<Option<Vec<u8>>> {
    let root = dir.join("custom_hooks");
    match fs::symlink_metadata(&root) {
        Ok(meta) if meta.is_dir() || meta.is_symlink() || meta.is_file() => {}
        Ok(_) => return Err(io::Error::other("custom_hooks is neither a folder nor a link or a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut builder = tar::Builder::new(Vec::new());
    let mut left = (MAX_BYTES, MAX_DEPTH);
    add(&mut builder, &root, Path::new("custom_hooks"), &mut left)?;
    builder.into_inner().map(Some)
}

/// Adds one member with all below it, as long as there are bytes and folders left.
fn add(
    builder: &mut tar::Builder<Vec<u8>>,
    path: &Path,
    name: &Path,
    left: &mut (u64, usize),
) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    let mut header = tar::Header::new_gnu();
    header.set_mode(meta.permissions().mode() & 0o777);
    header.set_mtime(0);
    if meta.is_dir() {
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        builder.append_data(&mut header, name.join(""), io::empty())?;
        let mut names =
            fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        let deeper = left.1.checked_sub(1).ok_or_else(|| {
            io::Error::other(format!("custom_hooks holds folders more than {MAX_DEPTH} inside each other"))
        })?;
        for child in names {
            let mut below = (left.0, deeper);
            add(builder, &path.join(&child), &name.join(&child), &mut below)?;
            left.0 = below.0;
        }
    } else if meta.is_symlink() {
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, name, fs::read_link(path)?)?;
    } else if meta.is_file() {
        left.0 = left
            .0
            .checked_sub(meta.size())
            .ok_or_else(|| io::Error::other(format!("custom_hooks holds more than {MAX_BYTES} bytes")))?;
        let content = fs::read(path)?;
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_slice())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_hooks_give_the_same_bytes_and_modes_count() {
        let dir = tempfile::tempdir().expect("temp folder");
        assert!(archive(dir.path()).expect("no hooks").is_none());
        let hooks = dir.path().join("custom_hooks/update.d");
        fs::create_dir_all(&hooks).expect("create");
        fs::write(hooks.join("one"), "#!/bin/sh\n").expect("write");
        std::os::unix::fs::symlink("one", hooks.join("two")).expect("link");
        let first = archive(dir.path()).expect("readable").expect("has hooks");
        fs::write(hooks.join("one"), "#!/bin/sh\n").expect("write");
        assert_eq!(archive(dir.path()).expect("readable").as_ref(), Some(&first));
        fs::set_permissions(hooks.join("one"), fs::Permissions::from_mode(0o750)).expect("chmod");
        assert_ne!(archive(dir.path()).expect("readable").as_ref(), Some(&first));
        let mut names = Vec::new();
        for entry in tar::Archive::new(first.as_slice()).entries().expect("own archive") {
            names.push(entry.expect("own entry").path().expect("own path").display().to_string());
        }
        assert_eq!(
            names,
            [
                "custom_hooks/",
                "custom_hooks/update.d/",
                "custom_hooks/update.d/one",
                "custom_hooks/update.d/two"
            ]
        );
    }

    #[test]
    fn folders_may_not_lie_inside_each_other_for_ever() {
        let dir = tempfile::tempdir().expect("temp folder");
        let deep = |depth: usize| dir.path().join("custom_hooks").join(vec!["a"; depth].join("/"));
        fs::create_dir_all(deep(MAX_DEPTH - 1)).expect("create");
        assert!(archive(dir.path()).expect("readable").is_some());
        fs::create_dir_all(deep(MAX_DEPTH)).expect("create");
        let refused = archive(dir.path()).expect_err("too deep").to_string();
        assert!(refused.contains("64 inside each other"), "{refused}");
    }

    #[test]
    fn a_link_in_place_of_the_folder_is_not_followed() {
        let dir = tempfile::tempdir().expect("temp folder");
        fs::create_dir(dir.path().join("shared")).expect("create");
        fs::write(dir.path().join("shared/update"), "#!/bin/sh\n").expect("write");
        std::os::unix::fs::symlink("shared", dir.path().join("custom_hooks")).expect("link");
        let archive = archive(dir.path()).expect("readable").expect("has hooks");
        let mut entries = tar::Archive::new(archive.as_slice());
        let entries: Vec<_> =
            entries.entries().expect("own archive").map(|entry| entry.expect("own entry")).collect();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].path().expect("own path").as_os_str(), "custom_hooks");
        assert_eq!(entries[0].link_name().expect("own link").expect("has one").as_os_str(), "shared");
    }
}
