//! Numbers of many points: how soon work is resumed, and how much is sent again.
//!
//! Does not own: limits (`play`). The ratio of single points is only told where something large was unfinished: beside a
//! few kilobytes, the journals of another run are much. The ratio of all sums has every point in it at which nothing
//! changed before the next run.

use std::{fmt, time::Duration};

use super::play::{Numbers, Played};

/// Bytes from which on a ratio says something.
const LARGE: u64 = 1 << 20;

/// What points came to.
#[derive(Default)]
pub struct Tally {
    reached: u64,
    unreached: u64,
    others: u64,
    resumed: Vec<Duration>,
    ended: Vec<Duration>,
    ratios: Vec<f64>,
    sent: u64,
    unfinished: u64,
    beyond: i64,
    uploads: usize,
}

impl Tally {
    /// Adds a point.
    pub fn add(&mut self, played: &Played) {
        let Some(numbers) = &played.numbers else {
            let count = if played.held.is_some() { &mut self.others } else { &mut self.unreached };
            *count += 1;
            return;
        };
        self.reached += 1;
        self.resumed.extend(numbers.resumed);
        self.ended.extend(numbers.ended);
        self.uploads += numbers.uploads;
        if !numbers.moved {
            self.add_bytes(numbers);
        }
    }

    fn add_bytes(&mut self, numbers: &Numbers) {
        self.sent += numbers.sent;
        self.unfinished += numbers.unfinished;
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
        let Self { reached, unreached, others, resumed, ended, ratios, sent, unfinished, beyond, uploads } =
            self;
        let seconds = |times: &[Duration]| {
            let mut times: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
            middle_and_most(&mut times)
        };
        write!(
            f,
            "{reached} points, {others} that say nothing new, {unreached} that met no request; seconds from the kill to \
             the next write: {}, to the end of the run: {}; {sent} bytes sent for {unfinished} unfinished ({:.3}), of \
             one point: {}, at most {beyond} bytes beyond it; {uploads} uploads left open",
            seconds(resumed),
            seconds(ended),
            *sent as f64 / (*unfinished).max(1) as f64,
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
