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
        let table = table(&backups, render::width());
        render::text(&format!("{}\nvault {}", table.trim_end(), answer.vault_url));
    }
    for problem in &unreadable {
        render::note(&render::problem(problem));
    }
    if unreadable.is_empty() { Exit::Complete } else { Exit::Damaged }
}

fn kind(backup: &Value) -> String {
    let kind = if backup["incremental"].as_bool() == Some(true) { "incr" } else { "full" };
    let partial = if backup["partial"].as_bool() == Some(true) { "*" } else { "" };
    format!("{kind}{partial}")
}

fn table(backups: &[Value], width: usize) -> String {
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
            render::count(number("repositories")),
            render::count(number("failures")),
            number("databases").to_string(),
            number("directories").to_string(),
            render::short_bytes(number("bytes_new")),
            render::short_bytes(number("bytes_total")),
        ]);
    }
    let table = table.fit(width, &["DIRS", "DB", "FAILED", "KIND"]).to_string();
    if table.contains("incr*") || table.contains("full*") {
        return format!("{table}\n* partial: only what was selected is in it");
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_of_real_ids_fits_eighty_columns() {
        let backup = |id: &str, partial: bool| {
            json!({
                "backup_id": id, "started_at": "2026-01-01T00:00:00Z", "state": "incomplete",
                "incremental": true, "partial": partial, "repositories": 118_204, "failures": 1_000,
                "databases": 3, "directories": 11, "bytes_new": 3_328_599_654_u64,
                "bytes_total": 2_111_062_325_329_u64,
            })
        };
        let backups =
            [backup("1795177711_2026_11_20_17.10.2-ee", true), backup("1795177711_2026_11_20_0.0.0", false)];
        let text = table(&backups, 80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for word in ["1795177711_2026_11_20_17.10.2-ee", "incomplete", "incr*", "118,204", "3.1G", "1.9T"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(text.ends_with("* partial: only what was selected is in it"), "{text}");
        assert!(table(&backups, 200).contains("DIRS"));
    }
}
