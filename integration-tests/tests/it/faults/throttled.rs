//! A run that is cancelled while a limit on bandwidth holds its uploads back: it gives them up at once, and the storage is
//! free for the next run.
//!
//! Does not own: limits that are kept (`system::limits`). By the limit the uploads would take days, so nothing of this would
//! end within the time of a test if anything waited for them.

use std::fs;

use packhorse_testkit::{GitRepo, Signal, wait_until};

use super::crew::{Crew, SOON};
use crate::system::site::{json, noise, text};

/// A few parts of an upload, and many small ones.
fn fill(crew: &Crew) {
    crew.place.repo("large.git").commit("main", &[("huge", noise(7, 40 << 20))]);
    for number in 0..20 {
        let path = crew.place.site.path(&format!("storage/small/{number}.git"));
        GitRepo::init(path).commit("main", &[("noise", noise(number, 100_000))]);
    }
}

#[test]
fn a_cancelled_run_gives_up_what_its_bandwidth_holds_back_and_the_next_one_succeeds() {
    let mut crew = Crew::start("", "");
    fill(&crew);
    let file = crew.place.site.path("agent.toml");
    let unlimited = fs::read_to_string(&file).expect("configuration");
    fs::write(&file, unlimited.replace("[agent_service]\n", "[agent_service]\nbandwidth = '100 B'\n"))
        .expect("write");
    crew.kill_agent();
    let mut run = crew.create("0001").spawn();
    let server = &crew.place.server;
    wait_until("an upload in parts, and small ones", SOON, || {
        let (open, keys) = (server.open_uploads(), server.keys());
        let is_at_it = open.iter().any(|key| key.contains("large.git/0001/"));
        if is_at_it { Ok(()) } else { Err(format!("{open:?} {keys:?}")) }
    });
    let cancelled = json(&crew.ctl(["cancel", "0001", "--json"]).run().expect_success());
    assert!(text(&cancelled["end"]["state"]).contains("nothing was committed"), "{cancelled:#}");
    assert_eq!(run.wait(SOON), 130, "{:#?}", run.lines());
    // Whoever cancels is told when the storage is free, so that the next run need not wait for it.
    let lines = crew.agent.lines();
    assert!(lines.iter().any(|line| line.contains("job ended without success")), "{lines:#?}");
    wait_until("the end of the upload", SOON, || match crew.place.server.open_uploads() {
        open if open.is_empty() => Ok(()),
        open => Err(format!("{open:?}")),
    });
    // A limit is read at the beginning of a run.
    fs::write(&file, unlimited).expect("write");
    crew.agent.signal(Signal::HUP);
    crew.agent.wait_for_line("configuration reloaded", SOON);
    let states = crew.place.states();
    let summary = json(&crew.create("0002").run().expect_success());
    assert_eq!(text(&summary["state"]), "complete", "{summary:#}");
    assert!(!crew.coordinator.lines().iter().any(|line| line.contains("busy")), "it had to wait");
    crew.place.assert_restores("0002", &states);
    crew.stop();
}
