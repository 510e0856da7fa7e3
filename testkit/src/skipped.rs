//! Tests that have nothing to do on a machine, told so that nobody takes them for passed.
//!
//! Does not own: whether that is all right, or tests that only the long suite has time for, which are `#[ignore]`. Runners
//! hide what a passing test prints, so the reason also goes into the file that `PACKHORSE_SKIPPED` names, which `make test`
//! shows at its end; where `PACKHORSE_SKIP_NOTHING` is set, skipping is failing.

use std::{env, fs::OpenOptions, io::Write as _, thread};

/// Tells why a test has nothing to do on this machine.
#[track_caller]
pub fn skipped(reason: &str) {
    let thread = thread::current();
    let line = format!("SKIPPED {}: {reason}", thread.name().unwrap_or("a test"));
    assert!(env::var_os("PACKHORSE_SKIP_NOTHING").is_none(), "{line}");
    let _ = writeln!(std::io::stderr(), "{line}");
    if let Some(file) = env::var_os("PACKHORSE_SKIPPED") {
        let file = OpenOptions::new().create(true).append(true).open(file);
        writeln!(file.expect("open the list of skipped tests"), "{line}")
            .expect("write the list of skipped tests");
    }
}
