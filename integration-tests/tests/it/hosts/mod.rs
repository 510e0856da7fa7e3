//! Several hosts: agents, coordinator, database, store and operator in network namespaces of their own, with TLS between
//! them, while links are cut, lossy, slow and far. Every run ends as it should: complete, or naming what is missing.
//!
//! Does not own: processes that die (`system::daemons`, `soak`). A cut is silent, as a broken switch is, so a side
//! notices only by what does not come; where that takes the 40 seconds of the keep-alive, the test belongs to the long
//! suite and has a quick one beside it. The store is the fault store, and a real Ceph gateway in `whole` and in the long
//! suite.

mod cuts;
mod estate;
mod lines;
mod losses;
mod whole;

use std::time::{Duration, Instant};

use packhorse_testkit::wait_until;

use self::estate::{Hosts, Options};

/// Time for something that takes moments, on a bad line.
const SOON: Duration = Duration::from_secs(120);

/// Whether the long tests are wanted, too.
fn long() -> bool {
    std::env::var_os("PACKHORSE_LONG").is_some()
}

/// Waits in the test while a link is cut.
fn let_pass(time: Duration) {
    let end = Instant::now() + time;
    wait_until("the cut to last", time * 2, || {
        if Instant::now() >= end { Ok(()) } else { Err("not yet".to_owned()) }
    });
}
