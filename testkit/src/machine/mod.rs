//! A machine that systemd has started: its own processes, mounts and network, on a layer above this host's files.
//!
//! Does not own: what is installed there. Nothing that it writes reaches the host, and nothing of the host is started.
//! Takes root and a kernel with namespaces and overlays. It ends with the value, or with the thread that booted it.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{Backupctl, CliOutput, deadline::wait_for, hermetic_command};

const BOOT: &str = include_str!("boot.sh");
/// Time to boot, which takes a second.
const BOOT_TIME: Duration = Duration::from_secs(60);

/// A machine that runs.
pub struct Machine {
    child: Child,
    /// The first process of the machine, as this host sees it.
    init: u32,
    folder: TempDir,
}

impl Machine {
    /// Boots one with these files laid over its root, after `first`, a shell script, was run there. What is enabled by
    /// then is started. Fails with the reason where this host cannot do it.
    pub fn boot(files: &Path, first: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let disk = folder.path().join("disk");
        fs::create_dir(&disk).map_err(|error| error.to_string())?;
        let log = fs::File::create(folder.path().join("log")).map_err(|error| error.to_string())?;
        let again = log.try_clone().map_err(|error| error.to_string())?;
        let child = hermetic_command("setpriv")
            .args(["--pdeathsig", "KILL", "/bin/sh", "-c", BOOT, "boot"])
            .args([disk.as_os_str(), files.as_os_str(), OsStr::new(first)])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(again)
            .spawn()
            .map_err(|error| format!("setpriv: {error}"))?;
        let mut machine = Self { child, init: 0, folder };
        match machine.wait_until_booted() {
            Ok(()) => Ok(machine),
            Err(why) => Err(format!("systemd does not boot in a namespace here: {why}\n{}", machine.log())),
        }
    }

    fn wait_until_booted(&mut self) -> Result<(), String> {
        wait_for(BOOT_TIME, || match self.child.try_wait() {
            // There is nothing to wait for any more.
            Ok(Some(status)) => Ok(Err(format!("it ended: {status}"))),
            _ => self.look().map(Ok),
        })?
    }

    /// Finds the machine's first process, and asks it whether everything was started.
    fn look(&mut self) -> Result<(), String> {
        // The script became `unshare`, and the only child of that is the first process.
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let init = fs::read_to_string(children).ok().and_then(|pids| pids.trim().parse().ok());
        self.init = init.ok_or("there is no first process")?;
        let asked = self.command("systemctl").arg("is-system-running").output();
        let state = asked.map(|asked| asked.stdout).unwrap_or_default();
        match String::from_utf8_lossy(&state).trim() {
            "running" | "degraded" => Ok(()),
            state => Err(format!("not within {BOOT_TIME:?}: {state}")),
        }
    }

    /// What systemd said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Where this host finds a file of the machine.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// A command that runs a program there as root.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = hermetic_command("nsenter");
        command.arg("--all").arg(format!("--target={}", self.init)).arg("--").arg(program);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Runs a program there to its end.
    #[track_caller]
    pub fn run(&self, program: &str, args: &[&str]) -> CliOutput {
        let mut command = self.command(program);
        command.args(args);
        Backupctl::from(command).run()
    }

    /// A property of a unit.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        let shown = self.run("systemctl", &["show", "--value", "--property", name, unit]).expect_success();
        shown.stdout.trim().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for kind in ["systemd/", "unified/", ""] {
            let group = format!("/sys/fs/cgroup/{kind}packhorse-machine-{}", self.child.id());
            remove_groups(Path::new(&group));
        }
    }
}

/// Removes control groups, innermost first; they are empty when their processes are gone.
fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_groups(&entry.path());
        }
    }
    let _ = wait_for(Duration::from_secs(2), || match fs::remove_dir(group) {
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Err(error.to_string()),
        _ => Ok(()),
    });
}
