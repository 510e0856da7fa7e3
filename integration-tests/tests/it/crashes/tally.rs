//! Numbers of many points: how soon work is resumed, and how much is sent again.
//!
//! Does not own: limits (`play`). Ratios are only told of points at which something large was unfinished: beside a few
//! kilobytes, the journals of another run are much.

use std::{fmt, time::Duration};

use super::play::Played;

/// Bytes from which on a ratio says something.
const LARGE: u64 = 1 << 20;

/// What points came to.
#[derive(Default)]
pub struct Tally {
    reached: u64,
    others: u64,
    resumed: Vec<Duration>,
    ended: Vec<Duration>,
    ratios: Vec<f64>,
    beyond: i64,
    uploads: usize,
}

impl Tally {
    /// Adds a point.
    pub fn add(&mut self, played: &Played) {
        let Some(numbers) = &played.numbers else {
            self.others += 1;
            return;
        };
        self.reached += 1;
        self.resumed.extend(numbers.resumed);
        self.ended.extend(numbers.ended);
        self.uploads += numbers.uploads;
        if numbers.unfinished >= LARGE {
            self.ratios.push(numbers.sent as f64 / numbers.unfinished as f64);
        }
        let beyond = i64::try_from(numbers.sent).expect("few bytes")
            - i64::try_from(numbers.unfinished).expect("few bytes");
        self.beyond = self.beyond.max(beyond);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reached, others, resumed, ended, ratios, beyond, uploads } = self;
        let seconds = |times: &[Duration]| {
            let mut times: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
            middle_and_most(&mut times)
        };
        write!(
            f,
            "{reached} points and {others} that say nothing new; seconds from restart to the next write: {}, to the \
             end of the run: {}; sent of what was unfinished: {}, at most {beyond} bytes beyond it; {uploads} uploads \
             left open",
            seconds(resumed),
            seconds(ended),
            middle_and_most(&mut ratios.clone()),
        )
    }
}

fn middle_and_most(numbers: &mut [f64]) -> String {
    numbers.sort_by(f64::total_cmp);
    match (numbers.get(numbers.len() / 2), numbers.last()) {
        (Some(middle), Some(most)) => format!("median {middle:.3}, most {most:.3}, of {}", numbers.len()),
        _ => "none".to_owned(),
    }
}
