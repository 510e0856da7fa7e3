//! Where repositories, databases and directories of a name are, in all committed backups.
//!
//! Does not own: patterns (`model::RepoPattern`). Backups are gone through one after another, the newest first, and their
//! catalogues streamed, checked against their digests; what cannot be read is told, and the search goes on.

use packhorse_model::{
    Component, Outcome, Problem, RepoPath, RepoPattern, RunSummary, StorageSummary, nearest,
};
use packhorse_proto::{
    status_of_problem,
    v1::{self, find_response::Part},
};
use packhorse_vault::{
    CatalogueReader, CommittedBackup, FormatMarker, Latest, Vault, VaultError, committed, load_summary,
    nth_counted,
};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::inspect::told_passed_over;

/// Items in one message.
const ITEMS: usize = 500;

type Answer = Result<v1::FindResponse, Status>;

/// Starts a search.
pub async fn find(
    vault: &Vault,
    request: v1::FindRequest,
    tracker: &TaskTracker,
) -> Result<mpsc::Receiver<Answer>, Problem> {
    let pattern = Pattern::parse(&request.pattern)?;
    FormatMarker::of(vault).await?;
    let (backups, unreadable) = committed(vault).await?;
    let (out, receiver) = mpsc::channel(8);
    let near = Near::new(&pattern.text);
    let search = Search { vault: vault.clone(), pattern, out, found: false, near };
    tracker.spawn(async move {
        // A caller that went away is no error.
        let _ = search.run(backups, unreadable).await;
    });
    Ok(receiver)
}

/// A pattern, and the same below any folder when it names none: who looks for something may not know where it lies. What
/// is backed up or restored is named by its whole path, as it is found here.
struct Pattern {
    text: String,
    patterns: Vec<RepoPattern>,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, Problem> {
        let mut patterns = vec![text.parse::<RepoPattern>()?];
        if !text.trim_end_matches('/').contains('/') {
            patterns.push(format!("**/{text}").parse()?);
        }
        Ok(Self { text: text.to_owned(), patterns })
    }

    fn matches(&self, path: &RepoPath) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(path))
    }
}

struct Search {
    vault: Vault,
    pattern: Pattern,
    out: mpsc::Sender<Answer>,
    found: bool,
    /// Names of the newest backup.
    near: Near,
}

/// Names that may have been meant: the one that is nearest, or some of those that have what was asked for in them.
struct Near {
    wanted: String,
    nearest: Option<String>,
    having: Vec<String>,
}

impl Near {
    /// Names that are told.
    const NAMED: usize = 3;
    /// Letters that say something about a name.
    const LETTERS: usize = 2;

    fn new(wanted: &str) -> Self {
        Self { wanted: wanted.to_owned(), nearest: None, having: Vec::new() }
    }

    fn look_at(&mut self, name: &str) {
        let known = self.nearest.take();
        let names = known.as_deref().into_iter().chain([name]);
        self.nearest = nearest(&self.wanted, names).map(str::to_owned);
        let wanted = self.wanted.to_lowercase();
        let is_telling = wanted.chars().count() >= Self::LETTERS;
        if is_telling && self.having.len() < Self::NAMED && name.to_lowercase().contains(&wanted) {
            self.having.push(name.to_owned());
        }
    }

    /// The names to tell, the nearest first.
    fn names(self) -> Vec<String> {
        let nearest = self.nearest;
        let others = self.having.into_iter().filter(|name| Some(name) != nearest.as_ref());
        let mut names: Vec<String> = nearest.iter().cloned().chain(others).collect();
        names.truncate(Self::NAMED);
        names
    }
}

/// The caller went away.
struct Gone;

impl Search {
    async fn run(mut self, backups: Vec<CommittedBackup>, unreadable: Vec<Problem>) -> Result<(), Gone> {
        let vault = v1::VaultName { url: self.vault.label().to_owned(), id: self.vault.id() };
        self.tell(Part::Vault(vault)).await?;
        let latest = nth_counted(backups.clone(), 0, Latest::Whole);
        if let Some(passed_over) = latest.as_ref().and_then(told_passed_over) {
            self.tell(Part::PassedOver(passed_over)).await?;
        }
        for problem in unreadable {
            self.tell(Part::Unreadable((&problem).into())).await?;
        }
        for (number, backup) in backups.iter().enumerate() {
            match load_summary(&self.vault, backup).await {
                Ok(summary) => self.one(&summary, number == 0).await?,
                Err(error) => self.unreadable(error).await?,
            }
        }
        let near = std::mem::replace(&mut self.near, Near::new(""));
        for name in near.names().into_iter().filter(|_| !self.found) {
            self.tell(Part::Nearest(name)).await?;
        }
        Ok(())
    }

    async fn one(&mut self, summary: &RunSummary, newest: bool) -> Result<(), Gone> {
        let mut items = Vec::new();
        let databases = summary.databases.iter().map(|database| (Component::Databases, &database.name));
        let directories = summary.directories.iter();
        let directories = directories.map(|d| (Component::Directory(d.name.clone()), &d.name));
        for (component, name) in databases.chain(directories) {
            if name.parse::<RepoPath>().is_ok_and(|name| self.pattern.matches(&name)) {
                items.push(v1::FoundItem {
                    component: component.to_string(),
                    storage: None,
                    name: name.clone(),
                    outcome: "backed_up".into(),
                    restorable: true,
                });
            } else if newest {
                self.near.look_at(name);
            }
        }
        self.send(summary, items).await?;
        for storage in &summary.storages {
            let Some(catalogue) = &storage.catalogue else { continue };
            match CatalogueReader::open(&self.vault, catalogue, &storage.storage).await {
                Ok(reader) => self.catalogue(reader, summary, storage, newest).await?,
                Err(error) => self.unreadable(error).await?,
            }
        }
        Ok(())
    }

    async fn catalogue(
        &mut self,
        reader: CatalogueReader,
        summary: &RunSummary,
        storage: &StorageSummary,
        newest: bool,
    ) -> Result<(), Gone> {
        let mut items = Vec::new();
        for entry in reader {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.unreadable(error).await?;
                    break;
                }
            };
            if self.pattern.matches(&entry.path) {
                items.push(v1::FoundItem {
                    component: Component::Repositories.to_string(),
                    storage: Some(storage.storage.to_string()),
                    name: entry.path.to_string(),
                    outcome: word(entry.outcome),
                    restorable: entry.manifest.is_some()
                        && (entry.outcome.is_there() || storage.gone_unconfirmed > 0),
                });
            } else if newest && !self.found {
                self.near.look_at(entry.path.as_str());
            }
            if items.len() == ITEMS {
                self.send(summary, std::mem::take(&mut items)).await?;
            }
        }
        self.send(summary, items).await
    }

    async fn send(&mut self, summary: &RunSummary, items: Vec<v1::FoundItem>) -> Result<(), Gone> {
        if items.is_empty() {
            return Ok(());
        }
        self.found = true;
        let backup_id = summary.backup_id.to_string();
        let started_at = summary.started_at.to_string();
        self.tell(Part::Found(v1::FoundItems { backup_id, started_at, items })).await
    }

    async fn unreadable(&self, error: VaultError) -> Result<(), Gone> {
        let problem = Problem::from(error);
        if matches!(problem.kind, packhorse_model::ErrorKind::Corrupt | packhorse_model::ErrorKind::NotFound)
        {
            return self.tell(Part::Unreadable((&problem).into())).await;
        }
        // The vault is lost: what would be told from here on says nothing.
        let _ = self.out.send(Err(status_of_problem(&problem))).await;
        Err(Gone)
    }

    async fn tell(&self, part: Part) -> Result<(), Gone> {
        let part = v1::FindResponse { part: Some(part) };
        self.out.send(Ok(part)).await.map_err(|_| Gone)
    }
}

fn word(outcome: Outcome) -> String {
    serde_json::to_value(outcome).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_folder_is_found_in_every_folder() {
        let matches = |pattern: &str, path: &str| {
            Pattern::parse(pattern).expect(pattern).matches(&path.parse().expect("valid path"))
        };
        assert!(matches("app.git", "app.git") && matches("app.git", "team/deep/app.git"));
        assert!(matches("app*", "team/app.git") && !matches("app.git", "team/my-app.git"));
        assert!(matches("team", "team/app.git"), "a folder stands for what is below it");
        assert!(matches("team/*", "team/app.git") && !matches("team/*", "other/team/app.git"));
        assert!(Pattern::parse("../x").is_err());
    }

    #[test]
    fn what_may_have_been_meant_is_near_or_has_it_in_its_name() {
        let names = |wanted: &str| {
            let mut near = Near::new(wanted);
            for name in [
                "lib/core.git",
                "team/my-app.git",
                "team/app-2.git",
                "uploads",
                "a/apple.git",
                "b/apples.git",
            ] {
                near.look_at(name);
            }
            near.names()
        };
        assert!(names("nope.git").is_empty(), "{:?}", names("nope.git"));
        assert_eq!(names("app"), ["team/my-app.git", "team/app-2.git", "a/apple.git"]);
        assert_eq!(names("APP-2"), ["team/app-2.git"]);
        assert_eq!(names("uplaods"), ["uploads"]);
        assert!(names("e").is_empty() && names("*.xyz").is_empty());
    }
}
