//! What a coordinator drives: its agents, databases and directories.
//!
//! Does not own: the vault, which is a component and handed over beside the options.

use std::{collections::BTreeMap, time::Duration};

use packhorse_model::Problem;
use packhorse_service::{Address, Tls, config::Config, places::Place};

use crate::{
    database::{Database, Libpq},
    directory::Directory,
    run::GoneRules,
    schedule::Schedule,
};

/// Settings of a coordinator.
#[derive(Clone)]
pub struct CoordinatorOptions {
    /// Where the agents are.
    pub agents: Vec<Address>,
    /// The certificate that is shown to agents on `https://` addresses.
    pub tls: Option<Tls>,
    /// What this process's environment says to libpq.
    pub(crate) libpq: Libpq,
    /// The databases of a backup.
    pub databases: Vec<Database>,
    /// The directories of a backup.
    pub directories: Vec<Directory>,
    /// The vault's folder and everything else that the configuration says the place of.
    pub places: Vec<Place>,
    /// Version of the instance, for backup IDs and the commit record.
    pub instance_version: String,
    /// This host's name, for the journal.
    pub host: String,
    /// A name that this coordinator keeps when it restarts, by which it knows its own runs; none of one that ends with
    /// its caller.
    pub identity: Option<String>,
    /// How long an agent that was lost in the middle of a run is waited for.
    pub agent_patience: Duration,
    /// Age up to which a run is resumed after a restart.
    pub resume_within: Duration,
    /// What all agents together may take.
    pub limits: RunLimits,
    /// How much may be gone since the last backup.
    pub(crate) gone: GoneRules,
    /// Backups that it starts by itself.
    pub(crate) schedules: Vec<Schedule>,
}

/// Limits on all agents of a run together; 0 for none.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunLimits {
    /// Storages worked on at once.
    pub storages: usize,
    /// Repositories packed at once.
    pub repositories: usize,
    /// Uploads at once.
    pub uploads: usize,
    /// Bytes a second to the vault.
    pub bytes_per_second: u64,
}

impl CoordinatorOptions {
    /// The options that a configuration file and the environment set.
    pub fn from_config(
        config: &Config,
        env: &BTreeMap<String, String>,
        tls: Option<Tls>,
    ) -> Result<Self, Problem> {
        let agents = config.agent.iter().map(|agent| agent.address.parse()).collect::<Result<_, _>>()?;
        let databases =
            config.database.iter().map(|d| Database::from_config(d, env)).collect::<Result<_, _>>()?;
        let directories =
            config.directory.iter().map(|d| Directory::from_config(d, env)).collect::<Result<_, _>>()?;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let section = &config.coordinator;
        let mut options = Self {
            agents,
            tls,
            libpq: Libpq::of(env),
            databases,
            directories,
            places: Place::of_config(config),
            instance_version: config.run.instance_version.clone(),
            identity: Some(format!("{host} {} {}", machine_id(), section.listen)),
            host,
            agent_patience: section.agent_patience.duration(),
            resume_within: section.resume_within.duration(),
            limits: RunLimits {
                storages: section.storages,
                repositories: section.jobs,
                uploads: section.uploads,
                bytes_per_second: section.bandwidth.as_u64(),
            },
            gone: GoneRules::from_config(&config.run),
            schedules: Vec::new(),
        };
        let schedules = config.schedule.iter().map(|schedule| Schedule::from_config(schedule, &options));
        options.schedules = schedules.collect::<Result<_, _>>()?;
        Ok(options)
    }

    /// The options of a coordinator that ends with its caller: nobody resumes its runs, and the next one builds on them.
    #[must_use]
    pub fn for_one_caller(self) -> Self {
        Self { identity: None, ..self }
    }

    /// These options for a coordinator that goes on under the identity of earlier ones.
    #[must_use]
    pub fn as_the_same(self, earlier: &Self) -> Self {
        Self { identity: earlier.identity.clone(), ..self }
    }

    /// What a coordinator with these options does, in a few words.
    pub fn status(&self) -> String {
        let names: Vec<&str> = self.schedules.iter().map(Schedule::name).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("driving {} agents; schedules: {names}", self.agents.len())
    }
}

/// What tells hosts of the same name apart, where the system has it.
fn machine_id() -> String {
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    id.trim().chars().take(12).collect()
}
