//! Git child processes of a restore.
//!
//! Does not own: what git is asked, or its environment (`crate::git`). No hook takes part. A child is killed
//! when the restore is cancelled or the thread that waits for it goes away, and its last words become the problem.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use packhorse_model::{ErrorKind, Problem, Subject};
use packhorse_service::Keeper;
use tokio::{io::AsyncWriteExt, process::Command, runtime::Handle, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::git::Git;

/// How to run git.
#[derive(Clone)]
pub(super) struct GitChild {
    git: Git,
    cancel: CancellationToken,
    /// One permit for each child at once.
    turns: Arc<Semaphore>,
}

/// What a child reads.
pub(super) enum Input {
    /// A file from its current position.
    File(File),
    /// These bytes.
    Bytes(Vec<u8>),
}

impl GitChild {
    /// Runs this program until the token is cancelled, so many times at once.
    pub(super) fn new(program: PathBuf, cancel: CancellationToken, at_once: usize) -> Self {
        Self { git: Git::new(program), cancel, turns: Arc::new(Semaphore::new(at_once)) }
    }

    /// What cancels the restore.
    pub(super) fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Whether the restore was cancelled.
    pub(super) fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// A git command, in a repository or in none.
    pub(super) fn command(&self, repository: Option<&Path>) -> Command {
        let mut command = Command::from(self.git.bare_command());
        command.kill_on_drop(true);
        // The storage as a whole is made durable at the end.
        command.args(["-c", "core.fsync=none", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0"]);
        if let Some(repository) = repository {
            command.arg("--git-dir").arg(repository);
        }
        command
    }

    /// Runs a command to its end and gives its output. Blocking.
    pub(super) fn run(&self, command: Command, what: &str, input: Option<Input>) -> Result<Vec<u8>, Problem> {
        self.unless_stopped(what, self.finish(command, what, input))?
    }

    /// Waits for this, unless the restore is cancelled before it has come. Blocking.
    pub(super) fn unless_stopped<T>(&self, what: &str, work: impl Future<Output = T>) -> Result<T, Problem> {
        Handle::current().block_on(async {
            tokio::select! {
                () = self.cancel.cancelled() => Err(Problem::cancelled(what)),
                done = work => Ok(done),
            }
        })
    }

    async fn finish(
        &self,
        mut command: Command,
        what: &str,
        input: Option<Input>,
    ) -> Result<Vec<u8>, Problem> {
        let failed = |answer: String| {
            Problem::new(ErrorKind::Internal, Subject::Host, what)
                .on(self.git.program().display())
                .answered(answer)
        };
        let (stdin, bytes) = match input {
            None => (Stdio::null(), Vec::new()),
            Some(Input::File(file)) => (Stdio::from(file), Vec::new()),
            Some(Input::Bytes(bytes)) => (Stdio::piped(), bytes),
        };
        // The semaphore is never closed, and no child waits for another.
        let _turn = self.turns.acquire().await;
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0);
        let keeper = Keeper::ready();
        let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let _kept = child.id().map(|leader| keeper.keep(leader));
        let stdin = child.stdin.take();
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A child that ends early says why by its status.
                let _ = stdin.write_all(&bytes).await;
            }
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), feed);
        let output = output.map_err(|e| failed(e.to_string()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = words.lines().rev().take(3).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Err(failed(format!("{}: {}", output.status, last.join("; "))))
    }
}
