//! A run that is cancelled while its agent has an upload open: told, given up at the store, and done by the next run.
//!
//! Does not own: runs that are cancelled elsewhere (`system::daemons`). The store holds a part of the upload to the end, so
//! neither the run nor its upload waits for it.

use packhorse_testkit::{LoggedRequest, Operation, When, wait_until};

use super::crew::{Crew, SOON};
use crate::system::site::{json, listed, noise, text};

#[test]
fn a_cancelled_run_gives_its_open_upload_up_and_the_next_one_succeeds() {
    let crew = Crew::start("", "");
    let server = &crew.place.server;
    crew.create("0001").run().expect_success();
    // More than is on its way at once, so that the bundle is not at its end when the run is cancelled.
    crew.place.repo("large.git").commit("main", &[("huge", noise(7, 64 << 20))]);
    server.stop_at_where(1, When::Before, |request: &LoggedRequest| {
        request.who == "agent"
            && request.operation == Operation::PutPart
            && request.key.contains("large.git/0002/")
    });
    let mut run = crew.create("0002").spawn();
    server.wait_until_held(SOON);
    let open = server.open_uploads();
    assert!(open.iter().any(|key| key.contains("large.git/0002/")), "{open:?}");

    let cancelled = json(&crew.ctl(["cancel", "0002", "--json"]).run().expect_success());
    assert!(text(&cancelled["end"]["state"]).contains("nothing was committed"), "{cancelled:#}");
    assert_eq!(run.wait(SOON), 130, "{:#?}\n{:#?}", run.stdout_lines(), run.lines());
    assert!(server.held().is_some(), "the run waited for the part");
    wait_until("the end of the upload", SOON, || match server.open_uploads() {
        open if open.is_empty() => Ok(()),
        open => Err(format!("{open:?}")),
    });
    server.release();

    assert_eq!(listed(crew.ctl([])), ["0001"]);
    let status = json(&crew.ctl(["status", "--json"]).run().expect_success());
    assert_eq!(text(&status["unfinished"][0]["end"]["kind"]), "cancelled", "{status:#}");
    assert!(!server.keys().iter().any(|key| key.contains("large.git/0002/")), "{:?}", server.keys());
    let states = crew.place.states();
    let summary = json(&crew.create("0003").run().expect_success());
    assert_eq!(text(&summary["state"]), "complete", "{summary:#}");
    crew.place.assert_restores("0003", &states);
    assert_eq!(server.open_uploads(), Vec::<String>::new());
    crew.stop();
}
