//! A running process of ours: its lines as they come, signals, and its end.
//!
//! Does not own: when a daemon is ready; a test waits for the line that says so. Threads read both outputs all the time,
//! so the process never blocks on a full pipe. It is killed when the handle goes out of scope.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{deadline::wait_until, processes::Binary};

const LONGEST_SHUTDOWN: Duration = Duration::from_secs(60);
/// Time for what a process that ended has printed to be read; a child that outlives it may keep its outputs open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A process that runs until it is stopped.
pub struct Daemon {
    call: String,
    child: Child,
    stdout: Arc<Lines>,
    stderr: Arc<Lines>,
}

#[derive(Default)]
struct Lines {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Daemon {
    /// Starts one of our programs.
    pub fn spawn<A: AsRef<OsStr>>(binary: Binary, args: impl IntoIterator<Item = A>) -> Self {
        let mut command = binary.command();
        command.args(args);
        Self::spawn_command(command)
    }

    /// Starts any command, such as `Binary::command` with more environment.
    pub fn spawn_command(mut command: Command) -> Self {
        let call = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {call}: {error}"));
        let stdout = Lines::read(child.stdout.take().expect("stdout was just piped"));
        let stderr = Lines::read(child.stderr.take().expect("stderr was just piped"));
        Self { call, child, stdout, stderr }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has closed both outputs, which it does by ending.
    pub fn has_ended(&self) -> bool {
        self.stdout.lock().ended && self.stderr.lock().ended
    }

    /// Everything on standard error so far.
    pub fn lines(&self) -> Vec<String> {
        self.stderr.lock().lines.clone()
    }

    /// Everything on standard output so far.
    pub fn stdout_lines(&self) -> Vec<String> {
        self.stdout.lock().lines.clone()
    }

    /// Waits for a line on standard error that contains this text and gives the whole line.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str, limit: Duration) -> String {
        self.stderr
            .wait_for(text, limit)
            .unwrap_or_else(|why| self.fail(&format!("no line with {text:?}: {why}")))
    }

    /// Waits for a line on standard output that contains this text and gives the whole line.
    #[track_caller]
    pub fn wait_for_stdout(&self, text: &str, limit: Duration) -> String {
        self.stdout
            .wait_for(text, limit)
            .unwrap_or_else(|why| self.fail(&format!("no line with {text:?}: {why}")))
    }

    /// Panics when a line on standard error says `WARN` or `ERROR` and contains none of the allowed texts.
    #[track_caller]
    pub fn assert_no_complaints(&self, allowed: &[&str]) {
        let lines = self.lines();
        let complaint = |line: &&String| line.contains("WARN") || line.contains("ERROR");
        let listed = |line: &&String| allowed.iter().any(|text| line.contains(text));
        if let Some(line) = lines.iter().filter(complaint).find(|line| !listed(line)) {
            self.fail(&format!("unlisted complaint: {line}"));
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has a pid");
        kill_process(pid, signal).unwrap_or_else(|error| self.fail(&format!("send {signal:?}: {error}")));
    }

    /// Kills it with SIGKILL, as a crash or the kernel would, and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap_or_else(|error| self.fail(&format!("kill: {error}")));
        self.wait(LONGEST_SHUTDOWN);
    }

    /// Asks it to stop with SIGTERM and gives its exit code, or 128 plus the signal that ended it.
    pub fn terminate(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.wait(LONGEST_SHUTDOWN)
    }

    /// Kills it unless it has ended.
    pub fn kill_if_alive(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }

    /// Its exit code, or 128 plus the signal that ended it, when it has ended.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.child.try_wait();
        status.unwrap_or_else(|error| self.fail(&format!("wait: {error}"))).map(exit_code)
    }

    /// Waits for its end and gives its exit code, or 128 plus the signal that ended it.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> i32 {
        let call = &self.call;
        let child = &mut self.child;
        let stderr = &self.stderr;
        let status = wait_until(&format!("the end of {call}"), limit, || {
            let status = child.try_wait().unwrap_or_else(|error| panic!("wait for {call}: {error}"));
            status.ok_or_else(|| format!("still running\n{}", stderr.lock().lines.join("\n")))
        });
        self.stdout.wait_for_end(LAST_WORDS);
        self.stderr.wait_for_end(LAST_WORDS);
        exit_code(status)
    }

    #[track_caller]
    fn fail(&self, why: &str) -> ! {
        let (stdout, stderr) = (self.stdout_lines().join("\n"), self.lines().join("\n"));
        panic!("{}: {why}\n--- stdout\n{stdout}\n--- stderr\n{stderr}", self.call)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only when it is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lines {
    fn read(source: impl Read + Send + 'static) -> Arc<Self> {
        let lines = Arc::new(Self::default());
        let filled = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                filled.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
                filled.changed.notify_all();
            }
            filled.lock().ended = true;
            filled.changed.notify_all();
        });
        lines
    }

    /// Waits until everything was read, or for this long.
    fn wait_for_end(&self, limit: Duration) {
        let ended = self.changed.wait_timeout_while(self.lock(), limit, |state| !state.ended);
        drop(ended.expect("no holder of this lock panics"));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn wait_for(&self, text: &str, limit: Duration) -> Result<String, String> {
        let end = Instant::now() + limit;
        let mut state = self.lock();
        let mut seen = 0;
        loop {
            if let Some(line) = state.lines[seen..].iter().find(|line| line.contains(text)) {
                return Ok(line.clone());
            }
            if state.ended {
                return Err("the process ended".to_owned());
            }
            seen = state.lines.len();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("waited {limit:?}"));
            }
            state = self.changed.wait_timeout(state, left).expect("no holder of this lock panics").0;
        }
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().expect("a process ends by code or signal"))
}

#[cfg(test)]
mod tests;
