//! The process of a side: carries out a script and prints what it took.
//!
//! Does not own: the script. A failed step ends the whole with what the program said.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
    process::{Child, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};

use super::{Call, Outcome, Peak, Script, Step, memory};
use crate::{loops::in_parallel, programs::isolated};

/// Reads the script, carries it out and prints the outcome as JSON.
pub fn carry_out(file: &Path) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let script: Script = serde_json::from_slice(&bytes).context("read the script")?;
    let peak = Mutex::new(Peak::default());
    let start = Instant::now();
    in_parallel(script.at_once, &script.tasks, |_, task| task.iter().try_for_each(|step| run(step, &peak)))?;
    let wall = start.elapsed().as_secs_f64();
    let watched = peak.into_inner().unwrap_or_else(PoisonError::into_inner);
    serde_json::to_writer(io::stdout(), &outcome(wall, watched)?).context("print what it took")
}

/// The kernel's sums of all children that ended, and of theirs.
fn outcome(wall: f64, watched: Peak) -> Result<Outcome> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("ask what the programs used")?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(Outcome {
        wall,
        user: seconds(usage.user_time()),
        system: seconds(usage.system_time()),
        resident: u64::try_from(usage.max_rss()).unwrap_or_default() * 1024,
        watched,
    })
}

fn run(step: &Step, peak: &Mutex<Peak>) -> Result<()> {
    match step {
        Step::Run(call) => call.run(peak),
        Step::Sync(path) => {
            let file = File::open(path).and_then(|file| file.sync_all());
            file.with_context(|| format!("sync {}", path.display()))
        }
    }
}

impl Call {
    fn run(&self, peak: &Mutex<Peak>) -> Result<()> {
        let mut child = self.start()?;
        let said = if self.watched { watch(&mut child, peak) } else { read_to_end(&mut child) }?;
        let status = child.wait().with_context(|| format!("wait for {}", self.program.display()))?;
        ensure!(
            status.success() || self.may_fail,
            "{} {}: {status}: {}",
            self.program.display(),
            self.args.join(" "),
            said.trim()
        );
        Ok(())
    }

    fn start(&self) -> Result<Child> {
        let mut command = isolated(&self.program);
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stderr(Stdio::piped());
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        if let Some(path) = &self.input {
            command.stdin(File::open(path).with_context(|| format!("open {}", path.display()))?);
        } else if self.words.is_some() {
            command.stdin(Stdio::piped());
        }
        if let Some(path) = &self.output {
            command.stdout(File::create(path).with_context(|| format!("create {}", path.display()))?);
        }
        let mut child = command.spawn().with_context(|| format!("start {}", self.program.display()))?;
        if let (Some(words), Some(mut stdin)) = (&self.words, child.stdin.take()) {
            // A program that ends early closes the pipe; its own words say why.
            let _ = stdin.write_all(words.as_bytes());
        }
        Ok(child)
    }
}

/// Reads what a program says until it closes its standard error.
fn read_to_end(child: &mut Child) -> Result<String> {
    let mut said = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_end(&mut said).context("read what a program says")?;
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// The same while its memory is looked at.
fn watch(child: &mut Child, peak: &Mutex<Peak>) -> Result<String> {
    let pid = child.id();
    let (stop, until) = mpsc::sync_channel::<()>(0);
    thread::scope(|scope| {
        let watcher = scope.spawn(move || memory::watch(pid, &until));
        let said = read_to_end(child);
        drop(stop);
        let seen = watcher.join().unwrap_or_default();
        let mut peak = peak.lock().unwrap_or_else(PoisonError::into_inner);
        *peak = peak.max(seen);
        said
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Call {
        Call::shell(line.to_owned())
    }

    fn run_it(call: Call) -> Result<()> {
        run(&Step::Run(call), &Mutex::new(Peak::default()))
    }

    #[test]
    fn a_failure_says_what_the_program_said_unless_it_may_fail() {
        let error = run_it(shell("echo some reason >&2; exit 3")).unwrap_err().to_string();
        assert!(error.contains("some reason"), "{error}");
        run_it(shell("exit 3").may_fail()).unwrap();
        assert!(run_it(shell("false | cat")).is_err(), "no part of a pipe may fail");
    }

    #[test]
    fn words_go_in_and_a_file_comes_out() {
        let out = std::env::temp_dir().join(format!("packhorse-bench-{}", std::process::id()));
        run_it(Call::new("cat").words("in\n").output(out.clone())).unwrap();
        assert_eq!(fs::read_to_string(&out).unwrap(), "in\n");
        fs::remove_file(out).unwrap();
    }

    #[test]
    fn the_memory_of_the_watched_program_is_seen() {
        let peak = Mutex::new(Peak::default());
        run(&Step::Run(shell("read -r -t 0.2 < <(sleep 1) || true").watched()), &peak).unwrap();
        assert!(peak.into_inner().unwrap().resident > 100_000);
    }
}
