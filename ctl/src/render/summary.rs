//! Summaries of runs and restores as text.
//!
//! Does not own: their content; the same values are printed as JSON and stored in the report.

use packhorse_model::{
    Component, ItemFailure, RestoreOrder, RestoreSummary, RestoreTarget, RestoredItem, RunState, RunSummary,
    Subject, visible_lines,
};

use super::{bytes, count, counted, duration, failures, numbers::second, width, wrapped};

/// Remarks that are printed.
const SHOWN: usize = 20;

pub(super) fn state(state: RunState) -> &'static str {
    match state {
        RunState::Complete => "complete",
        RunState::Unproven => "unproven",
        RunState::Incomplete => "INCOMPLETE",
    }
}

/// What a run did.
pub fn run(summary: &RunSummary) -> String {
    let took = duration(summary.started_at, summary.finished_at);
    let what = if summary.dry_run { "Dry run of backup" } else { "Backup" };
    let mut lines = vec![format!("{what} {}  {}  in {took}", summary.backup_id, state(summary.state))];
    vault(&mut lines, summary.vault.as_deref());
    lines.push(match summary.dry_run {
        true => format!("  kind          {}", kind(summary)),
        false => format!("  made          {}, {}", second(summary.started_at), kind(summary)),
    });
    if let Some(base) = &summary.base_backup_id {
        lines.push(format!("  built on      {base}"));
    }
    if !summary.storages.is_empty() {
        let c = &summary.repositories;
        let mut parts =
            vec![format!("{} backed up", count(c.backed_up)), format!("{} unchanged", count(c.unchanged))];
        let others =
            [(c.empty, "empty"), (c.missing, "came and went"), (c.gone, "gone"), (c.damaged, "damaged")];
        for (number, word) in others {
            if number > 0 {
                parts.push(format!("{} {word}", count(number)));
            }
        }
        parts.push(format!("{} failed", count(c.failed)));
        let storages = match summary.storages.len() {
            1 => String::new(),
            n => format!(" in {n} storages"),
        };
        lines.push(format!("  repositories  {}{storages}: {}", count(c.total()), parts.join(", ")));
    }
    if summary.unproven > 0 {
        let n = count(summary.unproven);
        lines.push(format!("  unproven      {n}: verify has to prove that everything is in them"));
    }
    for database in &summary.databases {
        let plain = bytes(database.bytes_plain);
        lines.push(format!(
            "  database      {}: {} from {plain}",
            database.name,
            bytes(database.object.size)
        ));
    }
    for directory in &summary.directories {
        let plain = bytes(directory.bytes_plain);
        let mut line =
            format!("  directory     {}: {} from {plain}", directory.name, bytes(directory.object.size));
        if !directory.changed_while_read.is_empty() {
            let changed = directory.changed_while_read.len() as u64;
            line.push_str(&format!(", {} changed while read", counted(changed, "file", "files")));
        }
        if !directory.removed_while_read.is_empty() {
            let removed = directory.removed_while_read.len() as u64;
            line = named(&format!("{line}, removed while read: "), &directory.removed_while_read, removed);
        }
        if directory.fewer_files > directory.removed_while_read.len() as u64 {
            let fewer = counted(directory.fewer_files, "file", "files");
            line.push_str(&format!(", {fewer} fewer than before it was read"));
        }
        lines.push(line);
    }
    if !summary.dry_run {
        lines.push(format!(
            "  stored        {} new, {} in total",
            bytes(summary.bytes_new),
            bytes(summary.bytes_total)
        ));
    }
    odd(&mut lines, summary);
    failures::append(&mut lines, &summary.failures, summary.failures_total);
    lines.join("\n")
}

/// Whether it builds on another backup, and holds everything.
fn kind(summary: &RunSummary) -> &'static str {
    match (summary.base_backup_id.is_some(), summary.partial) {
        (false, false) => "full",
        (false, true) => "full, partial: only what was selected is in it",
        (true, false) => "incremental",
        (true, true) => "incremental, partial: only what was selected is in it",
    }
}

/// What is not in the backup and is no failure, and what is odd.
fn odd(lines: &mut Vec<String>, summary: &RunSummary) {
    for storage in &summary.storages {
        let name = &storage.storage;
        if storage.counts.gone > 0 {
            let first = format!("  gone          {name}: ");
            lines.push(named(&first, &storage.gone, storage.counts.gone));
        }
        if storage.emptied_total > 0 {
            let first = format!("  emptied       {name}: ");
            lines.push(named(&first, &storage.emptied, storage.emptied_total));
        }
        let passed_over = &storage.passed_over;
        let links = (passed_over.links > 0).then(|| counted(passed_over.links, "link", "links"));
        let inner = (passed_over.inner > 0).then(|| {
            counted(passed_over.inner, "repository in a repository", "repositories in repositories")
        });
        let what: Vec<String> = links.into_iter().chain(inner).collect();
        if !what.is_empty() {
            let all = passed_over.links + passed_over.inner;
            let first = format!("  not entered   {name}: {}: ", what.join(", "));
            lines.push(named(&first, &passed_over.names, all));
        }
    }
    for part in summary.gone.iter().filter(|part| part.confirmed) {
        lines.push(format!("  gone          {} (confirmed; last in {})", part.name, part.last_backup));
    }
    for remark in summary.remarks.iter().take(SHOWN) {
        lines.push(format!("  note          {}", remark.problem));
        if let Some(next) = &remark.problem.next {
            lines.push(format!("                next: {next}"));
        }
    }
}

/// Some names behind the beginning of a line, in as many lines as a terminal needs for them.
fn named(first: &str, some: &[String], all: u64) -> String {
    let mut pieces: Vec<String> = some.iter().take(SHOWN).cloned().collect();
    let more = all.saturating_sub(pieces.len() as u64);
    if more > 0 {
        pieces.push(format!("… and {} more", count(more)));
    }
    wrapped(first, &pieces, "                ", width())
}

/// What a restore did.
pub fn restore(summary: &RestoreSummary) -> String {
    let took = duration(summary.started_at, summary.finished_at);
    let mut lines = vec![format!("Restore of {}  {}  in {took}", summary.backup_id, state(summary.state))];
    vault(&mut lines, summary.vault.as_deref());
    lines.extend(summary.order.iter().flat_map(order));
    let mut part = |label: &str, items: &[RestoredItem], unit: bool| {
        for item in items {
            let what = if unit {
                let already = match item.already {
                    0 => String::new(),
                    already => format!("{} there already, ", count(already)),
                };
                format!("{}, {already}", counted(item.items, "repository", "repositories"))
            } else {
                String::new()
            };
            lines.push(format!("  {label:<13} {}: {what}{} read", item.name, bytes(item.bytes)));
        }
    };
    part("storage", &summary.storages, true);
    part("database", &summary.databases, false);
    part("directory", &summary.directories, false);
    remarks(&mut lines, &summary.remarks);
    failures::append(&mut lines, &summary.failures, summary.failures_total);
    lines.join("\n")
}

/// What a restore was asked for, and where each part goes.
pub fn order(order: &RestoreOrder) -> Vec<String> {
    let mut lines = Vec::new();
    if order.force {
        lines.push("  force         what exists is replaced".to_owned());
    }
    let lists = [
        ("repositories", &order.repositories),
        ("without repositories", &order.skip_repositories),
        ("only", &order.only),
        ("without", &order.skip),
    ];
    let told = lists.iter().filter(|(_, names)| !names.is_empty());
    let told: Vec<String> = told.map(|(word, names)| format!("{word} {}", names.join(" "))).collect();
    if !told.is_empty() {
        lines.push(format!("  selected      {}", visible_lines(&told.join(", "))));
    }
    lines.extend(
        order.targets.iter().map(|target| format!("  target        {}", visible_lines(&place(target)))),
    );
    lines
}

fn place(RestoreTarget { component, name, target, path }: &RestoreTarget) -> String {
    let kind = match component {
        Component::Repositories => "storage",
        Component::Databases => "database",
        Component::Directory(_) => "directory",
    };
    let path = path.as_ref().map(|path| format!(" at {path}")).unwrap_or_default();
    format!("{kind} {name} to {target}{path}")
}

pub(super) fn vault(lines: &mut Vec<String>, url: Option<&str>) {
    lines.extend(url.map(|url| format!("  vault         {url}")));
}

/// A note about the backup as a whole is its sentence; any other names its item first, and once.
fn told(remark: &ItemFailure) -> String {
    let ItemFailure { component, storage, item, problem } = remark;
    match (&problem.answer, storage) {
        (Some(answer), None) if problem.subject == Subject::Backup => answer.clone(),
        (_, place) => {
            let place = place.clone().unwrap_or_else(|| component.to_string());
            let named = if *item == place { place } else { format!("{place}  {item}") };
            format!("{named}  {}", failures::reason(remark))
        }
    }
}

pub(super) fn remarks(lines: &mut Vec<String>, remarks: &[ItemFailure]) {
    for remark in remarks.iter().take(SHOWN) {
        let label = if remark.storage.is_none() { "note         " } else { "made good    " };
        let text = visible_lines(&told(remark)).replace('\n', "\n                ");
        lines.push(format!("  {label} {text}"));
    }
    let more = remarks.len().saturating_sub(SHOWN);
    if more > 0 {
        lines.push(format!("  made good     … and {} more: --json", count(more as u64)));
    }
}
