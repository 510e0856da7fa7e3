//! Embedded mode: a coordinator and an agent inside this process, spoken to over the same gRPC on private Unix sockets.
//!
//! Does not own: their code. The sockets lie in a folder that only this user can enter and that goes when the session
//! ends.

use std::path::PathBuf;

use packhorse_agent::{Agent, AgentOptions};
use packhorse_coordinator::{Coordinator, CoordinatorOptions};
use packhorse_model::{ErrorKind, Problem, Subject, VaultSettings};
use packhorse_service::{
    Address, Listener, ScratchFolder,
    config::{AgentAddress, Config, StorageConfig, VaultSection},
    daemon::Stages,
    process,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    args::{Common, StorageArg},
    config_file,
    session::Wanted,
};

/// What to do when nothing says where backups are.
const SAY_WHERE: &str = "give --vault (PACKHORSE_VAULT), or name the coordinator that knows it with --coordinator \
    (PACKHORSE_COORDINATOR), or with --config (PACKHORSE_CONFIG) a file with a [vault] section";

/// A coordinator and an agent of our own.
pub struct Embedded {
    /// Where the coordinator listens.
    pub address: Address,
    shutdown: CancellationToken,
    tracker: TaskTracker,
    uploads: Vec<TaskTracker>,
    _sockets: ScratchFolder,
}

impl Embedded {
    /// Starts both from the file, if any, and the flags, which beat it.
    pub async fn start(
        common: &Common,
        storages: &[StorageArg],
        wanted: Wanted<'_>,
    ) -> Result<Self, Problem> {
        let mut config = configuration(common, storages)?;
        let settings = config.vault_settings().map_err(|problem| problem.next(SAY_WHERE))?;
        config.check_places()?;
        if let Wanted::NewVault { group } = wanted {
            packhorse_agent::make_place(&settings, group)?;
        }
        let sockets = private_folder()?;
        let agent = Address::Unix(sockets.path().join("agent.sock"));
        let coordinator = Address::Unix(sockets.path().join("coordinator.sock"));
        let (shutdown, tracker) = (CancellationToken::new(), TaskTracker::new());
        // Nobody waits for work to be finished: what is asked to stop is cancelled.
        let stages =
            Stages { stopping: shutdown.clone(), shutdown: shutdown.clone(), tracker: tracker.clone() };
        let mut uploads = Vec::new();
        // Nobody but this user may call what is ours, whatever roles the file gives for daemons.
        let own = Config::default();

        let options = AgentOptions::from_config(&config);
        config.agent = Vec::new();
        if !options.storages.is_empty() {
            config.agent.push(AgentAddress { address: agent.to_string() });
            let vault = open(&settings)?;
            uploads.push(vault.uploads().clone());
            let router = Agent::new(options, vault, stages.clone()).router().await?;
            let listener = Listener::bind(&agent, None, packhorse_agent::access(&own)?).await?;
            serve(listener, router, &shutdown, &tracker);
        }
        let options =
            CoordinatorOptions::from_config(&config, &process::environment(), None)?.for_one_caller();
        let vault = open(&settings)?;
        uploads.push(vault.uploads().clone());
        let service = Coordinator::new(options, vault, stages.clone());
        let listener = Listener::bind(&coordinator, None, packhorse_coordinator::access(&own)?).await?;
        serve(listener, service.router().await?, &shutdown, &tracker);
        Ok(Self { address: coordinator, shutdown, tracker, uploads, _sockets: sockets })
    }

    /// Stops both and waits, for a while, for what they were doing.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.tracker.close();
        process::drain(&self.tracker).await;
        for uploads in &self.uploads {
            process::drain(uploads).await;
        }
    }
}

fn open(settings: &VaultSettings) -> Result<packhorse_agent::Vault, Problem> {
    Ok(packhorse_agent::open_vault(settings)?)
}

fn serve(
    listener: Listener,
    routes: tonic::service::Routes,
    shutdown: &CancellationToken,
    tracker: &TaskTracker,
) {
    let shutdown = shutdown.clone();
    tracker.spawn(async move {
        if let Err(problem) = listener.serve(routes, shutdown).await {
            tracing::error!(%problem, "an embedded service ended");
        }
    });
}

/// Bytes that the name of a socket may have (unix(7)), without what we put below the temporary folder.
const LONGEST: usize = 107 - "/backupctl-XXXXXX/coordinator.sock".len();

fn private_folder() -> Result<ScratchFolder, Problem> {
    // A socket below a long TMPDIR would have no valid name.
    let wanted = std::env::temp_dir();
    let folder = if wanted.as_os_str().len() <= LONGEST { wanted } else { PathBuf::from("/tmp") };
    ScratchFolder::new_in(&folder, "backupctl-").map_err(|e| {
        Problem::new(ErrorKind::Unavailable, Subject::Host, "create folder for sockets")
            .on(folder.display())
            .answered(e)
            .next(format!(
                "set TMPDIR to a folder that may be written, with a path of at most {LONGEST} bytes"
            ))
    })
}

fn configuration(common: &Common, storages: &[StorageArg]) -> Result<Config, Problem> {
    let mut config = match config_file::of(common)? {
        Some(file) => Config::load(&file)?,
        None => Config::default(),
    };
    if let Some(url) = &common.vault {
        match &mut config.vault {
            Some(vault) => vault.url.clone_from(url),
            None => config.vault = Some(VaultSection::from_url(url.clone())),
        }
    }
    for (at, StorageArg { name, path }) in storages.iter().enumerate() {
        let Some(path) = path else { continue };
        if storages[..at].iter().any(|other| other.name == *name && other.path.is_some()) {
            return Err(Problem::new(ErrorKind::Invalid, Subject::Configuration, "read storage")
                .on(name)
                .answered("has two paths")
                .next("give each storage a name of its own"));
        }
        let path = std::path::absolute(path).map_err(|e| {
            Problem::new(ErrorKind::Invalid, Subject::Configuration, "read storage").on(name).answered(e)
        })?;
        config.storage.retain(|known| known.name != *name);
        config.storage.push(StorageConfig { is_typed: true, ..StorageConfig::new(name.clone(), path) });
    }
    if let Some(git) = &common.git {
        config.agent_service.git.clone_from(git);
    }
    if let Some(jobs) = common.jobs {
        config.agent_service.jobs = jobs;
    }
    Ok(config)
}
