//! Lines that are slow, lossy or long: runs take longer, and are complete.
//!
//! Does not own: lines that are cut. A store's patience with one request must not depend on how large a part is: parts
//! of 8 MiB, four at once, take half a minute on the slow line here, and the patience is five seconds.

use std::time::{Duration, Instant};

use super::{Hosts, Options, SOON};
use crate::system::site::{json, listed, noise, text};

#[test]
fn a_slow_line_to_the_store_takes_its_time_and_holds_up_nobody_else() {
    let options = Options { retry_budget: "15s", ..Options::default() };
    let Some(mut hosts) = Hosts::start(options) else { return };
    let large = hosts.site.repo("default/large.git");
    large.commit("main", &[("noise", noise(5, 20 << 20))]);
    hosts.agent_hosts[0].slow_down(8);
    let begun = Instant::now();
    let mut run = hosts.ctl(["create", "--json", "--backup-id", "0001"]).spawn();
    hosts.agent(1).wait_for_line("backup ends storage=second repositories", SOON);
    let other = begun.elapsed();
    assert_eq!(run.wait(SOON), 0, "{:#?}", run.lines());
    let all = begun.elapsed();
    assert!(all > Duration::from_secs(18), "20 MiB at 8 Mbit/s cannot take {all:?}");
    assert!(other < all / 3, "the other storage took {other:?} of {all:?}");
    let state = large.state();
    hosts
        .ctl(["restore", "0001", "--storage=default", "--to-storage=default=default-spare"])
        .run()
        .expect_success();
    crate::system::site::assert_restored(&state, hosts.site.path("default-spare/large.git"));
    hosts.stop(&[]);
}

#[test]
fn a_long_and_lossy_line_only_takes_longer() {
    let options = Options { delay: Duration::from_millis(20), ..Options::default() };
    let Some(hosts) = Hosts::start(options) else { return };
    hosts.all().iter().for_each(|host| host.lose(5));
    hosts.site.repo("second/large.git").commit("main", &[("noise", noise(6, 9 << 20))]);
    hosts.ctl(["create", "--backup-id", "0001"]).run().expect_success();
    hosts.change();
    let output = hosts.ctl(["create", "--json", "--backup-id", "0002"]).run().expect_success();
    assert_eq!(text(&json(&output)["state"]), "complete");
    assert_eq!(listed(hosts.ctl([])), ["0002", "0001"]);
    hosts
        .ctl(["restore", "0002", "--storage=default", "--to-storage=default=default-spare"])
        .run()
        .expect_success();
    crate::system::site::assert_restored(&hosts.repo(0).state(), hosts.site.path("default-spare/app.git"));
    hosts.stop(&[]);
}
