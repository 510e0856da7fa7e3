//! What a service manager is told: ready, reloading, stopping, alive, and a line of status.
//!
//! Does not own: when. Without `NOTIFY_SOCKET` nothing is sent, and a message that cannot be sent is only lost: a daemon
//! does not depend on its manager.

use std::{
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

/// How long a message may wait for a manager that is busy.
const PATIENCE: Duration = Duration::from_millis(200);

/// The way to the service manager.
pub struct Systemd {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// Finds the manager by the variables that it set for this process.
    pub fn find(environment: impl Fn(&str) -> Option<String>) -> Self {
        let address = environment("NOTIFY_SOCKET").and_then(|name| match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok(),
            None => SocketAddr::from_pathname(name).ok(),
        });
        let socket = address.and_then(|address| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_write_timeout(Some(PATIENCE)).ok()?;
            Some((socket, address))
        });
        let for_us = environment("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let limit = environment("WATCHDOG_USEC").filter(|_| for_us).and_then(|text| text.parse().ok());
        let watchdog = limit.filter(|limit| *limit > 0).map(Duration::from_micros);
        Self { socket, watchdog }
    }

    /// The service answers.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// The configuration is being read again; `ready` ends it.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The service has begun to stop, which may take as long as this.
    pub fn stopping(&self, limit: Duration) {
        let micros = limit.as_micros();
        self.tell(&format!("STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC={micros}"));
    }

    /// Says, as often as the manager wants, that this process works; it stays silent when that is not so: each time, a
    /// task has to run on the runtime and a thread has to be had for blocking work.
    pub async fn keep_alive(&self) {
        let Some(limit) = self.watchdog else { return std::future::pending().await };
        let mut tick = tokio::time::interval(limit / 2);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let proof = async { tokio::task::spawn_blocking(|| ()).await };
            if let Ok(Ok(())) = tokio::runtime::Handle::current().spawn(proof).await {
                self.tell("WATCHDOG=1");
            }
        }
    }

    fn tell(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let size = socket.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..size]).into_owned()
    }

    #[test]
    fn sockets_with_a_path_and_abstract_ones_are_told() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("notify").display().to_string();
        let name = format!("packhorse-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        for (variable, socket) in [
            (path.clone(), UnixDatagram::bind(&path).expect("bind a path")),
            (format!("@{name}"), UnixDatagram::bind_addr(&address).expect("bind a name")),
        ] {
            let systemd = Systemd::find(|key| (key == "NOTIFY_SOCKET").then(|| variable.clone()));
            systemd.ready("two\nlines");
            assert_eq!(received(&socket), "READY=1\nSTATUS=two lines");
            systemd.stopping(Duration::from_secs(2));
            assert!(received(&socket).ends_with("EXTEND_TIMEOUT_USEC=2000000"));
            systemd.reloading();
            assert!(received(&socket).starts_with("RELOADING=1\nMONOTONIC_USEC="));
        }
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let found = |pid: Option<u32>, limit: &str| {
            let (pid, limit) = (pid.map(|pid| pid.to_string()), limit.to_owned());
            let systemd = Systemd::find(move |key| match key {
                "WATCHDOG_PID" => pid.clone(),
                "WATCHDOG_USEC" => Some(limit.clone()),
                _ => None,
            });
            systemd.watchdog
        };
        let (own, second) = (std::process::id(), Some(Duration::from_secs(1)));
        assert_eq!(found(None, "1000000"), second);
        assert_eq!(found(Some(own), "1000000"), second);
        assert_eq!(found(Some(own + 1), "1000000"), None);
        assert_eq!((found(None, "0"), found(None, "soon")), (None, None));
        Systemd::find(|_| None).ready("nobody listens");
    }
}
