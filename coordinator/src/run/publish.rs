//! Step 5 of a run, publish: the report, Gitaly's marker, and last the commit record. The backup exists from then on.
//!
//! Does not own: what the report says. Each is created once; an ambiguous answer is read back by the vault. When even
//! that is not answered for the last one, the error says that the outcome is not known. A crash before the last write
//! leaves a run that `list` and `restore` do not see.

use bytes::Bytes;
use packhorse_model::{ErrorKind, Problem, RunSummary, Subject};
use packhorse_vault::{BackupInformation, FORMAT, ObjectKey, Vault};

/// Commits a backup.
pub async fn publish(vault: &Vault, summary: &RunSummary, instance_version: &str) -> Result<(), Problem> {
    let written = write(vault, summary, instance_version).await;
    written.map_err(|problem| {
        let problem = problem.while_doing("commit backup");
        if problem.state.is_some() { problem } else { problem.leaving(UNCOMMITTED) }
    })
}

const UNCOMMITTED: &str = "nothing was committed; earlier backups are as they were";
const UNKNOWN: &str = "whether the backup was committed is not known; earlier backups are as they were";

async fn write(vault: &Vault, summary: &RunSummary, instance_version: &str) -> Result<(), Problem> {
    let id = &summary.backup_id;
    let mut report = serde_json::to_vec_pretty(summary)
        .map_err(|e| Problem::new(ErrorKind::Internal, Subject::Backup, "write report").on(id).answered(e))?;
    report.push(b'\n');
    let report = vault.create(&ObjectKey::report(id), report.into()).await?;
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
        repositories: counts.backed_up + counts.unchanged + counts.empty,
        repositories_failed: counts.failed,
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
