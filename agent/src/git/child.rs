//! One git process: its pipes, its end, its errors.
//!
//! Does not own: what flows through the pipes. A child never outlives its handle: it is killed when the handle is
//! dropped and when the cancel token fires, so a stuck git cannot hold a storage or survive a stopped agent.

use std::{
    io::{self, Read, Write},
    process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

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
        let mut process = command.spawn()?;
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
        Ok(Self { process, stdin, stdout, stderr, watch, cancel: cancel.clone() })
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
        let pid = rustix::process::Pid::from_child(&lock(&self.process));
        let ended = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) =
            rustix::process::waitid(rustix::process::WaitId::Pid(pid), ended)
        {}
        let status = lock(&self.process).wait()?;
        Ok(Finished { status, stderr, cancelled: self.cancel.is_cancelled() })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.watch.abort();
        let mut process = lock(&self.process);
        if !matches!(process.try_wait(), Ok(Some(_))) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

async fn kill_when_cancelled(process: Arc<Mutex<std::process::Child>>, cancel: CancellationToken) {
    cancel.cancelled().await;
    // Does nothing to a process that was waited for, so no other process can be hit.
    let _ = lock(&process).kill();
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
