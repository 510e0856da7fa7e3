//! One git process: its pipes, its end, its errors.
//!
//! Does not own: what flows through the pipes. A child never outlives its handle: it is killed when the handle is
//! dropped and when the cancel token fires, so a stuck git cannot hold a storage or survive a stopped agent; when the agent
//! itself is killed, the keeper ends it. It has a process group of its own, so what it started goes with it, and no Ctrl-C
//! reaches it but ours.

use std::{
    io::{self, Read, Write},
    os::unix::process::CommandExt as _,
    process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use packhorse_service::{Keeper, Kept};
use rustix::process::{Pid, Signal};
use tokio_util::sync::CancellationToken;

/// Stderr kept for messages: the first lines name the cause.
const STDERR_KEPT: u64 = 8 * 1024;
/// What stdout's pipe is enlarged to, so that git and its reader alternate less often.
const PIPE_BYTES: usize = 1 << 20;

/// A running git.
pub struct Child {
    process: Arc<Mutex<std::process::Child>>,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<JoinHandle<String>>,
    watch: tokio::task::JoinHandle<()>,
    cancel: CancellationToken,
    kept: Option<Kept>,
}

/// How a git ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// The start of its stderr.
    pub stderr: String,
    /// Whether it was killed because a stop was asked for.
    pub cancelled: bool,
}

impl Child {
    /// Starts a command with all three pipes. Must be called within a tokio runtime.
    pub fn spawn(mut command: Command, cancel: &CancellationToken) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0);
        let keeper = Keeper::ready();
        let mut process = command.spawn()?;
        let kept = Some(keeper.keep(process.id()));
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        if let Some(stdout) = &stdout {
            // A smaller pipe only costs speed.
            let _ = rustix::pipe::fcntl_setpipe_size(stdout, PIPE_BYTES);
        }
        let process = Arc::new(Mutex::new(process));
        let watching = kill_when_cancelled(Arc::clone(&process), cancel.clone());
        #[expect(clippy::disallowed_methods, reason = "ends with this handle, which aborts it")]
        let watch = tokio::spawn(watching);
        let stderr = stderr.map(|stderr| std::thread::spawn(move || read_stderr(stderr)));
        Ok(Self { process, stdin, stdout, stderr, watch, cancel: cancel.clone(), kept })
    }

    /// Writes all of stdin from another thread, then closes it; a child that stops reading is told by its exit.
    pub fn feed(&mut self, input: Vec<u8>) {
        if let Some(mut stdin) = self.stdin.take() {
            if input.len() <= 4096 {
                // Fits the pipe, so it cannot block.
                let _ = stdin.write_all(&input);
                return;
            }
            std::thread::spawn(move || {
                let _ = stdin.write_all(&input);
            });
        }
    }

    /// The stream that git reads, for whoever asks question after question.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// The stream that git writes.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.stdout.take()
    }

    /// Waits for the end.
    pub fn finish(mut self) -> io::Result<Finished> {
        drop(self.stdin.take());
        drop(self.stdout.take());
        let stderr = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        // Waits without the lock, and without reaping, so that a stop can still kill a git that hangs.
        let pid = Pid::from_child(&lock(&self.process));
        let ended = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) =
            rustix::process::waitid(rustix::process::WaitId::Pid(pid), ended)
        {}
        drop(self.kept.take());
        let status = lock(&self.process).wait()?;
        Ok(Finished { status, stderr, cancelled: self.cancel.is_cancelled() })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.watch.abort();
        let mut process = lock(&self.process);
        kill(&mut process);
        drop(self.kept.take());
        let _ = process.wait();
    }
}

async fn kill_when_cancelled(process: Arc<Mutex<std::process::Child>>, cancel: CancellationToken) {
    cancel.cancelled().await;
    kill(&mut lock(&process));
}

/// Kills a child and what it started, unless it was waited for: then its number may be another's.
fn kill(process: &mut std::process::Child) {
    if matches!(process.try_wait(), Ok(Some(_))) {
        return;
    }
    let _ = rustix::process::kill_process_group(Pid::from_child(process), Signal::KILL);
}

fn lock(process: &Mutex<std::process::Child>) -> std::sync::MutexGuard<'_, std::process::Child> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_stderr(mut stderr: ChildStderr) -> String {
    let mut kept = Vec::new();
    let _ = (&mut stderr).take(STDERR_KEPT).read_to_end(&mut kept);
    let _ = io::copy(&mut stderr, &mut io::sink());
    String::from_utf8_lossy(&kept).trim().to_owned()
}
