//! Waiting for a condition, with a deadline: the only place in the test kit that pauses.
//!
//! Does not own: the conditions. A condition that never comes true ends the test with its name and last state instead
//! of hanging it.

use std::{
    thread,
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_millis(20);

/// Calls `condition` until it gives a value, and panics with its last complaint after `limit`.
pub fn wait_until<T>(what: &str, limit: Duration, condition: impl FnMut() -> Result<T, String>) -> T {
    wait_for(limit, condition).unwrap_or_else(|complaint| panic!("waited {limit:?} for {what}: {complaint}"))
}

/// Calls `condition` until it gives a value, or gives its last complaint after `limit`.
#[expect(clippy::disallowed_methods, reason = "the one place that pauses between looks")]
pub(crate) fn wait_for<T>(
    limit: Duration,
    mut condition: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(complaint) if start.elapsed() >= limit => return Err(complaint),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Panics as soon as `condition` complains within `time`: for what must not happen, and would have by then.
#[track_caller]
pub fn assert_stays(what: &str, time: Duration, mut condition: impl FnMut() -> Result<(), String>) {
    let complaint = wait_for(time, || condition().map_or_else(Ok, |()| Err(String::new())));
    assert!(complaint.is_err(), "{what} did not stay so: {}", complaint.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_returned_as_soon_as_there_is_one() {
        let mut calls = 0;
        let value = wait_until("the third call", Duration::from_secs(5), || {
            calls += 1;
            if calls == 3 { Ok(calls) } else { Err("too early".to_owned()) }
        });
        assert_eq!(value, 3);
    }

    #[test]
    #[should_panic(expected = "drought did not stay so: a drop")]
    fn what_does_not_stay_is_told() {
        let mut calls = 0;
        assert_stays("drought", Duration::from_secs(5), || {
            calls += 1;
            if calls == 3 { Err("a drop".to_owned()) } else { Ok(()) }
        });
    }

    #[test]
    fn what_stays_takes_its_time() {
        assert_stays("drought", Duration::from_millis(1), || Ok(()));
    }

    #[test]
    #[should_panic(expected = "for rain: still dry")]
    fn the_complaint_is_shown_at_the_deadline() {
        wait_until::<()>("rain", Duration::from_millis(1), || Err("still dry".to_owned()));
    }
}
