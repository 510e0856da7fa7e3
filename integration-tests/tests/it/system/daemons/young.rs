//! A coordinator that has just started: it takes runs while it still looks for those of its last life.
//!
//! Does not own: what it finds (`lives`). Its look is stopped at the store until a new run is in the vault, so that it
//! finds that one, which is not one to go on with.

use std::sync::atomic::{AtomicBool, Ordering};

use packhorse_testkit::{Backupctl, Binary, Daemon, FaultyS3, Operation, When};

use super::{
    super::{
        gate::Gate,
        site::{Site, listed},
    },
    SOON,
};

fn start(site: &Site, store: &FaultyS3, binary: Binary, name: &str) -> Daemon {
    let mut command = binary.command();
    command.arg("--config").arg(site.path(&format!("{name}.toml"))).envs(store.env(name));
    let daemon = Daemon::spawn_command(command);
    daemon.wait_for_line(&format!("{name} ready"), SOON);
    daemon
}

#[test]
fn a_run_that_is_asked_for_while_a_coordinator_looks_for_its_runs_is_done_once() {
    let (site, store) = (Site::new(), FaultyS3::start());
    let gate = Gate::new(&site.path("gate"), 0);
    let [agent, coordinator] = ["agent", "coordinator"]
        .map(|name| format!("unix://{}", site.path(&format!("{name}.sock")).display()));
    let vault = store.vault_section("v");
    let storage = site.storage_section("default", "default");
    let git = gate.git();
    site.write(
        "agent.toml",
        &format!("{vault}[agent_service]\nlisten = '{agent}'\ngit = '{}'\n{storage}", git.display()),
    );
    site.write(
        "coordinator.toml",
        &format!("{vault}[coordinator]\nlisten = '{coordinator}'\n[[agent]]\naddress = '{agent}'\n"),
    );
    let repo = site.repo("default/app.git");
    repo.fill("main", 3);
    let ctl =
        |args: &[&str]| Backupctl::new().args(["--no-progress", "--coordinator", &coordinator]).args(args);
    let agent = start(&site, &store, Binary::Agent, "agent");
    let mut first = start(&site, &store, Binary::Coordinator, "coordinator");
    ctl(&["create", "--backup-id", "0001"]).run().expect_success();
    first.kill();
    repo.fill("main", packhorse_testkit::GitRepo::COMMITS_FOR_GIT);

    let stopped = AtomicBool::new(false);
    store.stop_at_where(1, When::Before, move |request| {
        let asks = request.who == "coordinator" && request.operation == Operation::List;
        asks && !stopped.swap(true, Ordering::Relaxed)
    });
    let second = start(&site, &store, Binary::Coordinator, "coordinator");
    store.wait_until_held(SOON);
    gate.close();
    let mut run = ctl(&["create", "--backup-id", "0002"]).spawn();
    gate.wait_until_reached();
    store.release();
    second.wait_for_line("looked for runs to resume", SOON);
    gate.open();
    assert_eq!(run.wait(SOON), 0, "{:#?}", run.lines());
    assert_eq!(listed(ctl(&[])), ["0002", "0001"]);
    let resumed = |line: &String| line.contains("resuming run");
    assert!(!second.lines().iter().any(resumed), "{}", second.lines().join("\n"));
    agent.assert_no_complaints(&["without TLS every user of this host"]);
}
