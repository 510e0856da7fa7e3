//! What a damaged repository's step leaves out, and how that is told.
//!
//! In order: what cannot be read of the refs is left out when they are read (`refs`); where packing fails, `examine` finds
//! the refs whose history is whole, and `salvage` packs these. `state_of_files` notices that objects may have been healed.
//!
//! Does not own: packing (`bundle`). A repository of which something is left out is never unchanged, empty or backed up: its
//! outcome is `damaged` in every run, until nothing is left out any more.

mod examine;
mod files;
mod salvage;

use std::path::Path;

use packhorse_model::{ErrorKind, Problem, RepoPath, Subject, shell_quoted};
use packhorse_vault::{self as vault, Damage, LastGood, ObjectKey, Oid};

pub use self::{
    files::state_of_files,
    salvage::{Salvaged, salvage},
};
use super::{
    discover::{Candidate, examine_failed, examine_it},
    repository::PACK,
    snapshot::Snapshot,
};

/// Names in a problem; the catalogue has more.
const NAMED: usize = 10;

/// Something of a repository that is not in its step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// A ref, a folder of refs with a slash at its end, `HEAD`, `packed-refs` or `custom_hooks`.
    pub name: Vec<u8>,
    /// What is wrong with it.
    pub finding: String,
    /// The object that is missing or damaged, if it is one.
    pub object: Option<Oid>,
}

impl LeftOut {
    /// Something that cannot be read.
    pub fn new(name: &[u8], finding: impl Into<String>) -> Self {
        Self { name: name.to_vec(), finding: finding.into(), object: None }
    }
}

/// What a snapshot leaves out, as manifest and catalogue say it; none when that is nothing.
pub fn damage_of(snapshot: &Snapshot, last_good: Option<LastGood>) -> Option<Damage> {
    let listed =
        |left_out: &LeftOut| vault::LeftOut::new(&left_out.name, left_out.finding.clone(), left_out.object);
    (!snapshot.left_out.is_empty()).then(|| Damage {
        seen: snapshot.seen.clone(),
        object_files: snapshot.object_files.clone(),
        total: snapshot.left_out.len() as u64,
        left_out: snapshot.left_out.iter().take(Damage::MOST_LISTED).map(listed).collect(),
        last_good,
    })
}

/// What has to be told of a repository of which this is left out. A manifest names its run; that this run committed a backup
/// is not known here, but this backup leads to it in any case.
pub fn problem(path: &RepoPath, dir: &Path, damage: &Damage) -> Problem {
    let (last_good, next) = match &damage.last_good {
        Some(LastGood { manifest, .. }) => {
            let run = ObjectKey::run_of_manifest(manifest).map_or_else(|| manifest.clone(), String::from);
            let next = examine_it(path.as_str(), dir, "the last state without damage");
            (format!("the last run in which nothing was left out is {run}"), next)
        }
        None => (
            "there is no earlier backup without damage".to_owned(),
            format!(
                "`git --git-dir={} fsck --full` shows what is damaged, and repairs nothing; fetch what is missing from a clone",
                shell_quoted(&dir.display().to_string())
            ),
        ),
    };
    Problem::new(ErrorKind::Corrupt, Subject::Repository, "back up damaged repository")
        .on(path)
        .answered(format!("{} left out: {}", damage.total, names(damage)))
        .leaving(format!("everything else of it is in this backup; {last_good}"))
        .next(next)
}

/// The problem of a repository of which nothing is whole.
pub fn nothing_whole(candidate: &Candidate, snapshot: &Snapshot, answer: &str) -> Problem {
    let listed = damage_of(snapshot, None).map_or_else(String::new, |damage| names(&damage));
    let said = if answer.is_empty() { String::new() } else { format!("{answer}; ") };
    Problem::new(ErrorKind::Corrupt, Subject::Repository, PACK)
        .on(&candidate.path)
        .answered(format!("{said}no ref of it is whole: {listed}"))
        .leaving("the last good backup of this repository stays in the vault")
        .next(examine_failed(candidate.path.as_str(), &candidate.dir))
}

fn names(damage: &Damage) -> String {
    let named = damage.left_out.iter().take(NAMED);
    let mut said: Vec<String> =
        named.map(|left_out| format!("{}: {}", left_out.name, left_out.finding)).collect();
    let more = damage.total.saturating_sub(said.len() as u64);
    if more > 0 {
        said.push(format!("and {more} more"));
    }
    said.join("; ")
}
