//! One host: running programs on it, and sockets of the test's own there.
//!
//! Does not own: its link (`link`). A handle is a name, so it is cheap to copy; it outlives its network without use.

use std::{
    ffi::OsStr,
    fs::File,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::fd::AsFd as _,
    process::Command,
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{Backupctl, Binary, hermetic_command};

/// A host of a [`super::Network`].
#[derive(Clone, Debug)]
pub struct Host {
    pub(super) name: String,
    address: Ipv4Addr,
    pub(super) bridge: String,
    pub(super) port: String,
}

impl Host {
    pub(super) fn new(name: String, address: Ipv4Addr, bridge: String, port: String) -> Self {
        Self { name, address, bridge, port }
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address.into()
    }

    /// A command that runs a program here, with a cleared environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = hermetic_command("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg("--").arg(program);
        command
    }

    /// A command that runs a program here as another user and group.
    pub(crate) fn command_as(&self, (user, group): (u32, u32), program: impl AsRef<OsStr>) -> Command {
        let mut command = hermetic_command("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name))
            .arg(format!("--setuid={user}"))
            .arg(format!("--setgid={group}"))
            .arg("--")
            .arg(program);
        command
    }

    /// A command that runs one of our programs here.
    pub fn binary(&self, binary: Binary) -> Command {
        let mut command = self.command(binary.path());
        command.env("RUST_BACKTRACE", "1");
        command
    }

    /// A call of `backupctl` from here.
    pub fn backupctl(&self) -> Backupctl {
        Backupctl::from(self.binary(Binary::Backupctl))
    }

    /// Listens here on a free port.
    pub fn listen(&self) -> TcpListener {
        let address = SocketAddr::from((self.address, 0));
        self.within(|| TcpListener::bind(address).expect("the host has a free port"))
    }

    /// Calls a function whose new sockets are this host's.
    pub fn within<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        // A thread of its own, because a thread stays where it moved.
        let moved = || {
            self.enter();
            function()
        };
        thread::scope(|scope| scope.spawn(moved).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Moves the calling thread here for good.
    pub(super) fn enter(&self) {
        let space = format!("/run/netns/{}", self.name);
        let space = File::open(&space).unwrap_or_else(|error| panic!("{space}: {error}"));
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may move");
    }
}
