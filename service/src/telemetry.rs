//! Logging: to stderr, as text on a terminal and for systemd, as JSON when asked.
//!
//! Does not own: what is logged. Libraries log at warn and above; `RUST_LOG` beats everything here.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Crates whose level `verbosity` sets.
const OWN: [&str; 5] =
    ["packhorse_agent", "packhorse_coordinator", "packhorse_vault", "packhorse_service", "backupctl"];

/// Starts logging with this level for our own crates; a second call does nothing.
pub fn start(own: LevelFilter, json: bool) {
    let directives: Vec<String> = OWN.iter().map(|name| format!("{name}={own}")).collect();
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,{}", directives.join(","))));
    let registry = tracing_subscriber::registry().with(filter);
    let _ = if json {
        registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init()
    } else {
        let text = fmt::layer().with_ansi(false).with_target(false).with_writer(std::io::stderr);
        registry.with(text).try_init()
    };
}
