//! `backupctl list`.

use packhorse_model::{Exit, Problem};
use packhorse_proto::v1::{ListRequest, ListResponse};
use serde_json::Value;

use crate::{
    args::{Common, ListArgs},
    render::{self, Table},
    session::Session,
};

/// Lists the committed backups.
pub async fn run(common: &Common, _args: &ListArgs) -> Result<Exit, Problem> {
    let session = Session::open(common, &[]).await?;
    let listed = session.answer(session.client().list(ListRequest {})).await;
    let exit = listed.map(|answer| show(common, answer.get_ref()));
    session.close(exit).await
}

fn show(common: &Common, answer: &ListResponse) -> Exit {
    let backups: Vec<Value> =
        answer.backups_json.iter().filter_map(|json| serde_json::from_str(json).ok()).collect();
    let unreadable: Vec<Problem> = answer.unreadable.iter().cloned().map(Into::into).collect();
    if common.json {
        render::json(&serde_json::json!({
            "vault": answer.vault_url, "vault_id": answer.vault_id, "backups": backups, "unreadable": unreadable,
        }));
    } else if backups.is_empty() {
        render::text(&format!("no backups in {}", answer.vault_url));
    } else {
        render::text(&format!("{}\n\nvault {}", table(&backups), answer.vault_url));
    }
    for problem in &unreadable {
        render::note(&render::problem(problem));
    }
    if unreadable.is_empty() { Exit::Complete } else { Exit::Damaged }
}

fn kind(backup: &Value) -> String {
    let kind = if backup["incremental"].as_bool() == Some(true) { "incremental" } else { "full" };
    let partial = if backup["partial"].as_bool() == Some(true) { ", partial" } else { "" };
    format!("{kind}{partial}")
}

fn table(backups: &[Value]) -> String {
    let mut table =
        Table::new(&["ID", "AGE", "STATE", "KIND", "REPOS", "FAILED", "DB", "DIRS", "NEW", "TOTAL"]);
    for backup in backups {
        let text = |key: &str| backup[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| backup[key].as_u64().unwrap_or_default();
        table.row([
            text("backup_id"),
            render::age(&text("started_at")),
            text("state"),
            kind(backup),
            number("repositories").to_string(),
            number("failures").to_string(),
            number("databases").to_string(),
            number("directories").to_string(),
            render::bytes(number("bytes_new")),
            render::bytes(number("bytes_total")),
        ]);
    }
    table.to_string()
}
