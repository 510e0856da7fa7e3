//! `backupctl find`.

use packhorse_model::{ErrorKind, Exit, Problem, Subject};
use packhorse_proto::v1::{
    FindRequest, FoundItem, FoundItems, PassedOverBackups, VaultName, find_response::Part,
};
use serde_json::{Value, json};

use crate::{
    args::{Common, FindArgs},
    render::{self, Table},
    session::Session,
};

/// Says in which backups something is, the newest first; exits with 10 when it is in none, with 4 when some of them
/// cannot be read.
pub async fn run(common: &Common, args: &FindArgs) -> Result<Exit, Problem> {
    let session = Session::open(common, &[]).await?;
    let exit = find(&session, common, &args.pattern).await;
    session.close(exit).await
}

#[derive(Default)]
struct Answer {
    vault: VaultName,
    found: Vec<FoundItems>,
    unreadable: Vec<Problem>,
    near: Vec<String>,
    passed_over: PassedOverBackups,
}

async fn find(session: &Session, common: &Common, pattern: &str) -> Result<Exit, Problem> {
    let request = FindRequest { pattern: pattern.to_owned() };
    let mut parts = session.answer(session.client().find(request)).await?.into_inner();
    let mut answer = Answer::default();
    loop {
        let next = tokio::select! {
            next = parts.message() => next.map_err(|status| session.problem(&status))?,
            () = session.stopped() => return Err(Problem::cancelled("find in backups")),
        };
        match next.and_then(|response| response.part) {
            Some(Part::Vault(vault)) => answer.vault = vault,
            Some(Part::Found(items)) => answer.found.push(items),
            Some(Part::Unreadable(problem)) => answer.unreadable.push(problem.into()),
            Some(Part::Nearest(name)) => answer.near.push(name),
            Some(Part::PassedOver(backups)) => answer.passed_over = backups,
            None => break,
        }
    }
    show(common, pattern, &answer)
}

fn show(common: &Common, pattern: &str, answer: &Answer) -> Result<Exit, Problem> {
    for problem in &answer.unreadable {
        render::note(&render::problem(problem));
    }
    if answer.found.is_empty() && answer.unreadable.is_empty() {
        return Err(not_found(pattern, answer));
    }
    if common.json {
        render::json(&json!({
            "vault": answer.vault.url, "vault_id": answer.vault.id, "found": items_json(answer),
            "unreadable": answer.unreadable, "passed_over": answer.passed_over.backup_ids,
        }));
    } else if !answer.found.is_empty() {
        render::text(&format!("{}\nvault {}", table(answer, render::width()).trim_end(), answer.vault.url));
        if !answer.passed_over.remark.is_empty() {
            render::note(&answer.passed_over.remark);
        }
    }
    Ok(if answer.unreadable.is_empty() { Exit::Complete } else { Exit::Damaged })
}

fn not_found(pattern: &str, answer: &Answer) -> Problem {
    let problem = Problem::new(ErrorKind::NotFound, Subject::Backup, "find in backups")
        .on(pattern)
        .answered(format!("no backup in {} holds it", answer.vault.url));
    match &answer.near[..] {
        [] => problem.next("`backupctl show latest --storage NAME` lists what the newest backup has"),
        [name] => problem.next(format!("did you mean {name}?")),
        [first @ .., last] => problem.next(format!("did you mean {} or {last}?", first.join(", "))),
    }
}

fn items_json(answer: &Answer) -> Vec<Value> {
    let each = answer.found.iter().flat_map(|found| found.items.iter().map(move |item| (found, item)));
    each.map(|(found, item)| {
        json!({
            "backup_id": found.backup_id, "started_at": found.started_at, "component": item.component,
            "storage": item.storage, "name": item.name, "outcome": item.outcome, "restorable": item.restorable,
        })
    })
    .collect()
}

fn table(answer: &Answer, width: usize) -> String {
    let mut table = Table::new(&["BACKUP", "MADE", "AGE", "OUTCOME", "WHERE", "NAME"]);
    for found in &answer.found {
        for item in &found.items {
            let place = item.storage.clone().unwrap_or_else(|| item.component.clone());
            let (made, age) = (render::minute(&found.started_at), render::age(&found.started_at));
            table.row([found.backup_id.clone(), made, age, outcome(item), place, item.name.clone()]);
        }
    }
    // When it was made is what a backup is looked for by.
    table.fit(width, &[("AGE", 4)]).to_string()
}

/// What became of it in that backup, and whether it comes back all the same.
fn outcome(item: &FoundItem) -> String {
    match (item.outcome.as_str(), item.restorable) {
        ("failed", true) => "failed, older".into(),
        ("failed", false) => "failed, not in it".into(),
        (outcome, _) => outcome.replace('_', " "),
    }
}
