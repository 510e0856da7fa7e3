//! Step 5 of a run, publish: the report, Gitaly's marker, and last the commit record. The backup exists from then on.
//!
//! Does not own: what the report says. Each is created once. A report that is there already was written by an earlier
//! attempt at the same run: it says what that attempt found, all of it durable, and it is the one that is committed, once
//! the vault has said that the catalogues, dumps and archives which it names are there with their sizes. When nobody can
//! say whether the last one was written, the error says just that. A crash before the last write leaves a run that `list`
//! and `restore` do not see.

use bytes::Bytes;
use jiff::Timestamp;
use packhorse_model::{BackupId, ErrorKind, ObjectDigest, Problem, RunSummary, Subject};
use packhorse_vault::{BackupInformation, FORMAT, ObjectKey, Vault, VaultError, digest_of};

/// Commits a backup, and says what was committed.
pub async fn publish(
    vault: &Vault,
    summary: RunSummary,
    instance_version: &str,
) -> Result<RunSummary, Problem> {
    publish_report(vault, summary, instance_version).await.map_err(uncommitted)
}

/// Commits a run whose report an earlier attempt wrote; none when there is no report.
pub async fn finish(
    vault: &Vault,
    id: &BackupId,
    instance_version: &str,
) -> Result<Option<RunSummary>, Problem> {
    let Some((summary, report)) = written(vault, id).await.map_err(uncommitted)? else { return Ok(None) };
    commit(vault, &summary, report, instance_version).await.map_err(uncommitted)?;
    Ok(Some(summary))
}

const UNCOMMITTED: &str = "nothing was committed; earlier backups are as they were";
const UNKNOWN: &str = "whether the backup was committed is not known; earlier backups are as they were";

fn uncommitted(problem: Problem) -> Problem {
    let problem = problem.while_doing("commit backup");
    if problem.state.is_some() { problem } else { problem.leaving(UNCOMMITTED) }
}

async fn publish_report(
    vault: &Vault,
    summary: RunSummary,
    instance_version: &str,
) -> Result<RunSummary, Problem> {
    let id = &summary.backup_id;
    let mut report = serde_json::to_vec_pretty(&summary)
        .map_err(|e| Problem::new(ErrorKind::Internal, Subject::Backup, "write report").on(id).answered(e))?;
    report.push(b'\n');
    let (summary, report) = match vault.create(&ObjectKey::report(id), report.into()).await {
        Ok(report) => (summary, report),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            written(vault, id).await?.ok_or_else(|| Problem::from(error))?
        }
        Err(error) => return Err(error.into()),
    };
    commit(vault, &summary, report, instance_version).await?;
    Ok(summary)
}

async fn written(vault: &Vault, id: &BackupId) -> Result<Option<(RunSummary, ObjectDigest)>, Problem> {
    let key = ObjectKey::report(id);
    let bytes = match vault.get(&key).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let summary: RunSummary = serde_json::from_slice(&bytes)
        .map_err(|e| Problem::new(ErrorKind::Corrupt, Subject::Vault, "read report").on(&key).answered(e))?;
    vault.check_present(&objects_of(&summary)).await.map_err(not_whole)?;
    Ok(Some((summary, digest_of(&key, &bytes))))
}

/// A report cannot be written again, so the run cannot be committed without what it names.
fn not_whole(error: VaultError) -> Problem {
    let is_lack = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt);
    let problem = Problem::from(error).while_doing("take over what an earlier attempt at this run stored");
    if !is_lack {
        return problem;
    }
    Problem { kind: ErrorKind::Corrupt, ..problem }.next("make another backup: backupctl create")
}

/// What a report itself names: the catalogues name the rest.
fn objects_of(summary: &RunSummary) -> Vec<ObjectDigest> {
    let catalogues = summary.storages.iter().filter_map(|storage| storage.catalogue.clone());
    let dumps = summary.databases.iter().map(|database| database.object.clone());
    let archives = summary.directories.iter().map(|directory| directory.object.clone());
    catalogues.chain(dumps).chain(archives).collect()
}

async fn commit(
    vault: &Vault,
    summary: &RunSummary,
    report: ObjectDigest,
    instance_version: &str,
) -> Result<(), Problem> {
    let id = &summary.backup_id;
    vault.create(&ObjectKey::marker(id), Bytes::new()).await?;
    let counts = &summary.repositories;
    let information = BackupInformation {
        metadata_version: 2,
        backup_id: id.clone(),
        created_at: summary.started_at,
        gitlab_version: instance_version.to_owned(),
        packhorse_version: env!("CARGO_PKG_VERSION").to_owned(),
        packhorse_format: FORMAT,
        state: summary.state,
        partial: summary.partial,
        incremental: summary.base_backup_id.is_some(),
        base_backup_id: summary.base_backup_id.clone(),
        started_at: summary.started_at,
        finished_at: summary.finished_at,
        committed_at: Some(Timestamp::now()),
        schedule: summary.schedule.clone(),
        repositories: counts.backed_up + counts.unchanged + counts.empty,
        repositories_failed: counts.failed + counts.damaged,
        repositories_gone: counts.gone,
        unproven: summary.unproven,
        databases: summary.databases.len() as u64,
        directories: summary.directories.len() as u64,
        failures: summary.failures_total,
        bytes_new: summary.bytes_new,
        bytes_total: summary.bytes_total,
        report_sha256: report.sha256,
        report_size: report.size,
    };
    let committed = vault.create(&ObjectKey::information(id), information.to_json()?.into()).await;
    committed.map(drop).map_err(|error| {
        let unknown = error.may_have_written() && error.kind() != ErrorKind::AlreadyExists;
        let problem = Problem::from(error);
        if !unknown {
            return problem;
        }
        problem
            .leaving(UNKNOWN)
            .next("once the store is reachable, look with `backupctl list`; if it is not there, run again")
    })
}
