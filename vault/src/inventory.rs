//! Which backups a vault holds, which one an operator means, and which one a run builds on.
//!
//! Does not own: the age rules of `prune`. One LIST and one GET per backup; only committed backups are ever seen, and
//! order comes from the commit records, never from the store's modification times.

use futures_util::{StreamExt, stream};
use packhorse_model::{
    BackupId, BackupSelector, ErrorKind, ObjectDigest, Problem, RunState, RunSummary, StorageName,
    StorageSummary, Subject,
};

use serde::{Deserialize, Serialize};

use crate::{BackupInformation, ObjectKey, Vault, VaultError};

/// A committed backup.
pub type CommittedBackup = BackupInformation;

/// Commit records fetched at once.
const PARALLEL: usize = 32;

/// All committed backups, newest first; records that cannot be read come second, as problems.
pub async fn committed(vault: &Vault) -> Result<(Vec<CommittedBackup>, Vec<Problem>), VaultError> {
    let names = vault.list_names(&ObjectKey::backups()).await?;
    let mut reads = Vec::new();
    for id in names.iter().filter_map(|name| name.parse::<BackupId>().ok()) {
        reads.push(record(vault, id));
    }
    let records: Vec<Result<Option<CommittedBackup>, VaultError>> =
        stream::iter(reads).buffer_unordered(PARALLEL).collect().await;
    let (mut backups, mut unreadable) = (Vec::new(), Vec::new());
    for record in records {
        match record {
            Ok(Some(backup)) => backups.push(backup),
            Ok(None) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => {
                unreadable.push(error.into());
            }
            Err(error) => return Err(error),
        }
    }
    backups.sort_by(|a, b| (b.started_at, &b.backup_id).cmp(&(a.started_at, &a.backup_id)));
    Ok((backups, unreadable))
}

async fn record(vault: &Vault, id: BackupId) -> Result<Option<CommittedBackup>, VaultError> {
    let key = ObjectKey::information(&id);
    match vault.get(&key).await {
        Ok(bytes) => {
            let found = BackupInformation::parse(&bytes, &key)?;
            if found.backup_id == id {
                return Ok(Some(found));
            }
            let finding = format!("is the record of backup {}", found.backup_id);
            Err(VaultError::corrupt("read commit record", key, finding))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Which backups `latest` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latest {
    /// Those of everything, with nothing known to be missing.
    Whole,
    /// All, also partial and incomplete ones.
    Any,
}

impl Latest {
    fn counts(self, backup: &CommittedBackup) -> bool {
        self == Self::Any || !(backup.partial || backup.state == RunState::Incomplete)
    }
}

/// The backup that an operator means.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The backup.
    pub backup: CommittedBackup,
    /// What `latest` means, and how many before that this one is; none when the backup was named by its ID.
    pub latest: Option<(BackupId, usize)>,
    /// Newer ones that `latest` does not mean, the newest first.
    pub passed_over: Vec<CommittedBackup>,
}

impl Resolved {
    /// Backups that are named.
    const NAMED: usize = 5;

    /// What `latest` means, and what was passed over, in a sentence; none when that is nothing.
    pub fn remark_of_latest(&self) -> Option<String> {
        let (latest, back) = self.latest.as_ref()?;
        let remark = self.remark()?;
        Some(match back {
            0 => format!("latest is {latest}: {remark}"),
            back => format!("latest is {latest}, latest~{back} is {}: {remark}", self.backup.backup_id),
        })
    }

    /// What was passed over, in a sentence; none when that is nothing.
    pub fn remark(&self) -> Option<String> {
        let number = self.passed_over.len();
        let why = |backup: &CommittedBackup| match (backup.partial, backup.state) {
            (true, RunState::Incomplete) => format!("{} (partial, incomplete)", backup.backup_id),
            (true, _) => format!("{} (partial)", backup.backup_id),
            (false, _) => format!("{} (incomplete)", backup.backup_id),
        };
        let named: Vec<String> = self.passed_over.iter().take(Self::NAMED).map(why).collect();
        let more = if number > named.len() { ", …" } else { "" };
        let backups =
            if number == 1 { "1 newer backup was" } else { &format!("{number} newer backups were") };
        (number > 0).then(|| format!("{backups} passed over: {}{more}", named.join(", ")))
    }
}

/// The backup that the operator means, with what is passed over on the way to it.
pub async fn resolve(vault: &Vault, selector: &BackupSelector, latest: Latest) -> Result<Resolved, Problem> {
    let by_name = |backup| Resolved { backup, latest: None, passed_over: Vec::new() };
    let not_found = || {
        Problem::new(ErrorKind::NotFound, Subject::Backup, "find backup")
            .on(selector)
            .answered(format!("{} has no such committed backup", vault.label()))
            .next("run `backupctl list`")
    };
    match selector {
        BackupSelector::Id(id) => match record(vault, id.clone()).await? {
            Some(backup) => Ok(by_name(backup)),
            None => by_prefix(vault, id, not_found()).await.map(by_name),
        },
        BackupSelector::Latest(back) => {
            let (backups, unreadable) = committed(vault).await?;
            // Any of them may be newer than what can be read, so counting back would quietly take an older backup.
            if let Some(problem) = unreadable.into_iter().next() {
                return Err(problem.while_doing("find backup").next("name the backup by its ID"));
            }
            if backups.is_empty() {
                return Err(no_backup_yet(vault, selector));
            }
            let whole = backups.iter().filter(|backup| latest.counts(backup)).count();
            let newest = backups.first().cloned();
            if whole > 0 && whole <= *back {
                let answer = match whole {
                    1 => "there is only one such backup".to_owned(),
                    _ => format!("there are only {whole} such backups"),
                };
                return Err(not_found().answered(format!("{answer} in {}", vault.label())));
            }
            nth_counted(backups, *back, latest)
                .ok_or_else(|| newest.map_or_else(not_found, |newest| none_whole(vault, selector, &newest)))
        }
    }
}

/// The backup so many before the newest that counts, with those before it that do not.
pub fn nth_counted(backups: Vec<CommittedBackup>, back: usize, latest: Latest) -> Option<Resolved> {
    let (mut counted, mut passed_over, mut first) = (0, Vec::new(), None);
    for backup in backups {
        if !latest.counts(&backup) {
            passed_over.push(backup);
            continue;
        }
        let first = first.get_or_insert_with(|| backup.backup_id.clone());
        if counted == back {
            let latest = Some((first.clone(), back));
            return Some(Resolved { backup, latest, passed_over });
        }
        counted += 1;
    }
    None
}

/// The vault is new, or all of its runs committed nothing.
fn no_backup_yet(vault: &Vault, selector: &BackupSelector) -> Problem {
    Problem::new(ErrorKind::NotFound, Subject::Backup, "find backup")
        .on(selector)
        .answered(format!("there is no backup in {} yet", vault.label()))
        .next("make one with `backupctl create`, or name another vault; `backupctl status` tells of runs that committed nothing")
}

/// Whether there is a backup of this ID.
pub async fn is_committed(vault: &Vault, id: &BackupId) -> Result<bool, Problem> {
    Ok(record(vault, id.clone()).await?.is_some())
}

/// There are backups, but none that `latest` means.
fn none_whole(vault: &Vault, selector: &BackupSelector, newest: &CommittedBackup) -> Problem {
    let what = if newest.partial { "partial" } else { "incomplete" };
    Problem::new(ErrorKind::NotFound, Subject::Backup, "find backup")
        .on(selector)
        .answered(format!(
            "{} has no such backup of everything; the newest of all, {}, is {what}",
            vault.label(),
            newest.backup_id
        ))
        .next("name a backup by its ID, or add --partial; `backupctl list` shows them")
}

/// The only committed backup whose ID begins so. An ID that a run had is never the beginning of another one: who names a
/// run that committed nothing must not get a different backup.
async fn by_prefix(vault: &Vault, prefix: &BackupId, not_found: Problem) -> Result<CommittedBackup, Problem> {
    let names = vault.list_names(&ObjectKey::backups()).await?;
    let begins = |name: &&String| name.starts_with(prefix.as_str());
    let ids: Vec<BackupId> = names.iter().filter(begins).filter_map(|name| name.parse().ok()).collect();
    let is_prefix = prefix.as_str().len() >= BackupId::SHORTEST_PREFIX && !ids.is_empty();
    if ids.contains(prefix) || vault.head(&ObjectKey::run(prefix)).await?.is_some() {
        return Err(not_found
            .answered("a run with this ID has committed nothing")
            .next(format!("run `backupctl status {prefix}`")));
    }
    if !is_prefix {
        return Err(not_found.or_nearest(prefix.as_str(), names.iter().map(String::as_str).chain(["latest"])));
    }
    let (mut found, mut records) =
        (Vec::new(), stream::iter(ids).map(|id| record(vault, id)).buffered(PARALLEL));
    while let Some(read) = records.next().await {
        found.extend(read?);
    }
    match found.len() {
        0 => Err(not_found),
        1 => Ok(found.swap_remove(0)),
        count => {
            let named: Vec<&str> = found.iter().take(5).map(|backup| backup.backup_id.as_str()).collect();
            let more = if count > named.len() { ", …" } else { "" };
            Err(Problem::new(ErrorKind::Invalid, Subject::Backup, "find backup")
                .on(prefix)
                .answered(format!("{count} backups begin so: {}{more}", named.join(", ")))
                .next("name more of the ID"))
        }
    }
}

/// What the run that wrote a backup did, from its report, checked against the commit record.
pub async fn load_summary(vault: &Vault, backup: &CommittedBackup) -> Result<RunSummary, VaultError> {
    let digest = ObjectDigest {
        path: ObjectKey::report(&backup.backup_id).to_string(),
        size: backup.report_size,
        sha256: backup.report_sha256.clone(),
    };
    let bytes = vault.get_checked(&digest).await?;
    let summary: RunSummary =
        serde_json::from_slice(&bytes).map_err(|e| VaultError::corrupt("read report", &digest.path, e))?;
    // The record holds no digest of itself: what orders and describes backups must be what the report says.
    let recorded = (&backup.backup_id, backup.state, backup.started_at, backup.finished_at);
    if recorded != (&summary.backup_id, summary.state, summary.started_at, summary.finished_at) {
        let key = ObjectKey::information(&backup.backup_id);
        return Err(VaultError::corrupt(
            "read commit record",
            key,
            "disagrees with the report that it names",
        ));
    }
    Ok(summary)
}

/// The newest catalogue that a storage's next increments can be built on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageBase {
    /// The backup that has it.
    pub backup_id: BackupId,
    /// When that backup's run started.
    pub started_at: jiff::Timestamp,
    /// When everything of it was durable.
    pub finished_at: jiff::Timestamp,
    /// The catalogue.
    pub catalogue: ObjectDigest,
    /// Whether it has repositories that are gone, and nobody said that they were deleted on purpose.
    #[serde(default)]
    pub gone_unconfirmed: bool,
    /// Repositories that had refs once, and have none, and nobody said that this is meant.
    #[serde(default)]
    pub emptied_unconfirmed: u64,
}

/// What a run builds on and is compared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Earlier {
    /// The base of each storage, in the order given.
    pub bases: Vec<Option<StorageBase>>,
    /// What the newest backup that was not partial holds.
    pub last_whole: Option<RunSummary>,
}

/// The base of each storage, in the order given.
pub async fn base_for(
    vault: &Vault,
    backups: &[CommittedBackup],
    storages: &[StorageName],
) -> Result<Vec<Option<StorageBase>>, VaultError> {
    Ok(read_earlier(vault, backups, storages, false).await?.bases)
}

/// The same, and the newest backup that was not partial.
pub async fn earlier(
    vault: &Vault,
    backups: &[CommittedBackup],
    storages: &[StorageName],
) -> Result<Earlier, VaultError> {
    read_earlier(vault, backups, storages, true).await
}

/// Reads reports of committed backups, given newest first, until every storage has a base, and the last whole backup is
/// found where it is wanted.
async fn read_earlier(
    vault: &Vault,
    backups: &[CommittedBackup],
    storages: &[StorageName],
    with_last: bool,
) -> Result<Earlier, VaultError> {
    let mut earlier = Earlier { bases: vec![None; storages.len()], last_whole: None };
    for backup in backups {
        let wants_last = with_last && earlier.last_whole.is_none();
        if !wants_last && earlier.bases.iter().all(Option::is_some) {
            break;
        }
        let summary = load_summary(vault, backup).await;
        let summary = match summary {
            Ok(summary) => summary,
            // A damaged report disqualifies its backup as a base, not the run.
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                tracing::warn!(backup = %backup.backup_id, %error, "a report is unusable: an older base is looked for");
                continue;
            }
            Err(error) => return Err(error),
        };
        for (storage, base) in storages.iter().zip(&mut earlier.bases) {
            if base.is_none() {
                *base = usable(&summary, storage);
            }
        }
        if wants_last && !summary.partial {
            earlier.last_whole = Some(summary);
        }
    }
    Ok(earlier)
}

fn usable(summary: &RunSummary, storage: &StorageName) -> Option<StorageBase> {
    let found: &StorageSummary = summary.storages.iter().find(|s| s.storage == *storage && !s.filtered)?;
    let catalogue = found.catalogue.clone()?;
    let (started_at, finished_at) = (summary.started_at, summary.finished_at);
    let gone_unconfirmed = found.gone_unconfirmed > 0;
    Some(StorageBase {
        backup_id: summary.backup_id.clone(),
        started_at,
        finished_at,
        catalogue,
        gone_unconfirmed,
        emptied_unconfirmed: found.emptied_unconfirmed,
    })
}

impl Vault {
    /// Names directly below a folder, without the folder; objects and folders alike.
    pub async fn list_names(&self, folder: &ObjectKey) -> Result<Vec<String>, VaultError> {
        let listing = self.list_folder(folder).await?;
        Ok(listing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn vault_with(ids: &[&str]) -> Vault {
        let vault = Vault::in_memory();
        let epoch = jiff::Timestamp::UNIX_EPOCH.to_string();
        for id in ids {
            let key = ObjectKey::information(&id.parse().expect("valid ID"));
            let record = serde_json::json!({
                "metadata_version": 2, "backup_id": id, "created_at": epoch, "gitlab_version": "0",
                "packhorse_version": "0", "packhorse_format": crate::FORMAT, "state": "complete",
                "incremental": false, "started_at": epoch, "finished_at": epoch, "repositories": 0,
                "repositories_failed": 0, "databases": 0, "directories": 0, "failures": 0, "bytes_new": 0,
                "bytes_total": 0, "report_sha256": "0".repeat(64), "report_size": 0,
            });
            vault.create(&key, record.to_string().into()).await.expect("record");
        }
        vault
    }

    async fn found(vault: &Vault, text: &str) -> Result<String, Problem> {
        let selector = text.parse().expect("valid selector");
        resolve(vault, &selector, Latest::Whole).await.map(|found| found.backup.backup_id.to_string())
    }

    #[tokio::test]
    async fn the_beginning_of_an_id_stands_for_it_when_there_is_only_one() {
        let ids = ["1795177711_2026_11_20_0.0.0", "1795177799_2026_11_20_0.0.0", "night", "nightly"];
        let vault = vault_with(&ids).await;
        assert_eq!(found(&vault, "17951777110").await.expect_err("none").kind, ErrorKind::NotFound);
        assert_eq!(found(&vault, "179517771").await.expect("one"), ids[0]);
        assert_eq!(found(&vault, "night").await.expect("itself"), "night");
        let many = found(&vault, "1795").await.expect_err("two");
        assert_eq!(many.kind, ErrorKind::Invalid);
        let answer = many.answer.unwrap_or_default();
        assert!(ids[..2].iter().all(|id| answer.contains(id)), "{answer}");
        assert_eq!(found(&vault, "nig").await.expect_err("too short").kind, ErrorKind::NotFound);
        let typo = found(&vault, "nighly").await.expect_err("a typo");
        assert!(typo.next.unwrap_or_default().contains("did you mean nightly?"));
        let typo = found(&vault, &["lat", "st"].concat()).await.expect_err("a typo");
        assert!(typo.next.unwrap_or_default().contains("did you mean latest?"));
    }

    #[tokio::test]
    async fn of_a_vault_without_backups_it_is_said_that_there_are_none_yet() {
        for selector in ["latest", "latest~2"] {
            let none = found(&vault_with(&[]).await, selector).await.expect_err("an empty vault");
            assert_eq!((none.kind, none.subject), (ErrorKind::NotFound, Subject::Backup));
            assert!(none.answer.is_some_and(|answer| answer.starts_with("there is no backup in ")));
            assert!(none.next.is_some_and(|next| next.starts_with("make one with `backupctl create`")));
        }
    }

    #[tokio::test]
    async fn the_id_of_a_run_that_committed_nothing_stands_for_no_other() {
        let vault = vault_with(&["night-10"]).await;
        let lost: BackupId = "night-1".parse().expect("valid ID");
        vault.create(&ObjectKey::run(&lost), "{}".into()).await.expect("journal");
        let refused = found(&vault, "night-1").await.expect_err("another backup");
        assert_eq!(refused.kind, ErrorKind::NotFound);
        assert!(refused.answer.unwrap_or_default().contains("committed nothing"));
        assert_eq!(found(&vault, "night").await.expect("one"), "night-10");
    }
}
