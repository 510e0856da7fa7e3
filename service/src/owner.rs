//! Whose a file is, and who we are: for the answer of a file that may not be read.
//!
//! Does not own: what is done about it. Nothing is decided by it. What `vault` says of its own folder is said there.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// Owner and mode of the nearest part of the path that can be looked at, and our user.
pub fn whose(path: &Path) -> String {
    let us = name_of(rustix::process::geteuid().as_raw());
    let found = path.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?)));
    match found {
        Some((path, meta)) => format!(
            "{} belongs to user {} with mode {:04o}, and we are user {us}",
            path.display(),
            name_of(meta.uid()),
            meta.mode() & 0o7777
        ),
        None => format!("nothing of its path can be looked at, and we are user {us}"),
    }
}

/// The name that this host gives to a user, or the number.
fn name_of(user: u32) -> String {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.get(2).and_then(|id| id.parse().ok()) == Some(user));
    line.and_then(|fields| fields.first().map(|name| (*name).to_owned())).unwrap_or_else(|| user.to_string())
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
        assert_eq!(name_of(0), "root");
        assert_eq!(name_of(u32::MAX - 7), (u32::MAX - 7).to_string());
    }
}
