//! The configuration file: one TOML file per process, the same keys for all of them.
//!
//! Does not own: flags (each binary has its own; a flag beats the environment, which beats the file). Unknown keys are
//! errors, and everything is validated once, when the file is read, so that no run fails half way for a typing error.

mod changes;
mod load;
mod range;
mod schedule;
mod sections;
mod security;
mod span;

pub use changes::Written;
pub use load::Config;
pub use schedule::{Prove, ScheduleConfig, ScheduleMode};
pub use sections::{
    AgentAddress, AgentLimits, CoordinatorSection, DatabaseConfig, DirectoryConfig, GitalyManifests,
    RunSection, StorageConfig, VaultSection,
};
pub use security::{PeerName, PeerSection, TlsSection};
pub use span::Span;
