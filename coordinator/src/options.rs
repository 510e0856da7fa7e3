//! What a coordinator drives: its agents, databases and directories.
//!
//! Does not own: the vault, which is a component and handed over beside the options.

use std::collections::BTreeMap;

use packhorse_model::Problem;
use packhorse_service::{Address, Tls, config::Config};

use crate::{database::Database, directory::Directory};

/// Settings of a coordinator.
#[derive(Clone)]
pub struct CoordinatorOptions {
    /// Where the agents are.
    pub agents: Vec<Address>,
    /// The certificate that is shown to agents on `https://` addresses.
    pub tls: Option<Tls>,
    /// The databases of a backup.
    pub databases: Vec<Database>,
    /// The directories of a backup.
    pub directories: Vec<Directory>,
    /// Version of the instance, for backup IDs and the commit record.
    pub instance_version: String,
    /// This host's name, for the journal.
    pub host: String,
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
        Ok(Self {
            agents,
            tls,
            databases,
            directories,
            instance_version: config.run.instance_version.clone(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        })
    }
}
