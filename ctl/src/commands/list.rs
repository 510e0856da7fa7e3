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

/// Columns that a terminal may have no room for, the most wanted first, with the width that is kept for each.
const MAY_BE_MISSING: [(&str, usize); 6] =
    [("KIND", 5), ("MADE", 17), ("AGE", 4), ("FAILED", 6), ("DB", 2), ("DIRS", 4)];

fn table(backups: &[Value], width: usize) -> String {
    let mut table =
        Table::new(&["ID", "MADE", "AGE", "STATE", "KIND", "REPOS", "FAILED", "DB", "DIRS", "NEW", "TOTAL"]);
    for backup in backups {
        let text = |key: &str| backup[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| backup[key].as_u64().unwrap_or_default();
        table.row([
            text("backup_id"),
            render::minute(&text("started_at")),
            render::age(&text("started_at")),
            format!("{:<10}", text("state")),
            kind(backup),
            format!("{:<7}", render::count(number("repositories"))),
            render::count(number("failures")),
            number("databases").to_string(),
            number("directories").to_string(),
            format!("{:<5}", render::short_bytes(number("bytes_new"))),
            format!("{:<5}", render::short_bytes(number("bytes_total"))),
        ]);
    }
    let table = table.fit(width, &MAY_BE_MISSING).to_string();
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
        for told in ["MADE", "2026-01-01 00:00Z", "FAILED", "DB", "DIRS"] {
            assert!(table(&backups, 200).contains(told), "{told}");
            assert!(table(&backups, usize::MAX).contains(told), "{told}");
        }
    }

    #[test]
    fn one_incomplete_backup_takes_no_column_away() {
        let headings = |width: usize, id: &str, state: &str, number: u64| {
            let backups = [
                json!({ "backup_id": id, "state": "complete", "started_at": "2026-01-01T00:00:00Z" }),
                json!({
                    "backup_id": id, "state": state, "partial": number > 0, "incremental": number > 0,
                    "repositories": number * 1000, "failures": number, "bytes_new": number << 30,
                    "bytes_total": number << 40, "started_at": "2026-11-01T00:00:00Z",
                }),
            ];
            let text = table(&backups, width);
            text.lines().next().unwrap_or_default().to_owned()
        };
        for width in 80..130 {
            for id in ["nightly-1", "1795177711_2026_11_20_0.0.0"] {
                let words = |line: String| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
                let quiet = words(headings(width, id, "complete", 0));
                assert_eq!(quiet, words(headings(width, id, "incomplete", 99)), "{width} {id}");
            }
        }
        let told = headings(80, "1795177711_2026_11_20_0.0.0", "complete", 0);
        assert_eq!(
            told.split_whitespace().collect::<Vec<_>>().join(" "),
            "ID AGE STATE KIND REPOS DB NEW TOTAL"
        );
        assert!(headings(80, "nightly-1", "complete", 0).contains("MADE"));
    }
}
