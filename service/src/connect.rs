//! Connecting to a daemon.
//!
//! Does not own: retries of calls. A channel reconnects by itself; keep-alives notice a peer that went away without a
//! word.

use std::time::Duration;

use packhorse_model::{ErrorKind, Problem, Subject};
use tonic::transport::{Channel, Endpoint};

use crate::Address;

/// A channel to `address`; fails when nobody answers there. `subject` says who was meant to.
pub async fn connect(address: &Address, subject: Subject) -> Result<Channel, Problem> {
    let failed = |error: tonic::transport::Error| {
        let mut answer = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            answer = format!("{answer}: {cause}");
            source = cause.source();
        }
        let (who, daemon) = match subject {
            Subject::Agent => ("connect to agent", "packhorse-agent"),
            _ => ("connect to coordinator", "packhorse-coordinator"),
        };
        Problem::new(ErrorKind::Unavailable, subject, who)
            .on(address)
            .answered(answer)
            .next(format!("check that {daemon} runs there"))
    };
    let endpoint = Endpoint::from_shared(address.to_string()).map_err(failed)?;
    endpoint
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .keep_alive_while_idle(true)
        .connect()
        .await
        .map_err(failed)
}
