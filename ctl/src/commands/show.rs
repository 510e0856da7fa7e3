//! `backupctl show`.

use packhorse_model::{Exit, Problem, RestoreOrder, RestoreSummary, RunSummary};
use packhorse_proto::v1::{CatalogueLines, PassedOverBackups, ShowRequest, VaultName, show_response::Part};
use serde_json::{Value, json};

use crate::{
    args::{Common, ShowArgs},
    render::{self, Table},
    session::Session,
};

/// Shows one backup, and the repositories of the storages that are named.
pub async fn run(common: &Common, args: &ShowArgs) -> Result<Exit, Problem> {
    let session = Session::open(common, &[]).await?;
    let exit = show(&session, common, args).await;
    session.close(exit).await
}

async fn show(session: &Session, common: &Common, args: &ShowArgs) -> Result<Exit, Problem> {
    let request = ShowRequest {
        backup: args.backup.to_string(),
        repositories_of: args.storage.iter().map(ToString::to_string).collect(),
        failed_only: args.failed,
        partial: args.partial,
    };
    let mut parts = session.answer(session.client().show(request)).await?.into_inner();
    let (mut information, mut summary, mut storages) = (Value::Null, Value::Null, Vec::new());
    let mut vault = VaultName::default();
    let (mut requested_by, mut passed_over) = (None, PassedOverBackups::default());
    while let Some(response) = parts.message().await.map_err(|status| session.problem(&status))? {
        match response.part {
            Some(Part::InformationJson(json)) => {
                information = serde_json::from_str(&json).unwrap_or_default()
            }
            Some(Part::SummaryJson(json)) => summary = serde_json::from_str(&json).unwrap_or_default(),
            Some(Part::Vault(name)) => vault = name,
            Some(Part::Lines(lines)) => storages.push(entries(lines)),
            Some(Part::RequestedBy(who)) => requested_by = Some(who),
            Some(Part::PassedOver(backups)) => passed_over = backups,
            Some(Part::RestoreJson(json)) => return Ok(show_restore(common, &json)),
            None => {}
        }
    }
    if common.json {
        let repositories: Vec<Value> = storages
            .into_iter()
            .map(|(storage, lines)| json!({ "storage": storage, "repositories": lines }))
            .collect();
        render::json(&json!({
            "vault": vault.url, "vault_id": vault.id,
            "information": information, "requested_by": requested_by, "report": summary,
            "storages": repositories, "passed_over": passed_over.backup_ids,
        }));
        return Ok(Exit::Complete);
    }
    if let Ok(mut summary) = serde_json::from_value::<RunSummary>(summary) {
        summary.vault = Some(vault.url);
        render::text(&render::summary::run(&summary));
    }
    if !passed_over.remark.is_empty() {
        render::text(&format!("  note          {}", passed_over.remark));
    }
    if let Some(who) = requested_by {
        render::text(&format!("  asked for by  {who}"));
    }
    for (storage, lines) in storages {
        render::text(&format!("\n{storage}\n{}", table(&lines)));
    }
    Ok(Exit::Complete)
}

/// The record of a restore.
fn show_restore(common: &Common, json: &str) -> Exit {
    let record: Value = serde_json::from_str(json).unwrap_or_default();
    if common.json {
        render::json(&json!({ "restore": record }));
        return Exit::Complete;
    }
    let text = |key: &str| record[key].as_str().unwrap_or("?").to_owned();
    let mut lines = vec![text("restore")];
    if let Ok(summary) = serde_json::from_value::<RestoreSummary>(record["summary"].clone()) {
        lines.push(render::summary::restore(&summary));
    } else if let Ok(problem) = serde_json::from_value::<Problem>(record["problem"].clone()) {
        lines.push(format!("Restore of {}  ended without success", text("backup_id")));
        lines.push(render::problem(&problem));
    }
    let has_ended = record["ended_at"].is_string();
    if !has_ended {
        let state = if record["under_way"] == true { "is under way" } else { "no end is recorded" };
        lines.push(format!("Restore of {}  {state}", text("backup_id")));
        lines.push(format!("  why           {}", text("reason")));
    }
    let order = serde_json::from_value::<RestoreOrder>(record.clone());
    lines.extend(order.iter().flat_map(render::summary::order));
    lines.push(format!("  asked for by  {}", text("requested_by")));
    lines.push(match has_ended {
        true => format!("  when          {} to {}", text("started_at"), text("ended_at")),
        false => format!("  began         {}", text("started_at")),
    });
    render::text(&lines.join("\n"));
    Exit::Complete
}

fn entries(lines: CatalogueLines) -> (String, Vec<Value>) {
    let entries = lines.lines_json.iter().filter_map(|json| serde_json::from_str(json).ok()).collect();
    (lines.storage, entries)
}

fn table(lines: &[Value]) -> String {
    let mut table = Table::new(&["OUTCOME", "STEPS", "REFS", "NEW", "TOTAL", "REPOSITORY"]);
    for line in lines {
        let number = |key: &str| line[key].as_u64().unwrap_or_default();
        let mut name = line["path"].as_str().unwrap_or_default().to_owned();
        if line["unproven"] == true {
            name.push_str("  (unproven)");
        }
        if let Some(what) = line["error"]["what"].as_str() {
            let answer = line["error"]["answer"].as_str().unwrap_or_default();
            name = format!("{name}  ({what}: {answer})");
        }
        if let Some(last_good) = line["damage"]["last_good"].as_object() {
            let backup = last_good.get("backup_id").and_then(Value::as_str);
            let told = backup.map_or_else(
                || "of a run that is no backup; restore --as-of-last-good brings it back".to_owned(),
                |backup| format!("backup {backup}"),
            );
            name.push_str(&format!("  (last good: {told})"));
        }
        table.row([
            line["outcome"].as_str().unwrap_or_default().to_owned(),
            number("steps").to_string(),
            number("refs").to_string(),
            render::bytes(number("bytes_new")),
            render::bytes(number("bytes_total")),
            name,
        ]);
    }
    table.to_string()
}
