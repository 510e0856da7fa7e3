//! The sections of the configuration file, as written by an operator.
//!
//! Does not own: reading the file (`load`). Every section refuses keys that it does not know.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use bytesize::ByteSize;
use packhorse_model::{StorageName, VaultSettings};
use serde::Deserialize;
use url::Url;

use super::{Span, range};

/// `[vault]`: where backups go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultSection {
    /// `file:///…`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
    pub url: String,
    /// Identity that the vault must have, as `backupctl vault init` and every output say it.
    #[serde(default)]
    pub vault_id: Option<String>,
    /// Base URL of an S3-compatible server.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// S3 region.
    #[serde(default)]
    pub region: Option<String>,
    /// Put the bucket into the path instead of the host name.
    #[serde(default)]
    pub path_style: Option<bool>,
    /// PEM file with certificate authorities to trust beside the system's.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// How long failed requests are retried.
    #[serde(default = "retry_budget", deserialize_with = "range::retry_budget")]
    pub retry_budget: Span,
    /// Memory for upload buffers.
    #[serde(default = "upload_memory", deserialize_with = "range::upload_memory")]
    pub upload_memory: ByteSize,
}

fn retry_budget() -> Span {
    Span::from_secs(VaultSettings::RETRY_BUDGET.as_secs())
}

fn upload_memory() -> ByteSize {
    ByteSize::mib(72)
}

impl VaultSection {
    /// The section that only names a URL.
    pub fn from_url(url: String) -> Self {
        Self {
            url,
            vault_id: None,
            endpoint: None,
            region: None,
            path_style: None,
            ca_file: None,
            retry_budget: retry_budget(),
            upload_memory: upload_memory(),
        }
    }

    /// The folder of a `file://` vault.
    pub fn folder(&self) -> Option<PathBuf> {
        if self.url.starts_with('/') {
            // Written without its scheme; it is a URL all the same.
            return Url::parse(&format!("file://{}", self.url)).ok()?.to_file_path().ok();
        }
        Url::parse(&self.url).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
    }

    /// The section as the vault takes it.
    pub fn settings(&self) -> VaultSettings {
        VaultSettings {
            url: self.url.clone(),
            vault_id: self.vault_id.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            ca_file: self.ca_file.clone(),
            retry_budget: self.retry_budget.duration(),
            upload_memory_mib: u32::try_from(self.upload_memory.as_u64() >> 20).unwrap_or(u32::MAX),
        }
    }
}

/// `[[storage]]`: a repository storage that an agent serves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// Name, as in GitLab's configuration.
    pub name: StorageName,
    /// Folder of bare repositories.
    pub path: PathBuf,
    /// Repositories packed at once in this storage; 0 means as many as the agent may.
    #[serde(default, deserialize_with = "range::at_once")]
    pub jobs: usize,
    /// Uploads from this storage at once; 0 means as many as the agent may.
    #[serde(default, deserialize_with = "range::at_once")]
    pub uploads: usize,
    /// Bytes a second that this storage may send; none for no limit of its own.
    #[serde(default)]
    pub bandwidth: ByteSize,
    /// Whether the path was typed by whoever runs this process, and stands in no file.
    #[serde(skip)]
    pub is_typed: bool,
}

impl StorageConfig {
    /// A storage without limits of its own.
    pub fn new(name: StorageName, path: PathBuf) -> Self {
        Self { name, path, jobs: 0, uploads: 0, bandwidth: ByteSize::b(0), is_typed: false }
    }
}

/// `[agent_service]`: how an agent works.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentLimits {
    /// Unix socket (`unix:///run/packhorse/agent.sock`) or loopback address (`http://127.0.0.1:7443`).
    pub listen: String,
    /// Git executable.
    pub git: PathBuf,
    /// Repositories worked on at once, in all storages together; 0 means one for each CPU.
    #[serde(deserialize_with = "range::at_once")]
    pub jobs: usize,
    /// Uploads at once, in all storages together; 0 for no limit.
    #[serde(deserialize_with = "range::at_once")]
    pub uploads: usize,
    /// Bytes a second that are sent to the vault, by all storages together; 0 for no limit.
    pub bandwidth: ByteSize,
    /// How long a job whose coordinator went away is kept for it before another run may have the storage.
    pub rejoin_within: Span,
    /// How long work on a repository may give no sign of life before it is given up.
    #[serde(deserialize_with = "range::some_time")]
    pub stall_timeout: Span,
    /// How long work on a repository may take as a whole.
    #[serde(deserialize_with = "range::some_time")]
    pub repository_timeout: Span,
    /// Steps in a chain before a new full one.
    #[serde(deserialize_with = "range::steps")]
    pub max_chain: u32,
    /// Share of a repository's objects that a full step may hold although no ref reaches them, 0 to 1.
    #[serde(deserialize_with = "range::share")]
    pub max_garbage: f64,
    /// Size of a full step's pack from which on its index is stored, too, so that a restore need not make it.
    pub index_from: ByteSize,
    /// `changed`; `latest` for Gitaly before 18.11; `every-run` to write manifests of unchanged repositories too.
    pub gitaly_manifests: GitalyManifests,
    /// How long work at hand may go on when the agent is told to stop.
    pub grace: Span,
}

fn grace() -> Span {
    Span::from_secs(30)
}

/// When a manifest is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GitalyManifests {
    /// When a step was.
    #[default]
    Changed,
    /// The same, and a copy as `+latest.toml`, where Gitaly before 18.11 looks for the newest.
    Latest,
    /// In every run, so that Gitaly can restore any ID by name; and that copy.
    EveryRun,
}

impl GitalyManifests {
    /// Whether unchanged repositories get one.
    pub fn in_every_run(self) -> bool {
        self == Self::EveryRun
    }

    /// Whether there is a copy as `+latest.toml`.
    pub fn as_latest(self) -> bool {
        self != Self::Changed
    }
}

impl Default for AgentLimits {
    fn default() -> Self {
        Self {
            listen: "unix:///run/packhorse/agent.sock".into(),
            git: "git".into(),
            jobs: 0,
            uploads: 0,
            bandwidth: ByteSize::b(0),
            rejoin_within: Span::from_secs(30),
            stall_timeout: Span::from_secs(600),
            repository_timeout: Span::from_secs(12 * 3600),
            max_chain: 64,
            max_garbage: 0.05,
            index_from: ByteSize::mib(1),
            gitaly_manifests: GitalyManifests::Changed,
            grace: grace(),
        }
    }
}

/// `[coordinator]`: how the coordinator works.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoordinatorSection {
    /// Unix socket or loopback address to listen on.
    pub listen: String,
    /// Storages worked on at once; 0 for all.
    #[serde(deserialize_with = "range::at_once")]
    pub storages: usize,
    /// Repositories packed at once, by all agents together; 0 for as many as these may.
    #[serde(deserialize_with = "range::at_once")]
    pub jobs: usize,
    /// Uploads at once, by all agents together; 0 for as many as these may.
    #[serde(deserialize_with = "range::at_once")]
    pub uploads: usize,
    /// Bytes a second that all agents together send to the vault; 0 for no limit.
    pub bandwidth: ByteSize,
    /// How long an agent that was lost in the middle of a run, or is busy for another one, is waited for.
    pub agent_patience: Span,
    /// Age up to which a run is resumed after a restart.
    pub resume_within: Span,
    /// How long work at hand may go on when the coordinator is told to stop.
    pub grace: Span,
}

impl Default for CoordinatorSection {
    fn default() -> Self {
        Self {
            listen: "unix:///run/packhorse/coordinator.sock".into(),
            storages: 0,
            jobs: 0,
            uploads: 0,
            bandwidth: ByteSize::b(0),
            agent_patience: Span::from_secs(600),
            resume_within: Span::from_secs(12 * 3600),
            grace: grace(),
        }
    }
}

/// `[[agent]]`: where the coordinator finds an agent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentAddress {
    /// `unix:///…` or `http://127.0.0.1:…`.
    pub address: String,
}

/// `[run]`: what every run records.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunSection {
    /// Version of the GitLab (or other) instance, for backup IDs and the commit record.
    pub instance_version: String,
    /// Share of a storage's repositories, 0 to 1, of which more than ten may be gone since the last backup before a run is
    /// incomplete until somebody confirms that they were deleted on purpose.
    #[serde(deserialize_with = "range::share")]
    pub max_gone: f64,
    /// Storages, databases and directories that were removed on purpose, although earlier backups have them.
    pub accept_gone: Vec<StorageName>,
}

impl Default for RunSection {
    fn default() -> Self {
        Self { instance_version: "0.0.0".into(), max_gone: 0.25, accept_gone: Vec::new() }
    }
}

/// `[[database]]`: a PostgreSQL database.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `main` gives `db/database.sql.gz`, any other name `db/<name>_database.sql.gz`.
    pub name: String,
    /// `postgresql://user@host:port/dbname?host=/socket/folder&sslmode=…`, as libpq reads it.
    pub url: String,
    /// File that holds the password, instead of the URL.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Folder of `pg_dump` and `psql`, when not found by name.
    #[serde(default)]
    pub bin_dir: Option<PathBuf>,
    /// Further environment for `pg_dump` and `psql`, such as `PGOPTIONS`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

impl fmt::Debug for DatabaseConfig {
    /// Only the name: the URL and the environment may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

/// `[[directory]]`: a directory component.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryConfig {
    /// File name without `.tar.gz`: `uploads`, `artifacts`, `lfs`, …
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// Patterns left out, relative to the folder, as `tar --exclude` reads them.
    #[serde(default)]
    pub exclude: Vec<String>,
}
