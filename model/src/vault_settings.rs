//! Where a vault lies and how to talk to it, as plain values between configuration and store.
//!
//! Does not own: reading them (`service::config`) or opening the store (`vault::open`). Holds no credentials: those
//! come from the environment or the platform.

use std::time::Duration;

/// What a vault is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultSettings {
    /// `file:///…`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
    pub url: String,
    /// Identity that the vault must have; none for any.
    pub vault_id: Option<String>,
    /// Base URL of an S3-compatible server.
    pub endpoint: Option<String>,
    /// S3 region.
    pub region: Option<String>,
    /// Put the bucket into the path instead of the host name.
    pub path_style: Option<bool>,
    /// PEM file with certificate authorities to trust beside the system's.
    pub ca_file: Option<String>,
    /// How long requests are retried before they fail.
    pub retry_budget: Duration,
    /// MiB of upload buffers shared by all uploads of the process.
    pub upload_memory_mib: u32,
}

impl VaultSettings {
    /// The longest time for which one request can be tried again: it is signed once, and stores take a signature for 15
    /// minutes. Beyond that they would say that our clock is wrong.
    pub const LONGEST_RETRY: Duration = Duration::from_secs(14 * 60);

    /// MiB of upload buffers that one part takes.
    pub const LEAST_MEMORY_MIB: u64 = 8;

    /// How long requests are retried when nothing else is said: for an outage of ten minutes, and the last pause.
    pub const RETRY_BUDGET: Duration = Duration::from_secs(12 * 60);

    /// Settings with defaults for everything but the URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            vault_id: None,
            endpoint: None,
            region: None,
            path_style: None,
            ca_file: None,
            retry_budget: Self::RETRY_BUDGET,
            upload_memory_mib: 72,
        }
    }
}
