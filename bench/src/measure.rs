//! Alternating repetitions of two sides, and what they took.
//!
//! The sides alternate so that a machine that gets slower or busier meets both; medians are compared. What has to be
//! prepared or removed is not timed, and the disk is idle again before the clock starts.

use std::{
    path::Path,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Serialize, Serializer};

use crate::{
    memory::{self, Peak},
    programs::{checked, isolated},
};

/// The times of one side, shortest first.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

/// One measurement, finished.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What was done.
    pub work: String,
    /// The command of the peer.
    pub peer_command: String,
    /// Its times in seconds.
    pub peer: Times,
    /// Ours.
    pub ours: Times,
    /// What is compared with the goal.
    pub ratio: f64,
    /// What it should be.
    pub goal: Goal,
    /// Whether it is.
    pub met: Option<bool>,
    /// Memory of backupctl, without git.
    pub peak: Peak,
    /// What lies in the vault, or was restored.
    pub bytes: u64,
}

/// What a ratio should be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Our time is at most this much of the peer's.
    TimeAtMost(f64),
    /// The peer's time is at least this much of ours.
    FasterAtLeast(f64),
    /// Only shown, because the repository is too small for the goal.
    None,
}

/// What a side that is ours hands back.
pub struct Sample {
    /// How long backupctl took, from its start to its end.
    pub took: Duration,
    /// Its memory.
    pub peak: Peak,
    /// What lies in the vault, or was restored.
    pub bytes: u64,
}

/// What is measured.
pub struct Comparison<P, O> {
    /// What is done.
    pub work: String,
    /// The command of the peer, as it is shown.
    pub peer_command: String,
    /// What the ratio should be.
    pub goal: Goal,
    /// The peer; says how long it took.
    pub peer: P,
    /// Ours.
    pub ours: O,
}

impl<P: FnMut() -> Result<Duration>, O: FnMut() -> Result<Sample>> Comparison<P, O> {
    /// Runs both sides in turn. Each first runs once untimed, so that both read from the page cache.
    pub fn run(mut self, repetitions: u32) -> Result<Row> {
        let (mut peer, mut ours) = (Times::default(), Times::default());
        let (mut peak, mut bytes) = (Peak::default(), 0);
        for repetition in 0..=repetitions {
            settle()?;
            let theirs = (self.peer)()?;
            settle()?;
            let sample = (self.ours)()?;
            if repetition > 0 {
                peer.add(theirs);
                ours.add(sample.took);
            }
            peak = peak.max(sample.peak);
            bytes = sample.bytes;
        }
        let (ratio, met) = self.goal.judge(peer.median(), ours.median());
        let Self { work, peer_command, goal, .. } = self;
        Ok(Row { work, peer_command, peer, ours, ratio, goal, met, peak, bytes })
    }
}

impl Goal {
    fn judge(self, peer: f64, ours: f64) -> (f64, Option<bool>) {
        match self {
            Self::TimeAtMost(goal) => (ours / peer, Some(ours / peer <= goal)),
            Self::FasterAtLeast(goal) => (peer / ours, Some(peer / ours >= goal)),
            Self::None => (ours / peer, None),
        }
    }
}

impl Times {
    fn add(&mut self, time: Duration) {
        let at = self.0.partition_point(|known| *known < time);
        self.0.insert(at, time);
    }

    /// In seconds; the mean of the middle two where their number is even.
    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        match (self.0.len() % 2, self.0.get(middle)) {
            (1, Some(time)) => time.as_secs_f64(),
            (_, Some(time)) => (self.0[middle - 1] + *time).as_secs_f64() / 2.0,
            (_, None) => f64::NAN,
        }
    }

    /// The shortest and the longest, in seconds.
    pub fn spread(&self) -> (f64, f64) {
        let seconds = |time: Option<&Duration>| time.map_or(f64::NAN, Duration::as_secs_f64);
        (seconds(self.0.first()), seconds(self.0.last()))
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Duration::as_secs_f64))
    }
}

/// How long something takes.
pub fn timed(run: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed())
}

/// Runs backupctl and watches its memory.
pub fn timed_with_memory(command: &mut Command) -> Result<(Duration, Peak)> {
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("start {}", command.get_program().display()))?;
    let pid = child.id();
    let (stop, until) = mpsc::sync_channel(0);
    let (ended, took, peak) = thread::scope(|scope| {
        let watcher = scope.spawn(move || memory::watch(pid, &until));
        let ended = child.wait();
        let took = start.elapsed();
        drop(stop);
        (ended, took, watcher.join().unwrap_or_default())
    });
    let status = ended.context("wait for backupctl")?;
    ensure!(status.success(), "{command:?}: {status}; run it again by hand to see why");
    Ok((took, peak))
}

/// Waits until what earlier work wrote is on the disk.
fn settle() -> Result<()> {
    checked(&mut isolated(Path::new("sync")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_middle_two() {
        let times = |seconds: &[u64]| {
            let mut times = Times::default();
            seconds.iter().for_each(|s| times.add(Duration::from_secs(*s)));
            times
        };
        assert_eq!(times(&[9, 1, 2]).median(), 2.0);
        assert_eq!(times(&[4, 1, 2, 9]).median(), 3.0);
        assert_eq!(times(&[4, 1, 9]).spread(), (1.0, 9.0));
        assert!(times(&[]).median().is_nan());
    }

    #[test]
    fn a_goal_is_a_share_of_time_or_a_speed() {
        assert_eq!(Goal::TimeAtMost(0.6).judge(10.0, 5.0), (0.5, Some(true)));
        assert_eq!(Goal::FasterAtLeast(3.0).judge(10.0, 5.0), (2.0, Some(false)));
    }
}
