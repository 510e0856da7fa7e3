//! What one side took, run by run.

use serde::Serialize;

use crate::{bench::Sizes, meter::Outcome};

/// One run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sample {
    /// Time, processor, memory.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What it stored, where that can be counted.
    pub stored: Option<Sizes>,
}

/// All timed runs.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// One more.
    pub fn add(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Seconds, of the run in the middle.
    pub fn wall(&self) -> f64 {
        self.median(|sample| sample.outcome.wall)
    }

    /// Seconds of processor, of the run in the middle.
    pub fn processor(&self) -> (f64, f64) {
        (self.median(|sample| sample.outcome.user), self.median(|sample| sample.outcome.system))
    }

    /// The shortest and the longest run, in seconds.
    pub fn spread(&self) -> (f64, f64) {
        let sorted = self.sorted(|sample| sample.outcome.wall);
        let end = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
        (end(sorted.first()), end(sorted.last()))
    }

    /// The most that any program held in any run.
    pub fn resident(&self) -> u64 {
        self.0.iter().map(|sample| sample.outcome.resident).max().unwrap_or_default()
    }

    /// The most anonymous memory of the program that is watched, and the most with mapped files.
    pub fn watched(&self) -> (u64, u64) {
        let most = |of: fn(&Sample) -> u64| self.0.iter().map(of).max().unwrap_or_default();
        (most(|sample| sample.outcome.watched.anonymous), most(|sample| sample.outcome.watched.resident))
    }

    /// All bytes that the last run stored.
    pub fn bytes(&self) -> Option<u64> {
        self.0.last().and_then(|sample| sample.stored).map(|stored| stored.all)
    }

    /// What all runs stored of Git's: packs, bundles and lists of refs.
    pub fn git_bytes(&self) -> u64 {
        self.0.iter().filter_map(|sample| sample.stored).map(|stored| stored.git).sum::<u64>()
            / self.0.len().max(1) as u64
    }

    fn sorted(&self, of: impl Fn(&Sample) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.0.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// The mean of the middle two where their number is even.
    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        let sorted = self.sorted(of);
        let middle = sorted.len() / 2;
        match (sorted.len() % 2, sorted.get(middle)) {
            (1, Some(value)) => *value,
            (_, Some(value)) => (sorted[middle - 1] + value) / 2.0,
            (_, None) => f64::NAN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(seconds: &[f64]) -> Samples {
        let mut samples = Samples::default();
        for wall in seconds {
            samples.add(Sample { outcome: Outcome { wall: *wall, ..Outcome::default() }, stored: None });
        }
        samples
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_middle_two() {
        assert_eq!(times(&[9.0, 1.0, 2.0]).wall(), 2.0);
        assert_eq!(times(&[4.0, 1.0, 2.0, 9.0]).wall(), 3.0);
        assert_eq!(times(&[4.0, 1.0, 9.0]).spread(), (1.0, 9.0));
        assert!(times(&[]).wall().is_nan());
    }
}
