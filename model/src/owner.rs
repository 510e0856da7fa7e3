//! Whose a file is, and who we are: for the answer of a file that may not be read or written.
//!
//! Does not own: what is done about it. Nothing is decided by it.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// The nearest part of the path that can be looked at, its owner, group and mode, and who we are.
pub fn whose(path: &Path) -> String {
    let us = format!(
        "we are user {} and group {}",
        name_of("/etc/passwd", rustix::process::geteuid().as_raw()),
        name_of("/etc/group", rustix::process::getegid().as_raw())
    );
    let found = path.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?)));
    let Some((path, meta)) = found else { return format!("nothing of its path can be looked at, and {us}") };
    format!(
        "{} belongs to user {} and group {} with mode {:04o}, and {us}",
        path.display(),
        name_of("/etc/passwd", meta.uid()),
        name_of("/etc/group", meta.gid()),
        meta.mode() & 0o7777,
    )
}

/// The name that a file of the host gives to an ID, or the ID.
fn name_of(file: &str, id: u32) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.get(2).and_then(|id| id.parse().ok()) == Some(id));
    line.and_then(|fields| fields.first().map(|name| (*name).to_owned())).unwrap_or_else(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn owner_and_mode_are_those_of_what_can_be_looked_at() {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).expect("chmod");
        let told = whose(&folder.path().join("not/there"));
        assert!(told.starts_with(&format!("{} belongs to user ", folder.path().display())), "{told}");
        assert!(told.contains("with mode 0750, and we are user "), "{told}");
        assert_eq!(name_of("/etc/passwd", 0), "root");
        assert_eq!(name_of("/etc/group", u32::MAX - 7), (u32::MAX - 7).to_string());
    }
}
