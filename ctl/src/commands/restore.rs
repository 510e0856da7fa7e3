//! `backupctl restore`.

use std::collections::HashMap;

use packhorse_model::{ErrorKind, Exit, PlannedRestore, Problem, RestoreSummary, StorageName, Subject};
use packhorse_proto::v1::{RepositoryFilter, RestoreRequest};

use super::follow::{Role, follow};
use crate::{
    args::{Common, RestoreArgs},
    render::{self, progress::ProgressDisplay},
    session::Session,
};

/// Restores a backup, or parts of it.
pub async fn run(common: &Common, args: &RestoreArgs) -> Result<Exit, Problem> {
    let to_directory = to_directory(common, args)?;
    let to_database = to_database(&args.to_database)?;
    let session = Session::open(common, &args.storage).await?;
    let request = RestoreRequest { to_directory, to_database, ..request(args) };
    let exit = restore(&session, common, request).await;
    session.close(exit).await
}

async fn restore(session: &Session, common: &Common, request: RestoreRequest) -> Result<Exit, Problem> {
    let dry_run = request.dry_run;
    let started = session.started(session.client().restore(request)).await?;
    let word = if dry_run { "dry run of restore of" } else { "restore" };
    let display = ProgressDisplay::new(common, word).of_dry_run(dry_run);
    if dry_run {
        let planned: PlannedRestore = follow(session, started, display, Role::Owner).await?;
        return Ok(show_plan(common, &planned));
    }
    let summary: RestoreSummary = follow(session, started, display, Role::Owner).await?;
    Ok(show(common, &summary))
}

/// Prints what a restore did.
pub fn show(common: &Common, summary: &RestoreSummary) -> Exit {
    if common.json {
        let failures = render::all_failures(&summary.failures, summary.failures_total);
        render::json(&RestoreSummary { failures, ..summary.clone() });
    } else {
        render::text(&render::summary::restore(summary));
    }
    let exit = Exit::of_state(summary.state);
    render::settled(exit, || format!("it was restored all the same:\n{}", render::summary::restore(summary)))
}

/// Prints what a restore would do. Why it would not begin is told as the error of a restore is.
pub fn show_plan(common: &Common, planned: &PlannedRestore) -> Exit {
    if common.json {
        render::json(planned);
    } else {
        render::text(&render::plan::restore(planned));
    }
    planned.exit()
}

/// The databases that databases go to. A URL may hold a password, so that no error repeats what was typed.
fn to_database(typed: &[String]) -> Result<HashMap<String, String>, Problem> {
    let problem = |answer: &str| {
        Problem::new(ErrorKind::Invalid, Subject::Configuration, "read flags")
            .on("--to-database")
            .answered(answer)
    };
    let mut databases = HashMap::new();
    for pair in typed {
        let (name, url) = pair
            .split_once('=')
            .filter(|(name, _)| !name.contains(':'))
            .ok_or_else(|| problem("must be NAME=URL"))?;
        name.parse::<StorageName>().map_err(|_| problem("must be the name of a database and a URL"))?;
        if databases.insert(name.to_owned(), url.to_owned()).is_some() {
            return Err(problem("a database has two URLs"));
        }
    }
    Ok(databases)
}

/// The folders that directories go to, absolute; only our own coordinator may be told of folders.
fn to_directory(common: &Common, args: &RestoreArgs) -> Result<HashMap<String, String>, Problem> {
    let problem = |answer: &str| {
        Problem::new(ErrorKind::Invalid, Subject::Configuration, "read flags")
            .on("--to-directory")
            .answered(answer)
    };
    if !args.to_directory.is_empty() && common.coordinator_in_force().is_some() {
        return Err(problem("only has a meaning in embedded mode, and a coordinator is given")
            .next("leave it out, or add --embedded"));
    }
    let mut folders = HashMap::new();
    for (name, path) in &args.to_directory {
        let path = std::path::absolute(path).ok().and_then(|path| path.into_os_string().into_string().ok());
        let path = path.ok_or_else(|| problem("the path is no text"))?;
        if folders.insert(name.clone(), path).is_some() {
            return Err(problem("a directory has two paths"));
        }
    }
    Ok(folders)
}

fn request(args: &RestoreArgs) -> RestoreRequest {
    // NAME=PATH says where a storage lies; when it is the target of --to-storage, it is no name in the backup.
    let is_target = |name| args.to_storage.iter().any(|(_, to)| to == name);
    let selected = args.storage.iter().filter(|storage| storage.path.is_none() || !is_target(&storage.name));
    RestoreRequest {
        backup: args.backup.to_string(),
        storages: selected.map(|storage| storage.name.to_string()).collect(),
        filter: Some(RepositoryFilter {
            include: args.repository.iter().map(ToString::to_string).collect(),
            exclude: args.skip_repository.iter().map(ToString::to_string).collect(),
        }),
        only: args.only.iter().map(ToString::to_string).collect(),
        skip: args.skip.iter().map(ToString::to_string).collect(),
        to_storage: args.to_storage.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect(),
        dry_run: args.dry_run,
        force: args.force,
        skip_existing: args.skip_existing,
        optimise: args.optimise,
        partial: args.partial,
        numeric_owner: args.numeric_owner,
        last_good: args.as_of_last_good,
        keep_old: args.keep_old,
        continue_on_error: args.continue_on_error,
        ..RestoreRequest::default()
    }
}
