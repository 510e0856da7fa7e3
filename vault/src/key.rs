//! Keys of stored objects, relative to the vault's prefix. The whole key tree of the format is formed here.
//!
//! Does not own: the prefix itself. Safe because keys are only made from parsed names, or checked when they come from
//! stored data.

use std::fmt;

use packhorse_model::{BackupId, RepoPath, StorageName};

use crate::{Attempt, RunAttempt, VaultError};

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

    /// The run that a manifest's key names; none when it is no key of a run's manifest. Whether that run committed is not
    /// said by it.
    pub fn run_of_manifest(text: &str) -> Option<BackupId> {
        let name = text.strip_prefix("manifests/")?.rsplit('/').next()?;
        name.strip_suffix(".toml")?.parse().ok()
    }

    /// Copy of a repository's newest manifest.
    pub fn latest_manifest(storage: &StorageName, repo: &RepoPath) -> Self {
        Self(format!("manifests/{storage}/{repo}/+latest.toml"))
    }

    /// A file of step `number` (from 1): `bundle`, `refs` or `custom_hooks.tar`.
    pub fn step(
        storage: &StorageName,
        repo: &RepoPath,
        run: &RunAttempt,
        number: usize,
        suffix: &str,
    ) -> Self {
        Self(format!("{storage}/{repo}/{}/{number:03}{}.{suffix}", run.id, run.attempt.in_key()))
    }

    /// Gitaly's marker of a run.
    pub fn marker(id: &BackupId) -> Self {
        Self(format!("backup_ids/{id}"))
    }

    /// Catalogue of one storage.
    pub fn catalogue(run: &RunAttempt, storage: &StorageName) -> Self {
        Self(format!("backups/{}/repositories/{storage}{}.jsonl.zst", run.id, run.attempt.in_key()))
    }

    /// Whether a key from outside is that of a catalogue of this storage, of any backup.
    pub fn is_catalogue_of(text: &str, storage: &StorageName) -> bool {
        let Some((id, name)) =
            text.strip_prefix("backups/").and_then(|rest| rest.split_once("/repositories/"))
        else {
            return false;
        };
        let stem = name.strip_suffix(".jsonl.zst").and_then(|stem| stem.strip_prefix(storage.as_str()));
        let attempt = match stem {
            Some("") => Some(Attempt::first()),
            Some(stem) => stem.strip_prefix('+').and_then(|text| text.parse().ok()),
            None => None,
        };
        let run = id.parse().ok().zip(attempt).map(|(id, attempt)| RunAttempt { id, attempt });
        run.is_some_and(|run| Self::catalogue(&run, storage).as_str() == text)
    }

    /// Dump of one database; `main` has GitLab's plain name.
    pub fn database(run: &RunAttempt, name: &str) -> Self {
        let (id, attempt) = (&run.id, run.attempt.in_key());
        if name == "main" {
            Self(format!("backups/{id}/db/database{attempt}.sql.gz"))
        } else {
            Self(format!("backups/{id}/db/{name}_database{attempt}.sql.gz"))
        }
    }

    /// Archive of one directory.
    pub fn directory(run: &RunAttempt, name: &str) -> Self {
        Self(format!("backups/{}/{name}{}.tar.gz", run.id, run.attempt.in_key()))
    }

    /// The key of an object that a report names as a part of its backup; refused when it lies elsewhere.
    pub fn part_of(id: &BackupId, text: &str) -> Result<Self, VaultError> {
        let key = Self::from_stored(text)?;
        if text.strip_prefix(Self::backup(id).as_str()).is_some_and(|rest| rest.starts_with('/')) {
            return Ok(key);
        }
        Err(VaultError::corrupt("read report", text, format!("is no object of backup {id}")))
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

    /// Folder of Gitaly's markers.
    pub fn markers() -> Self {
        Self("backup_ids".into())
    }

    /// Folder of all runs' journals.
    pub fn runs() -> Self {
        Self("packhorse/runs".into())
    }

    /// Start record of a run.
    pub fn run(id: &BackupId) -> Self {
        Self(format!("packhorse/runs/{id}/run.json"))
    }

    /// Folder of the records of restores.
    pub fn restores() -> Self {
        Self("packhorse/restores".into())
    }

    /// Record of a restore.
    pub fn restore(id: &BackupId) -> Self {
        Self(format!("packhorse/restores/{id}.json"))
    }

    /// Record of the beginning of a restore.
    pub fn restore_begun(id: &BackupId) -> Self {
        Self(format!("packhorse/restores/{id}.began"))
    }

    /// End record of a run that committed nothing.
    pub fn run_end(id: &BackupId) -> Self {
        Self(format!("packhorse/runs/{id}/end.json"))
    }

    /// What a run has finished besides repositories: all databases, or one directory.
    pub fn run_part(id: &BackupId, part: &str) -> Self {
        Self(format!("packhorse/runs/{id}/parts/{part}.json"))
    }

    /// Folder of a run's catalogue segments of one storage.
    pub fn segments(id: &BackupId, storage: &StorageName) -> Self {
        Self(format!("packhorse/runs/{id}/segments/{storage}"))
    }

    /// Segment `number` (from 0) of the catalogue that an attempt at a storage writes.
    pub fn segment(run: &RunAttempt, storage: &StorageName, number: usize) -> Self {
        let folder = Self::segments(&run.id, storage);
        Self(format!("{folder}/{}-{number:06}.jsonl.zst", run.attempt.sorted()))
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
    fn the_run_of_a_manifest_is_in_its_key() {
        let id: BackupId = "1795177711_2026_11_20_0.0.0".parse().expect("valid ID");
        let (storage, repo) = ("default".parse().expect("valid"), "lib/core.git".parse().expect("valid"));
        assert_eq!(ObjectKey::run_of_manifest(ObjectKey::manifest(&storage, &repo, &id).as_str()), Some(id));
        for other in
            [ObjectKey::latest_manifest(&storage, &repo).as_str(), "backups/a/b.toml", "manifests/a/b.json"]
        {
            assert_eq!(ObjectKey::run_of_manifest(other), None, "{other}");
        }
    }

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
        assert!(ObjectKey::is_catalogue_of("backups/b-1/repositories/default+0199a.jsonl.zst", &storage));
        for bad in [
            "backups/b-1/repositories/other.jsonl.zst",
            "backups/b-1/repositories/default+x.jsonl.zst",
            "backups/b-1/repositories/default0199a.jsonl.zst",
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
        let first = RunAttempt::first(id);
        let again = RunAttempt { attempt: "0199a".parse().unwrap(), ..first.clone() };
        let step = |number, run| ObjectKey::step(&s, &r, run, number, "refs").to_string();
        assert_eq!(step(2, &first), "s/a/b.git/i/002.refs");
        assert_eq!(step(1000, &first), "s/a/b.git/i/1000.refs");
        assert_eq!(step(2, &again), "s/a/b.git/i/002+0199a.refs");
        assert_eq!(ObjectKey::database(&first, "main").as_str(), "backups/i/db/database.sql.gz");
        assert_eq!(ObjectKey::database(&again, "ci").as_str(), "backups/i/db/ci_database+0199a.sql.gz");
    }

    #[test]
    fn a_report_names_only_objects_of_its_backup() {
        let id = "i".parse().unwrap();
        assert!(ObjectKey::part_of(&id, "backups/i/uploads.tar.gz").is_ok());
        for bad in
            ["backups/i", "backups/ii/a", "backups/j/a", "backups/i/../j/a", "default/a.git/i/001.refs"]
        {
            assert!(ObjectKey::part_of(&id, bad).is_err(), "{bad}");
        }
    }
}
