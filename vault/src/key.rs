//! Keys of stored objects, relative to the vault's prefix. The whole key tree of the format is formed here.
//!
//! Does not own: the prefix itself. Safe because keys are only made from parsed names, or checked when they come from
//! stored data.

use std::fmt;

use packhorse_model::{BackupId, RepoPath, StorageName};

use crate::VaultError;

/// A relative key without empty, `.` or `..` components.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// A key read from stored data; refused when it could leave the vault.
    pub fn from_stored(text: &str) -> Result<Self, VaultError> {
        let bad = text.split('/').any(|part| part.is_empty() || part == "." || part == "..");
        if bad || text.chars().any(char::is_control) {
            let finding = "not a relative path of plain components";
            return Err(VaultError::corrupt("read key", format!("{text:?}"), finding));
        }
        Ok(Self(text.to_owned()))
    }

    /// Manifest of one repository in one backup.
    pub fn manifest(storage: &StorageName, repo: &RepoPath, id: &BackupId) -> Self {
        Self(format!("manifests/{storage}/{repo}/{id}.toml"))
    }

    /// Copy of a repository's newest manifest.
    pub fn latest_manifest(storage: &StorageName, repo: &RepoPath) -> Self {
        Self(format!("manifests/{storage}/{repo}/+latest.toml"))
    }

    /// A file of step `number` (from 1): `bundle`, `refs` or `custom_hooks.tar`.
    pub fn step(storage: &StorageName, repo: &RepoPath, id: &BackupId, number: usize, suffix: &str) -> Self {
        Self(format!("{storage}/{repo}/{id}/{number:03}.{suffix}"))
    }

    /// Gitaly's marker of a run.
    pub fn marker(id: &BackupId) -> Self {
        Self(format!("backup_ids/{id}"))
    }

    /// Catalogue of one storage.
    pub fn catalogue(id: &BackupId, storage: &StorageName) -> Self {
        Self(format!("backups/{id}/repositories/{storage}.jsonl.zst"))
    }

    /// Whether a key from outside is that of a catalogue of this storage, of any backup.
    pub fn is_catalogue_of(text: &str, storage: &StorageName) -> bool {
        let id = text.strip_prefix("backups/").and_then(|rest| rest.split('/').next());
        let id = id.and_then(|id| id.parse::<BackupId>().ok());
        id.is_some_and(|id| Self::catalogue(&id, storage).as_str() == text)
    }

    /// Dump of one database; `main` has GitLab's plain name.
    pub fn database(id: &BackupId, name: &str) -> Self {
        if name == "main" {
            Self(format!("backups/{id}/db/database.sql.gz"))
        } else {
            Self(format!("backups/{id}/db/{name}_database.sql.gz"))
        }
    }

    /// Archive of one directory.
    pub fn directory(id: &BackupId, name: &str) -> Self {
        Self(format!("backups/{id}/{name}.tar.gz"))
    }

    /// Report of a run.
    pub fn report(id: &BackupId) -> Self {
        Self(format!("backups/{id}/report.json"))
    }

    /// The commit record.
    pub fn information(id: &BackupId) -> Self {
        Self(format!("backups/{id}/backup_information.json"))
    }

    /// Folder of all backups.
    pub fn backups() -> Self {
        Self("backups".into())
    }

    /// Folder of one backup.
    pub fn backup(id: &BackupId) -> Self {
        Self(format!("backups/{id}"))
    }

    /// Start record of a run.
    pub fn run(id: &BackupId) -> Self {
        Self(format!("packhorse/runs/{id}/run.json"))
    }

    /// Format marker of the vault.
    pub fn format() -> Self {
        Self("packhorse/format.json".into())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_keys_cannot_leave_the_vault() {
        for bad in ["", "/a", "a//b", "../a", "a/..", "a\nb"] {
            assert!(ObjectKey::from_stored(bad).is_err(), "{bad:?}");
        }
        assert!(ObjectKey::from_stored("default/a b.git/x/001.bundle").is_ok());
    }

    #[test]
    fn a_catalogue_is_known_by_its_key() {
        let storage = "default".parse().unwrap();
        assert!(ObjectKey::is_catalogue_of("backups/b-1/repositories/default.jsonl.zst", &storage));
        for bad in [
            "backups/b-1/repositories/other.jsonl.zst",
            "backups/../repositories/default.jsonl.zst",
            "backups/b-1/../b-2/repositories/default.jsonl.zst",
            "backups/b-1/report.json",
            "default/a.git/b-1/001.bundle",
            "/etc/passwd",
            "",
        ] {
            assert!(!ObjectKey::is_catalogue_of(bad, &storage), "{bad:?}");
        }
    }

    #[test]
    fn steps_count_on_past_999() {
        let (s, r, id) = ("s".parse().unwrap(), "a/b.git".parse().unwrap(), "i".parse().unwrap());
        assert_eq!(ObjectKey::step(&s, &r, &id, 2, "refs").as_str(), "s/a/b.git/i/002.refs");
        assert_eq!(ObjectKey::step(&s, &r, &id, 1000, "refs").as_str(), "s/a/b.git/i/1000.refs");
        assert_eq!(ObjectKey::database(&id, "main").as_str(), "backups/i/db/database.sql.gz");
        assert_eq!(ObjectKey::database(&id, "ci").as_str(), "backups/i/db/ci_database.sql.gz");
    }
}
