//! `backupctl create`.

use packhorse_model::{Exit, Problem, RunSummary};
use packhorse_proto::v1::{BackupMode, CreateRequest, RepositoryFilter};

use super::follow::{Role, follow};
use crate::{
    args::{ALL_GONE, Common, CreateArgs, Prove},
    render::{self, progress::ProgressDisplay},
    session::{Session, Wanted},
};

/// Makes a backup.
pub async fn run(common: &Common, args: &CreateArgs) -> Result<Exit, Problem> {
    let wanted = if args.init { Wanted::NewVault { group: None } } else { Wanted::Vault };
    let session = Session::start(common, &args.storage, wanted).await?;
    let exit = create(&session, common, args).await;
    session.close(exit).await
}

async fn create(session: &Session, common: &Common, args: &CreateArgs) -> Result<Exit, Problem> {
    let started = session.started(session.client().create(request(args))).await?;
    let display = ProgressDisplay::new(common, "backup");
    let summary: RunSummary = follow(session, started, display, Role::Owner).await?;
    Ok(show(common, &summary))
}

/// Prints what a run did.
pub fn show(common: &Common, summary: &RunSummary) -> Exit {
    if common.json {
        let failures = render::all_failures(&summary.failures, summary.failures_total);
        render::json(&RunSummary { failures, ..summary.clone() });
    } else {
        render::text(&render::summary::run(summary));
    }
    let exit = Exit::of_state(summary.state);
    if summary.dry_run {
        return exit;
    }
    render::settled(exit, || format!("the backup exists all the same:\n{}", render::summary::run(summary)))
}

fn request(args: &CreateArgs) -> CreateRequest {
    let mode = match (args.full, args.incremental) {
        (true, _) => BackupMode::Full,
        (_, true) => BackupMode::Incremental,
        _ => BackupMode::Auto,
    };
    CreateRequest {
        backup_id: args.backup_id.as_ref().map(ToString::to_string),
        mode: mode.into(),
        storages: args.storage.iter().map(|storage| storage.name.to_string()).collect(),
        filter: Some(RepositoryFilter {
            include: args.repository.iter().map(ToString::to_string).collect(),
            exclude: args.skip_repository.iter().map(ToString::to_string).collect(),
        }),
        only: args.only.iter().map(ToString::to_string).collect(),
        skip: args.skip.iter().map(ToString::to_string).collect(),
        dry_run: args.dry_run,
        prove_later: args.prove == Prove::Later,
        init: args.init,
        accept_all_gone: args.accept_gone.iter().any(|name| name == ALL_GONE),
        accept_gone: args.accept_gone.iter().filter(|name| *name != ALL_GONE).cloned().collect(),
    }
}
