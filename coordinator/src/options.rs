//! What a coordinator drives: its agents, databases and directories.
//!
//! Does not own: the vault, which is a component and handed over beside the options.

use std::collections::BTreeMap;

use packhorse_model::Problem;
use packhorse_service::{Address, config::Config};

use crate::{database::Database, directory::Directory, schedule::Schedule};

/// Settings of a coordinator.
#[derive(Clone)]
pub struct CoordinatorOptions {
    /// Where the agents are.
    pub agents: Vec<Address>,
    /// The databases of a backup.
    pub databases: Vec<Database>,
    /// The directories of a backup.
    pub directories: Vec<Directory>,
    /// Version of the instance, for backup IDs and the commit record.
    pub instance_version: String,
    /// This host's name, for the journal.
    pub host: String,
    /// Backups that it starts by itself.
    pub(crate) schedules: Vec<Schedule>,
}

impl CoordinatorOptions {
    /// The options that a configuration file and the environment set.
    pub fn from_config(config: &Config, env: &BTreeMap<String, String>) -> Result<Self, Problem> {
        let agents = config.agent.iter().map(|agent| agent.address.parse()).collect::<Result<_, _>>()?;
        let databases =
            config.database.iter().map(|d| Database::from_config(d, env)).collect::<Result<_, _>>()?;
        let directories =
            config.directory.iter().map(|d| Directory::from_config(d, env)).collect::<Result<_, _>>()?;
        let mut options = Self {
            agents,
            databases,
            directories,
            instance_version: config.run.instance_version.clone(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            schedules: Vec::new(),
        };
        let schedules = config.schedule.iter().map(|schedule| Schedule::from_config(schedule, &options));
        options.schedules = schedules.collect::<Result<_, _>>()?;
        Ok(options)
    }

    /// What a coordinator with these options does, in a few words.
    pub fn status(&self) -> String {
        let names: Vec<&str> = self.schedules.iter().map(Schedule::name).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("driving {} agents; schedules: {names}", self.agents.len())
    }
}
