//! Custom hooks: writing them for a test, and reading them for the oracle.
//!
//! Does not own: running hooks. Links are read, never followed.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::git::GitRepo;

/// One entry below `custom_hooks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookEntry {
    /// A folder with its mode.
    Folder(u32),
    /// A file with its mode and contents.
    File(u32, Vec<u8>),
    /// A symbolic link with its target.
    Link(PathBuf),
}

impl GitRepo {
    /// Writes a file below `custom_hooks` with this mode.
    pub fn set_hook(&self, path: &str, contents: impl AsRef<[u8]>, mode: u32) {
        let file = self.path().join("custom_hooks").join(path);
        let folder = file.parent().expect("a joined path has a parent");
        fs::create_dir_all(folder).unwrap_or_else(|error| panic!("create {}: {error}", folder.display()));
        fs::write(&file, contents)
            .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(mode)))
            .unwrap_or_else(|error| panic!("write {}: {error}", file.display()));
    }
}

/// Everything below a repository's `custom_hooks`, by path; the folder itself has the empty path.
pub(super) fn read_hooks(repository: &Path) -> BTreeMap<PathBuf, HookEntry> {
    let mut entries = BTreeMap::new();
    let hooks = repository.join("custom_hooks");
    if hooks.symlink_metadata().is_ok() {
        read_entry(&hooks, Path::new(""), &mut entries);
    }
    entries
}

fn read_entry(path: &Path, relative: &Path, entries: &mut BTreeMap<PathBuf, HookEntry>) {
    let context = |error| -> ! { panic!("read {}: {error}", path.display()) };
    let metadata = path.symlink_metadata().unwrap_or_else(|error| context(error));
    let mode = metadata.permissions().mode() & 0o7777;
    let entry = if metadata.is_symlink() {
        HookEntry::Link(fs::read_link(path).unwrap_or_else(|error| context(error)))
    } else if metadata.is_dir() {
        for child in fs::read_dir(path).unwrap_or_else(|error| context(error)) {
            let child = child.unwrap_or_else(|error| context(error));
            read_entry(&child.path(), &relative.join(child.file_name()), entries);
        }
        HookEntry::Folder(mode)
    } else {
        assert!(
            metadata.is_file(),
            "{}: neither file, folder nor link (mode {:o})",
            path.display(),
            metadata.mode()
        );
        HookEntry::File(mode, fs::read(path).unwrap_or_else(|error| context(error)))
    };
    entries.insert(relative.to_owned(), entry);
}
