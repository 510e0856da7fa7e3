//! One call of `backupctl` and what came of it.
//!
//! Does not own: daemons (`daemon`). Standard output and standard error are kept apart, as operators' scripts see them.

use std::{
    ffi::OsStr,
    os::unix::process::ExitStatusExt,
    process::{Command, Output, Stdio},
};

use crate::{
    command::hermetic_command,
    processes::{Binary, Daemon},
    terminal::Terminal,
};

/// A call of `backupctl` in the making.
#[derive(Debug)]
pub struct Backupctl(Command);

/// What a finished call left.
#[derive(Clone, Debug)]
pub struct CliOutput {
    /// The exit code, or 128 plus the signal that ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    call: String,
}

impl Backupctl {
    /// A call without arguments.
    #[expect(clippy::new_without_default, reason = "a call of a program is not a value with a default")]
    pub fn new() -> Self {
        Self(Binary::Backupctl.command())
    }

    /// Makes the vault of a `file://` URL, unless it is there, and gives the URL.
    #[track_caller]
    pub fn vault_made(url: String) -> String {
        let folder = url.strip_prefix("file://").unwrap_or_else(|| panic!("{url} is no folder"));
        let folder = std::path::Path::new(folder);
        if !folder.join("packhorse/format.json").exists() {
            let parent = folder.parent().unwrap_or(folder);
            std::fs::create_dir_all(parent).unwrap_or_else(|e| panic!("create {}: {e}", parent.display()));
            Self::new().args(["vault", "init", "--vault", &url]).run().expect_success();
        }
        url
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.0.args(args);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Sets variables of its environment, such as those of `CephGateway::env`.
    #[must_use]
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.0.envs(variables);
        self
    }

    /// The same call, whose system calls of this kind fail as on a dying disk; `which` as strace has it, such as
    /// `syncfs,fsync` or `syncfs:when=2+`.
    #[must_use]
    pub fn on_dying_disk(self, which: &str) -> Self {
        let (calls, when) =
            which.split_once(':').map_or((which, String::new()), |(calls, when)| (calls, format!(":{when}")));
        let mut strace = hermetic_command("strace");
        strace.args(["--follow-forks", "--seccomp-bpf", "--quiet=all", "--output=/dev/null"]);
        strace.arg(format!("--trace={calls}")).arg(format!("--inject={calls}:error=EIO{when}"));
        strace.arg(self.0.get_program()).args(self.0.get_args());
        for (name, value) in self.0.get_envs() {
            if let Some(value) = value {
                strace.env(name, value);
            }
        }
        Self(strace)
    }

    /// Runs it to its end.
    pub fn run(mut self) -> CliOutput {
        let call = format!("{:?}", self.0);
        let output = self.0.stdin(Stdio::null()).output();
        CliOutput::new(output.unwrap_or_else(|error| panic!("start {call}: {error}")), call)
    }

    /// Starts it with a terminal of this many columns as its standard error.
    pub fn on_terminal(self, columns: u16) -> Terminal {
        Terminal::spawn(self.0, columns)
    }

    /// Starts it and leaves it running, for tests that signal or kill it.
    pub fn spawn(self) -> Daemon {
        Daemon::spawn_command(self.0)
    }
}

impl From<Command> for Backupctl {
    /// A call by a command that runs it elsewhere, such as `Host::binary`.
    fn from(command: Command) -> Self {
        Self(command)
    }
}

impl CliOutput {
    fn new(output: Output, call: String) -> Self {
        let signal = || 128 + output.status.signal().expect("a process ends by code or signal");
        Self {
            code: output.status.code().unwrap_or_else(signal),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            call,
        }
    }

    /// Panics with everything that was printed unless the exit code is this one.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        let Self { code: actual, stdout, stderr, call } = &self;
        assert!(
            *actual == code,
            "{call}: exit code {actual}, not {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        );
        self
    }

    /// Panics with everything that was printed unless it succeeded.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        self.expect_code(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(script: &str) -> CliOutput {
        let mut command = crate::hermetic_command("sh");
        command.args(["-c", script]);
        Backupctl(command).env("WORD", "hello").run()
    }

    #[test]
    fn code_signal_and_both_outputs_are_kept() {
        let output = call("echo $WORD; echo why >&2; exit 3").expect_code(3);
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("hello\n", "why\n"));
        call("kill -9 $$").expect_code(137);
    }

    #[test]
    #[should_panic(expected = "exit code 1, not 0")]
    fn an_unexpected_code_shows_the_output() {
        call("exit 1").expect_success();
    }
}
