//! A child process in a process group of its own, with a controlled environment and its diagnostics read as it runs.
//!
//! Does not own: what is run or what the output means. Whatever way the owner goes (error, cancellation, panic, a
//! dropped future), the whole group is killed, so no `pg_dump`, `psql` or `tar` outlives its run. Being in its own
//! group, a child also does not see the Ctrl-C that is meant for us: stopping is decided here, by the token.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    process::{ExitStatus, Stdio},
};

use packhorse_model::{ErrorKind, Problem, Subject};
use packhorse_service::{Keeper, Kept};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{ChildStderr, Command},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Longest line of diagnostics that is kept whole.
const LINE: u64 = 16 * 1024;

/// A running child; its group is killed when this is dropped.
pub(crate) struct Child {
    inner: tokio::process::Child,
    program: String,
    /// Ends it when this process is killed.
    _kept: Option<Kept>,
}

impl Child {
    /// Starts `program` with nothing but this environment; all three standard streams are pipes.
    pub(crate) fn start(
        program: &OsStr,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Problem> {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let program = program.to_string_lossy().into_owned();
        let keeper = Keeper::ready();
        match command.spawn() {
            Ok(inner) => Ok(Self { _kept: inner.id().map(|leader| keeper.keep(leader)), inner, program }),
            Err(error) => Err(Problem::new(ErrorKind::Unavailable, Subject::Host, "start program")
                .on(program)
                .answered(error)
                .next("install it, or correct where the configuration looks for it")),
        }
    }

    /// The child's input, as a blocking file.
    pub(crate) fn stdin(&mut self) -> Result<File, Problem> {
        let stdin = self.inner.stdin.take().map(|pipe| pipe.into_owned_fd());
        self.file(stdin)
    }

    /// The child's output, as a blocking file.
    pub(crate) fn stdout(&mut self) -> Result<File, Problem> {
        let stdout = self.inner.stdout.take().map(|pipe| pipe.into_owned_fd());
        self.file(stdout)
    }

    /// Reads the child's diagnostics line by line into `collector`, and gives it back at their end.
    pub(crate) fn stderr<C: Send + 'static>(
        &mut self,
        collector: C,
        each: impl FnMut(&mut C, &str) + Send + 'static,
    ) -> Result<JoinHandle<C>, Problem> {
        let stderr = self.inner.stderr.take().ok_or_else(|| self.lost("taken twice"))?;
        #[expect(clippy::disallowed_methods, reason = "ends with the child, whose end is always waited for")]
        let reading = tokio::spawn(read_lines(stderr, collector, each));
        Ok(reading)
    }

    /// Waits for the child's end, or kills its group when asked to stop.
    pub(crate) async fn wait(&mut self, cancel: &CancellationToken) -> Result<ExitStatus, Problem> {
        let ended = tokio::select! {
            ended = self.inner.wait() => ended,
            () = cancel.cancelled() => {
                self.kill();
                self.inner.wait().await
            }
        };
        ended.map_err(|error| self.lost(error))
    }

    /// Kills the child and what it started.
    pub(crate) fn kill(&self) {
        // `id` is none once the child was waited for, so a recycled number is never signalled.
        let pid = self.inner.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    fn file(&self, descriptor: Option<std::io::Result<std::os::fd::OwnedFd>>) -> Result<File, Problem> {
        match descriptor {
            Some(Ok(descriptor)) => Ok(File::from(descriptor)),
            Some(Err(error)) => Err(self.lost(error)),
            None => Err(self.lost("taken twice")),
        }
    }

    fn lost(&self, answer: impl std::fmt::Display) -> Problem {
        Problem::new(ErrorKind::Internal, Subject::Host, "run program").on(&self.program).answered(answer)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn read_lines<C>(stderr: ChildStderr, mut collector: C, mut each: impl FnMut(&mut C, &str)) -> C {
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        // An unreadable pipe ends the diagnostics; the exit status still tells.
        match (&mut lines).take(LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return collector,
            Ok(_) => each(&mut collector, String::from_utf8_lossy(&line).trim_end()),
        }
    }
}

/// The last lines of a child's diagnostics: enough to explain, bounded whatever it says.
#[derive(Default)]
pub(crate) struct LastLines(std::collections::VecDeque<String>);

impl LastLines {
    const KEPT: usize = 12;
    const WIDTH: usize = 500;

    /// Adds a line and forgets the oldest.
    pub(crate) fn push(&mut self, line: &str) {
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back(line.chars().take(Self::WIDTH).collect());
    }

    /// The lines as one text; says so when there are none.
    pub(crate) fn text(&self, status: Option<ExitStatus>) -> String {
        let said: Vec<&str> = self.0.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
        match status {
            Some(status) if said.is_empty() => format!("{status}, without a word"),
            Some(status) if status.code().is_none() => format!("{status}: {}", said.join("\n")),
            _ => said.join("\n"),
        }
    }
}
