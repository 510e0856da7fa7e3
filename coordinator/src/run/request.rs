//! Step 1 of a run, validate: what the operator asked for, parsed and checked against the configuration.
//!
//! Does not own: which agents there are (`plan`). Everything that can be wrong in a request is found here, before
//! anything is written.

use std::collections::BTreeSet;

use packhorse_model::{
    BackupId, Component, ComponentSelection, ErrorKind, Problem, RepoFilter, StorageName, Subject,
};
use packhorse_proto::{
    filter_from_wire,
    v1::{BackupMode, CreateRequest},
};

use super::gone::AcceptGone;
use crate::CoordinatorOptions;

/// A checked request for a run.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The operator's ID, or none for the default.
    pub backup_id: Option<BackupId>,
    /// Full, incremental, or what fits.
    pub mode: BackupMode,
    /// The storages; none named means all.
    pub storages: Vec<StorageName>,
    /// Which repositories.
    pub filter: RepoFilter,
    /// Which components.
    pub components: ComponentSelection,
    /// Look and decide, write nothing.
    pub dry_run: bool,
    /// Leave it to `verify` to prove that full steps hold everything that the refs reach.
    pub prove_later: bool,
    /// What is gone on purpose.
    pub accept_gone: AcceptGone,
    /// The schedule that asks for it; none when somebody does.
    pub schedule: Option<String>,
    /// Nobody waits for it: a vault that is away at its beginning is waited for as in its middle.
    pub patient: bool,
    /// Who asked for it, as the connection proved it, or which schedule.
    pub requested_by: String,
}

/// Parses a selection of components, and refuses names that are none of these parts, databases and directories.
pub fn components(only: &[String], skip: &[String], parts: &[String]) -> Result<ComponentSelection, Problem> {
    let parse =
        |names: &[String]| names.iter().map(|name| name.parse::<Component>()).collect::<Result<_, _>>();
    let selection = ComponentSelection { only: parse(only)?, skip: parse(skip)? };
    if let Some(unknown) = selection.named_parts().find(|name| !parts.iter().any(|part| part == name)) {
        let known = [&["repositories".to_owned(), "db".to_owned()], parts].concat().join(", ");
        return Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "select component")
            .on(unknown)
            .answered(format!("is unknown; known: {known}"))
            .next("name one of these; a storage is selected with --storage")
            .or_nearest(unknown, known.split(", ")));
    }
    if let Some(both) = selection.only.intersection(&selection.skip).next() {
        return Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "select component")
            .on(both)
            .answered("is both selected and left out")
            .next("select it with --only, or leave it out with --skip"));
    }
    Ok(selection)
}

/// Refuses storages or repositories that are named beside components without repositories: nothing would come of them.
pub fn check_named(selection: &ComponentSelection, names_repositories: bool) -> Result<(), Problem> {
    if !names_repositories || selection.selects(&Component::Repositories) {
        return Ok(());
    }
    Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "select component")
        .on(Component::Repositories)
        .answered("storages or repositories are named, but the selected components leave repositories out")
        .next("add --only repositories, or name no storages and repositories"))
}

/// Storage names, each once.
pub fn distinct(names: &[String]) -> Result<Vec<StorageName>, Problem> {
    let names = names.iter().map(|name| name.parse()).collect::<Result<BTreeSet<StorageName>, _>>()?;
    Ok(names.into_iter().collect())
}

impl RunRequest {
    /// Whether repositories or components are left out on purpose.
    pub fn is_partial(&self) -> bool {
        let components = &self.components;
        !self.filter.is_all() || !components.only.is_empty() || !components.skip.is_empty()
    }

    /// Whether the operator named what it is about, so that nothing else is looked for.
    pub fn is_limited(&self) -> bool {
        self.is_partial() || !self.storages.is_empty()
    }

    /// Checks a request from the wire.
    pub fn from_wire(wire: CreateRequest, options: &CoordinatorOptions) -> Result<Self, Problem> {
        let mode = wire.mode();
        let directories = options.directories.iter().map(|directory| directory.name().to_owned());
        let databases = options.databases.iter().map(|database| database.name().to_owned());
        let parts: Vec<String> = directories.chain(databases).collect();
        let storages = distinct(&wire.storages)?;
        let filter = filter_from_wire(wire.filter.as_slice())?;
        let mut components = components(&wire.only, &wire.skip, &parts)?;
        check_named(&components, !(storages.is_empty() && filter.is_all()))?;
        // A storage or repository that is named means just that, as in a restore.
        let has_others = !options.databases.is_empty() || !options.directories.is_empty();
        if has_others && components.only.is_empty() && !(storages.is_empty() && filter.is_all()) {
            components.only.insert(Component::Repositories);
        }
        let names = wire.accept_gone.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
        Ok(Self {
            backup_id: wire.backup_id.map(|id| id.parse()).transpose()?,
            mode,
            storages,
            filter,
            components,
            accept_gone: AcceptGone { all: wire.accept_all_gone, names },
            schedule: None,
            dry_run: wire.dry_run,
            prove_later: wire.prove_later,
            patient: false,
            requested_by: String::new(),
        })
    }

    /// Says who asked for it.
    #[must_use]
    pub fn by(self, requested_by: String) -> Self {
        Self { requested_by, ..self }
    }

    /// What is asked for, in short, for the log.
    pub fn asked(&self) -> String {
        let mode = match self.mode {
            BackupMode::Full => "full",
            BackupMode::Incremental => "incremental",
            BackupMode::Auto | BackupMode::Unspecified => "auto",
        };
        let mut asked = vec![format!("mode {mode}")];
        let mut list = |word: &str, names: Vec<String>| {
            if !names.is_empty() {
                asked.push(format!("{word} {}", names.join(" ")));
            }
        };
        list("storages", self.storages.iter().map(ToString::to_string).collect());
        list("repositories", self.filter.included().iter().map(ToString::to_string).collect());
        list("without repositories", self.filter.excluded().iter().map(ToString::to_string).collect());
        list("only", self.components.only.iter().map(ToString::to_string).collect());
        list("without", self.components.skip.iter().map(ToString::to_string).collect());
        if self.dry_run {
            asked.push("dry run".into());
        }
        asked.join(", ")
    }
}
