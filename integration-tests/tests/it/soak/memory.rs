//! Memory, descriptors and threads of daemons that live long, from `/proc`.
//!
//! Does not own: who lives long. A life is what one process had at the end of each run; the lives of many runs say most,
//! and of these the last quarter is compared with the second: the first is for warming up. While daemons are killed all
//! the time, what all lives of a daemon had is compared in the same way, which shows what grows with the vault.

use std::{collections::BTreeMap, fs};

use super::{
    estate::{Estate, NAMES},
    trouble::Season,
};

/// Runs that a life needs to be judged.
const LONG: usize = 30;
/// How much more a daemon may have in its last quarter than in its second.
const GROWTH: f64 = 1.15;
/// The same for lives of all lengths, whose peaks come and go.
const STORM_GROWTH: f64 = 1.3;

/// What a process has: resident KiB, the most there ever were, descriptors, threads.
type Sample = [u64; 4];

#[derive(Default)]
pub struct Memory {
    lives: BTreeMap<(&'static str, u32), Vec<Sample>>,
    storms: BTreeMap<&'static str, Vec<Sample>>,
}

impl Memory {
    /// Writes down what every daemon has now.
    pub fn note(&mut self, estate: &Estate, season: Season) {
        for (which, name) in NAMES.into_iter().enumerate() {
            let pid = estate.daemon(which).pid();
            let sample = sample(pid);
            self.lives.entry((name, pid)).or_default().push(sample);
            if season == Season::Storms {
                self.storms.entry(name).or_default().push(sample);
            }
        }
    }

    /// No daemon may have grown, whether it lived long or came after many others.
    pub fn assert_flat(&self) {
        self.assert_storms_flat();
        self.assert_lives_flat();
    }

    fn assert_storms_flat(&self) {
        for (name, samples) in &self.storms {
            let [first, before, after] = quarters(samples);
            eprintln!(
                "{name} in {} runs with kills: RSS {:.0} KiB in the first quarter, {:.0} KiB in the second, {:.0} KiB in \
                 the last",
                samples.len(),
                first[0],
                before[0],
                after[0]
            );
            assert!(after[0] <= before[0] * STORM_GROWTH, "{name} grows with the vault: {samples:?}");
        }
    }

    fn assert_lives_flat(&self) {
        let long = self.lives.iter().filter(|(_, life)| life.len() >= LONG);
        let (mut judged, mut grown) = (0, Vec::new());
        for ((name, pid), life) in long {
            judged += 1;
            let last = &life[life.len() - life.len() / 4..];
            let [_, before, after] = quarters(life);
            eprintln!(
                "{name} ({pid}) over {} runs: RSS {:.0} KiB in the second quarter, {:.0} KiB in the last; most {} KiB; \
                 descriptors {:.1} and {:.1}, threads {:.1} and {:.1}",
                life.len(),
                before[0],
                after[0],
                life[life.len() - 1][1],
                before[2],
                after[2],
                before[3],
                after[3]
            );
            // Idle connections to the store come and go, so only what is always there counts.
            let kept = last.iter().map(|sample| sample[2]).min().unwrap_or_default() as f64;
            if after[0] > before[0] * GROWTH || kept > before[2] * 1.5 + 10.0 {
                grown.push((name, life));
            }
        }
        assert!(grown.is_empty(), "memory or descriptors grow: {grown:?}");
        assert!(judged >= NAMES.len(), "too few daemons lived long");
    }
}

/// The means of the first quarter, the second and the last.
fn quarters(samples: &[Sample]) -> [[f64; 4]; 3] {
    let quarter = samples.len() / 4;
    [&samples[..quarter], &samples[quarter..2 * quarter], &samples[samples.len() - quarter..]].map(means)
}

fn means(samples: &[Sample]) -> [f64; 4] {
    [0, 1, 2, 3].map(|at| samples.iter().map(|sample| sample[at] as f64).sum::<f64>() / samples.len() as f64)
}

fn sample(pid: u32) -> Sample {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("/proc has this field")
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count() as u64);
    [field("VmRSS:"), field("VmHWM:"), descriptors, field("Threads:")]
}
