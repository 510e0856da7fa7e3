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
#[expect(clippy::disallowed_methods, reason = "the one place that pauses between looks")]
pub fn wait_until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(value) => return value,
            Err(complaint) if start.elapsed() >= limit => {
                panic!("waited {limit:?} for {what}: {complaint}")
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
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
    #[should_panic(expected = "for rain: still dry")]
    fn the_complaint_is_shown_at_the_deadline() {
        wait_until::<()>("rain", Duration::from_millis(1), || Err("still dry".to_owned()));
    }
}
