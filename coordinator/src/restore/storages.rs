//! Which storages of a backup a restore is about, and where each goes.
//!
//! Does not own: databases and directories (`plan`), or whether anybody serves the targets (`preflight`). `--skip` names a
//! part of the backup: a component, a database, a directory, or a storage. Where a storage has the name of another part, that
//! other part is meant, and a note says so: a name never leaves out more than one thing without a word.

use std::collections::BTreeSet;

use packhorse_model::{
    ComponentSelection, ErrorKind, ItemFailure, Problem, RunSummary, StorageName, Subject,
};

use super::{
    lacks::of_backup,
    plan::{RestorePlan, StorageRestore, not_held},
    request::RestoreRequest,
};
use crate::run::components;

/// What `--only` and `--skip` leave of a backup.
pub struct Chosen {
    /// Of its components.
    pub components: ComponentSelection,
    /// The storages that are left out.
    pub without: BTreeSet<String>,
    /// Names that a storage has, and another part, too.
    shared: BTreeSet<String>,
}

impl Chosen {
    /// What has to be said of names that two parts have.
    pub fn remarks(&self, skip: &[String], summary: &RunSummary) -> Vec<ItemFailure> {
        let said = |name: &String| {
            format!(
                "--skip {name} leaves out the component of that name, and not storage {name}; to leave that out, name the \
                 others with --storage"
            )
        };
        let shared = skip.iter().filter(|name| self.shared.contains(*name));
        shared.map(|name| of_backup(summary, said(name))).collect()
    }
}

impl RestoreRequest {
    /// Tells storages from other parts in what is left out; `parts` are the backup's databases and directories.
    pub fn choose(&self, summary: &RunSummary, parts: &[String]) -> Result<Chosen, Problem> {
        let storages = storages_of(summary);
        let is_part =
            |name: &str| matches!(name, "repositories" | "db") || parts.iter().any(|part| part == name);
        let (named, skip): (Vec<&String>, Vec<&String>) =
            self.skip.iter().partition(|name| storages.contains(name.as_str()) && !is_part(name));
        let skip: Vec<String> = skip.into_iter().cloned().collect();
        let components = components(&self.only, &skip, parts).map_err(|e| or_storage(e, &storages))?;
        let without: BTreeSet<String> = named.into_iter().cloned().collect();
        if let Some(both) = self.named().find(|name| without.contains(name.as_str())) {
            return Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "select storage")
                .on(both)
                .answered("is both selected and left out")
                .next("select it, or leave it out with --skip"));
        }
        let shared = storages.iter().filter(|name| is_part(name)).map(|name| (*name).to_owned()).collect();
        Ok(Chosen { components, without, shared })
    }

    /// The storages of the backup that are named.
    fn named(&self) -> impl Iterator<Item = &StorageName> {
        self.storages.iter().chain(self.to_storage.keys())
    }

    /// Whether a storage of the backup is wanted: one that is named, or any that is not left out when none is.
    pub fn wants(&self, storage: &str, chosen: &Chosen) -> bool {
        let mut named = self.named().peekable();
        match named.peek() {
            None => !chosen.without.contains(storage),
            Some(_) => named.any(|name| name.as_str() == storage),
        }
    }

    /// Plans the storages that are wanted.
    pub fn plan_storages(
        &self,
        summary: &RunSummary,
        chosen: &Chosen,
        plan: &mut RestorePlan,
    ) -> Result<(), Problem> {
        let known = storages_of(summary);
        if let Some(unknown) = self.named().find(|name| !known.contains(name.as_str())) {
            return Err(self.not_in_backup(unknown, summary));
        }
        for storage in &summary.storages {
            let selected = self.wants(storage.storage.as_str(), chosen);
            let Some(catalogue) = storage.catalogue.clone().filter(|_| selected) else { continue };
            let source = storage.storage.clone();
            let target = self.to_storage.get(&source).unwrap_or(&source).clone();
            if plan.storages.iter().any(|other| other.target == target) {
                return Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "plan restore")
                    .on(&target)
                    .answered("two storages of the backup would be restored into it")
                    .next("restore one of them at a time, or name another with --to-storage"));
            }
            let gone_unconfirmed = storage.gone_unconfirmed > 0;
            let without = self.how_to_leave_out(&source, chosen);
            plan.storages.push(StorageRestore { source, target, catalogue, gone_unconfirmed, without });
        }
        Ok(())
    }

    /// A name may be that of a place to restore into: then it is said how that is asked for.
    fn not_in_backup(&self, name: &StorageName, summary: &RunSummary) -> Problem {
        let known: Vec<&str> = summary.storages.iter().map(|s| s.storage.as_str()).collect();
        let next = match (&known[..], self.storages.contains(name)) {
            (_, false) => "name one of these before the =".to_owned(),
            ([one], true) => {
                format!("name {one}; to restore it into storage {name}, add --to-storage {one}={name}")
            }
            (_, true) => {
                format!(
                    "name one of these; to restore one of them into storage {name}, add --to-storage NAME={name}"
                )
            }
        };
        let answer = format!("backup {} does not hold it; it holds: {}", summary.backup_id, known.join(", "));
        Problem::new(ErrorKind::NotFound, Subject::Backup, "find storage")
            .on(name)
            .answered(answer)
            .next(next)
            .or_nearest(name.as_str(), known)
    }

    /// How the restore goes on without a storage; not said of one that was asked for by name.
    fn how_to_leave_out(&self, source: &StorageName, chosen: &Chosen) -> Option<String> {
        if self.named().any(|name| name == source) {
            return None;
        }
        Some(match chosen.shared.contains(source.as_str()) {
            true => "name the other storages with --storage".to_owned(),
            false => format!("leave it out with --skip {source}"),
        })
    }
}

/// The storages that the backup holds, or that its run failed on.
fn storages_of(summary: &RunSummary) -> BTreeSet<&str> {
    let held = summary.storages.iter().map(|storage| storage.storage.as_str());
    held.chain(not_held(summary).filter_map(|failure| failure.storage.as_deref())).collect()
}

/// The same error, for somebody who may have meant a storage.
fn or_storage(problem: Problem, storages: &BTreeSet<&str>) -> Problem {
    let is_unknown = problem.answer.as_deref().is_some_and(|answer| answer.starts_with("is unknown"));
    let Some(named) = problem.object.clone().filter(|_| is_unknown) else { return problem };
    if storages.contains(named.as_str()) {
        return problem.next(format!("a storage is selected with --storage {named}"));
    }
    let all: Vec<&str> = storages.iter().copied().collect();
    let next = match &problem.next {
        Some(next) if !all.is_empty() => format!("{next}; --skip takes a storage, too: {}", all.join(", ")),
        Some(next) => next.clone(),
        None => return problem,
    };
    match next.starts_with("did you mean") {
        true => problem.next(next),
        false => problem.next(next).or_nearest(&named, all),
    }
}
