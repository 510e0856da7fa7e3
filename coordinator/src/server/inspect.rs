//! Questions: which backups, what is in one, which agents.
//!
//! Does not own: rendering. Answers come from the vault, checked against its digests, or from the agents; catalogues
//! are streamed in bounded messages.

use std::collections::HashMap;

use packhorse_model::{BackupId, ErrorKind, Problem, StorageName, Subject};
use packhorse_proto::{status_of_problem, v1};
use packhorse_service::Tls;
use packhorse_vault::{
    CatalogueEntry, CatalogueReader, FormatMarker, Latest, ObjectKey, Resolved, RestoreBegun, Vault,
    committed, is_committed, journal_of, load_summary, resolve,
};
use serde::Serialize;
use tokio::sync::mpsc;
use tonic::Status;

use super::{
    Shared, elsewhere, json,
    restored::{self, Known},
};
use crate::fleet::{AgentHandle, Fleet};

/// Catalogue lines in one message.
const LINES: usize = 500;

/// All committed backups.
pub async fn list(vault: &Vault) -> Result<v1::ListResponse, Problem> {
    let marker = FormatMarker::of(vault).await?;
    let (backups, unreadable) = committed(vault).await?;
    Ok(v1::ListResponse {
        backups_json: backups.iter().map(json).collect::<Result<_, _>>()?,
        unreadable: unreadable.iter().map(Into::into).collect(),
        vault_url: vault.label().to_owned(),
        vault_id: marker.vault_id,
    })
}

type Shown = mpsc::Receiver<Result<v1::ShowResponse, Status>>;

/// One backup.
pub async fn show(shared: &Shared, request: v1::ShowRequest) -> Result<Shown, Problem> {
    use v1::show_response::Part;
    let (vault, tracker) = (&shared.vault.briefly(), shared.tasks.tracker());
    let marker = FormatMarker::of(vault).await?;
    if request.backup.starts_with(RESTORE)
        && let Some(record) = restore_of(vault, &request.backup).await?
    {
        let (out, receiver) = mpsc::channel(1);
        let part = Some(Part::RestoreJson(restore_json(&record, shared)?));
        let _ = out.send(Ok(v1::ShowResponse { part })).await;
        return Ok(receiver);
    }
    let latest = if request.partial { Latest::Any } else { Latest::Whole };
    let found = match resolve(vault, &request.backup.parse()?, latest).await {
        Err(unknown) => return Err(elsewhere::of_run(shared, &request.backup, unknown).await),
        Ok(found) => found,
    };
    let passed_over = told_passed_over(&found).map(Part::PassedOver);
    let backup = found.backup;
    let summary = load_summary(vault, &backup).await?;
    let storages: Vec<StorageName> =
        request.repositories_of.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    if let Some(unknown) = storages.iter().find(|name| !summary.storages.iter().any(|s| s.storage == **name))
    {
        return Err(Problem::new(ErrorKind::NotFound, Subject::Backup, "find storage")
            .on(unknown)
            .answered(format!("backup {} does not hold it", summary.backup_id))
            .or_nearest(unknown.as_str(), summary.storages.iter().map(|s| s.storage.as_str())));
    }
    let part = |part| Ok(v1::ShowResponse { part: Some(part) });
    let (out, receiver) = mpsc::channel(8);
    let name = v1::VaultName { url: vault.label().to_owned(), id: marker.vault_id };
    let journal = journal_of(vault, &backup.backup_id).await.ok().flatten();
    let by = journal.and_then(|journal| journal.requested_by).map(Part::RequestedBy);
    let head = [Part::Vault(name), Part::InformationJson(json(&backup)?), Part::SummaryJson(json(&summary)?)];
    let head = head.into_iter().chain(by).chain(passed_over);
    let catalogues: Vec<_> = summary
        .storages
        .iter()
        .filter(|storage| storages.contains(&storage.storage) || storages.is_empty() && request.failed_only)
        .filter_map(|storage| Some((storage.storage.clone(), storage.catalogue.clone()?)))
        .collect();
    let (vault, failed_only) = (vault.clone(), request.failed_only);
    tracker.spawn(async move {
        for message in head {
            let _ = out.send(part(message)).await;
        }
        for (storage, digest) in catalogues {
            let reader = CatalogueReader::open(&vault, &digest, &storage).await;
            let sent = match reader {
                Ok(reader) => send_lines(&vault, reader, &storage, failed_only, &out).await,
                Err(error) => Err(error.into()),
            };
            if let Err(problem) = sent {
                let _ = out.send(Err(status_of_problem(&problem))).await;
                return;
            }
        }
    });
    Ok(receiver)
}

/// What `latest` passes over, if anything.
pub fn told_passed_over(found: &Resolved) -> Option<v1::PassedOverBackups> {
    let backup_ids = found.passed_over.iter().map(|backup| backup.backup_id.to_string()).collect();
    Some(v1::PassedOverBackups { backup_ids, remark: found.remark_of_latest()? })
}

/// How the ID of every restore begins.
const RESTORE: &str = "restore-";

/// The record of a restore; none when such an ID is that of a backup.
async fn restore_of(vault: &Vault, wanted: &str) -> Result<Option<Known>, Problem> {
    match restored::find(vault, wanted).await {
        Ok(record) => Ok(Some(record)),
        Err(problem) if problem.kind == ErrorKind::NotFound => {
            match resolve(vault, &wanted.parse()?, Latest::Any).await {
                Err(none) if none.kind == ErrorKind::NotFound => Err(problem),
                _ => Ok(None),
            }
        }
        Err(problem) => Err(problem),
    }
}

/// A record as it is shown: one without an end with what is known of that.
fn restore_json(known: &Known, shared: &Shared) -> Result<String, Problem> {
    match known {
        Known::Ended(record) => json(record),
        Known::Begun(begun) => {
            let (fate, reason) = restored::fate(begun, shared);
            json(&Unended { begun, under_way: fate == v1::RunFate::Here, reason })
        }
    }
}

#[derive(Serialize)]
struct Unended<'a> {
    #[serde(flatten)]
    begun: &'a RestoreBegun,
    under_way: bool,
    reason: String,
}

/// A line as it is shown: where nothing was left out of its repository last, with the backup that this was, if that is known.
async fn line_json(
    vault: &Vault,
    entry: &CatalogueEntry,
    known: &mut HashMap<BackupId, bool>,
) -> Result<String, Problem> {
    let last_good = entry.damage.as_ref().and_then(|damage| damage.last_good.as_ref());
    let Some(id) = last_good.and_then(|last_good| ObjectKey::run_of_manifest(&last_good.manifest)) else {
        return json(entry);
    };
    let is_backup = match known.get(&id) {
        Some(known) => *known,
        // What cannot be asked is not known, and the line is shown all the same.
        None => is_committed(vault, &id).await.unwrap_or(false),
    };
    known.insert(id.clone(), is_backup);
    let mut line = serde_json::to_value(entry).unwrap_or_default();
    if is_backup {
        line["damage"]["last_good"]["backup_id"] = id.to_string().into();
    }
    json(&line)
}

async fn send_lines(
    vault: &Vault,
    reader: CatalogueReader,
    storage: &StorageName,
    failed_only: bool,
    out: &mpsc::Sender<Result<v1::ShowResponse, Status>>,
) -> Result<(), Problem> {
    let (mut lines_json, mut known) = (Vec::new(), HashMap::new());
    let mut reader = reader.peekable();
    while let Some(entry) = reader.next() {
        let entry = entry?;
        if !failed_only || entry.outcome.is_failure() {
            lines_json.push(line_json(vault, &entry, &mut known).await?);
        }
        if lines_json.len() == LINES || reader.peek().is_none() {
            let lines = v1::CatalogueLines {
                storage: storage.to_string(),
                lines_json: std::mem::take(&mut lines_json),
            };
            let part = Some(v1::show_response::Part::Lines(lines));
            if out.send(Ok(v1::ShowResponse { part })).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The storages of an agent that no run can back up now.
fn missing(fleet: &Fleet, agent: &AgentHandle) -> Vec<String> {
    let mut missing = agent.description.missing_storages.clone();
    missing.extend(fleet.conflicts_of(agent).map(|(name, _)| name.to_string()));
    missing.sort();
    missing.dedup();
    missing
}

/// The agents as they answered. One that uses another vault than the coordinator cannot be used.
pub async fn agents(fleet: &Fleet, vault: &Vault, tls: Option<&Tls>) -> v1::AgentsResponse {
    let (vault_id, vault_problem) = match FormatMarker::of(vault).await {
        Ok(marker) => (marker.vault_id, None),
        Err(error) => (String::new(), Some((&Problem::from(error)).into())),
    };
    let agents = fleet.agents.iter().map(|(address, answer)| match answer {
        Ok(handle) if !vault_id.is_empty() && handle.description.vault_id != vault_id => v1::AgentStatus {
            address: address.to_string(),
            version: handle.description.version.clone(),
            git_version: handle.description.git_version.clone(),
            storages: handle.description.storages.clone(),
            problem: Some((&handle.other_vault(vault.label(), &vault_id)).into()),
            remarks: handle.remarks(),
            missing_storages: handle.description.storages.clone(),
        },
        Ok(handle) => v1::AgentStatus {
            address: address.to_string(),
            version: handle.description.version.clone(),
            git_version: handle.description.git_version.clone(),
            storages: handle.description.storages.clone(),
            problem: None,
            remarks: handle
                .remarks()
                .into_iter()
                .chain(fleet.conflicts_of(handle).map(|(_, said)| said))
                .collect(),
            missing_storages: missing(fleet, handle),
        },
        Err(problem) => v1::AgentStatus {
            address: address.to_string(),
            problem: Some(problem.into()),
            ..v1::AgentStatus::default()
        },
    });
    let agents = agents.collect();
    v1::AgentsResponse {
        agents,
        vault: Some(v1::VaultName { url: vault.label().to_owned(), id: vault_id }),
        vault_problem,
        remarks: tls.and_then(Tls::remark).into_iter().collect(),
    }
}
