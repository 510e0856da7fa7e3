//! What a service manager is told.
//!
//! Does not own: what the states mean for the work (`drain`, `reload`).

use packhorse_testkit::{Binary, Signal};

use super::Host;

#[test]
fn ready_alive_reloading_and_stopping_are_told() {
    let mut host = Host::start();
    host.agent = None;
    host.coordinator = None;
    for (binary, status) in
        [(Binary::Agent, "serving 1 storages: default"), (Binary::Coordinator, "driving 1 agents")]
    {
        let mut daemon = host.daemon(binary);
        let ready = host.manager.wait_for(status);
        assert!(ready.starts_with("READY=1\nSTATUS="), "{ready}");
        for _ in 0..3 {
            host.manager.wait_for("WATCHDOG=1");
        }
        daemon.signal(Signal::HUP);
        assert!(host.manager.wait_for("RELOADING=1").contains("\nMONOTONIC_USEC="));
        host.manager.wait_for("READY=1");
        daemon.signal(Signal::TERM);
        assert!(host.manager.wait_for("STOPPING=1").contains("\nEXTEND_TIMEOUT_USEC="));
        assert_eq!(daemon.wait(super::SOON), 0);
        daemon.assert_no_complaints(&[]);
    }
}

#[test]
fn one_that_cannot_start_is_never_ready() {
    let mut host = Host::start();
    host.agent = None;
    host.manager.wait_for("driving");
    host.replace("agent.toml", "[vault]\nurl = 'file:///nowhere'\n[[storage]]\nname = 'a'\n");
    let mut command = Binary::Agent.command();
    command
        .env("PACKHORSE_CONFIG", host.site.path("agent.toml"))
        .env("NOTIFY_SOCKET", host.site.path("other-notify"));
    let socket =
        std::os::unix::net::UnixDatagram::bind(host.site.path("other-notify")).expect("bind a socket");
    let mut agent = packhorse_testkit::Daemon::spawn_command(command);
    assert_eq!(agent.wait(super::SOON), 2);
    socket.set_nonblocking(true).expect("look without waiting");
    socket.recv(&mut [0; 64]).expect_err("nothing was told");
    host.stop(&[]);
}
