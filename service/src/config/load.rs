//! Reading and validating the configuration file.
//!
//! Does not own: what the sections mean. A file that loads is consistent: names are unique, directories do not take
//! the name of another component.

use std::{collections::BTreeSet, path::Path};

use packhorse_model::{Component, ErrorKind, Problem, StorageName, Subject, VaultSettings};
use serde::Deserialize;

use super::{
    AgentAddress, AgentLimits, CoordinatorSection, DatabaseConfig, DirectoryConfig, PeerSection, RunSection,
    StorageConfig, TlsSection, VaultSection,
};

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where backups go.
    pub vault: Option<VaultSection>,
    /// What every run records.
    pub run: RunSection,
    /// How an agent works.
    pub agent_service: AgentLimits,
    /// How the coordinator works.
    pub coordinator: CoordinatorSection,
    /// Storages that this process's agent serves.
    pub storage: Vec<StorageConfig>,
    /// Agents that the coordinator drives.
    pub agent: Vec<AgentAddress>,
    /// Databases.
    pub database: Vec<DatabaseConfig>,
    /// Directories.
    pub directory: Vec<DirectoryConfig>,
    /// Our certificate and the authorities that we trust.
    pub tls: Option<TlsSection>,
    /// Who may call.
    pub peer: Vec<PeerSection>,
}

impl Config {
    /// Reads and validates a file.
    pub fn load(path: &Path) -> Result<Self, Problem> {
        let problem = |kind, answer: String| {
            Problem::new(kind, Subject::Configuration, "read configuration")
                .on(path.display())
                .answered(answer)
        };
        let text = std::fs::read_to_string(path).map_err(|e| problem(ErrorKind::Invalid, e.to_string()))?;
        let config: Self = toml::from_str(&text).map_err(|e| problem(ErrorKind::Invalid, e.to_string()))?;
        config.validate().map_err(|answer| problem(ErrorKind::Invalid, answer))?;
        Ok(config)
    }

    /// The vault's settings, which most processes need.
    pub fn vault_settings(&self) -> Result<VaultSettings, Problem> {
        self.vault.as_ref().map(VaultSection::settings).ok_or_else(|| {
            Problem::new(ErrorKind::Invalid, Subject::Configuration, "open vault")
                .answered("no vault is configured")
                .next("add a [vault] section with a url, or give --vault")
        })
    }

    fn validate(&self) -> Result<(), String> {
        if let Some(file) = self.tls.iter().flat_map(TlsSection::files).find(|file| !file.is_absolute()) {
            return Err(format!("path {} in [tls] must be absolute", file.display()));
        }
        for peer in &self.peer {
            peer.name()?;
        }
        let mut storages = BTreeSet::new();
        for storage in &self.storage {
            if !storages.insert(&storage.name) {
                return Err(format!("storage {:?} is configured twice", storage.name.as_str()));
            }
            if !storage.path.is_absolute() {
                return Err(format!("path of storage {} must be absolute", storage.name));
            }
        }
        let mut databases = BTreeSet::new();
        for database in &self.database {
            // The name is part of a key and of environment variables.
            database.name.parse::<StorageName>().map_err(|_| format!("database name {:?}", database.name))?;
            if !databases.insert(&database.name) {
                return Err(format!("database {:?} is configured twice", database.name));
            }
        }
        let mut directories = BTreeSet::new();
        for directory in &self.directory {
            match directory.name.parse::<Component>() {
                Ok(Component::Directory(_)) => {}
                _ => return Err(format!("directory name {:?} is reserved or not usable", directory.name)),
            }
            if !directories.insert(&directory.name) {
                return Err(format!("directory {:?} is configured twice", directory.name));
            }
            if !directory.path.is_absolute() {
                return Err(format!("path of directory {} must be absolute", directory.name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{super::Span, *};

    fn load(text: &str) -> Result<Config, Problem> {
        let mut file = tempfile::NamedTempFile::new().expect("temp file");
        file.write_all(text.as_bytes()).expect("write temp file");
        Config::load(file.path())
    }

    #[test]
    fn a_whole_file_loads() {
        let config = load(
            "[vault]\nurl = 's3://b/p'\nretry_budget = '5m'\nupload_memory = '64 MiB'\n\
             [run]\ninstance_version = '18.1.0-ee'\n[agent_service]\njobs = 4\n\
             [[storage]]\nname = 'default'\npath = '/srv/git'\n\
             [[agent]]\naddress = 'http://127.0.0.1:7443'\n\
             [[database]]\nname = 'main'\nurl = 'postgresql:///x'\n\
             [[directory]]\nname = 'uploads'\npath = '/u'\nexclude = ['tmp']\n",
        )
        .expect("valid file");
        assert_eq!(config.storage[0].name.as_str(), "default");
        assert_eq!(config.vault.expect("has a vault").retry_budget, Span::from_secs(300));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, named) in [
            ("[vault]\nurl = 'x'\nendpiont = 'y'\n", "endpiont"),
            ("[[storage]]\nname = 'a'\npath = 'rel'\n", "absolute"),
            ("[[storage]]\nname = 'backups'\npath = '/x'\n", "reserved"),
            ("[[storage]]\nname='a'\npath='/x'\n[[storage]]\nname='a'\npath='/y'\n", "twice"),
            ("[[directory]]\nname = 'db'\npath = '/x'\n", "reserved"),
            ("[[directory]]\nname = 'repositories'\npath = '/x'\n", "reserved"),
            ("[vault]\nurl='x'\nretry_budget='-5s'\n", "negative"),
            ("[tls]\ncertificate='c'\nkey='/k'\nca='/a'\n", "absolute"),
            ("[tls]\ncertificate='/c'\nkey='/k'\n", "ca"),
            ("[[peer]]\nrole='operator'\n", "exactly one"),
            ("[[peer]]\nsan='a'\nuid=1\nrole='operator'\n", "exactly one"),
            ("[[peer]]\nsan='a'\nrole='root'\n", "root"),
            ("[[peer]]\nsan='a'\nroles='operator'\n", "roles"),
        ] {
            let problem = load(text).expect_err(text);
            assert_eq!(problem.kind, ErrorKind::Invalid);
            assert!(problem.to_string().contains(named), "{text}: {problem}");
        }
    }
}
