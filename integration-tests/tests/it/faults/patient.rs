//! A store that takes its time: one job, and yet many small repositories are asked for at once, and a few of the others.
//!
//! Does not own: requests that fail. The store answers nothing of a kind until enough of it is asked for, so a run that asks
//! for one after the other would wait until its test gives up.

use std::{fs, ops::RangeInclusive, time::Duration};

use packhorse_testkit::{
    Backupctl, Fault, FaultyS3, GitRepo, LoggedRequest, Operation, Plan, RepoState, Rule, assert_stays,
    wait_until,
};

use super::crew::SOON;
use crate::system::site::{Site, noise};

/// Repositories, of which all need something.
const REPOSITORIES: usize = 24;
/// Those of them that must be asked for before the first is answered.
const ENOUGH: usize = 12;

/// A site with many small repositories and a store of its own.
fn start() -> (Site, FaultyS3) {
    let (site, server) = (Site::new(), FaultyS3::start());
    fill(&site, 2);
    let storage = site.storage_section("default", "storage");
    site.write("packhorse.toml", &format!("{}{storage}", server.vault_section("v")));
    (site, server)
}

fn repo(site: &Site, number: usize) -> GitRepo {
    site.repo(&format!("storage/{number:02}.git"))
}

fn fill(site: &Site, commits: usize) {
    for number in 0..REPOSITORIES {
        repo(site, number).fill("main", commits);
    }
}

fn ctl<const N: usize>(site: &Site, server: &FaultyS3, args: [&str; N]) -> Backupctl {
    site.ctl("packhorse.toml", args).args(["--jobs", "1"]).envs(server.env("ctl"))
}

/// Runs a call to its end, after it had asked for that many objects of this kind at once.
#[track_caller]
fn asks_at_once(server: &FaultyS3, call: Backupctl, kind: &str, many: RangeInclusive<usize>) {
    server.set_faults(Plan::of(Rule::always(Fault::Stall).on(&[Operation::Get]).about(kind)));
    let seen = server.log().len();
    let waits = |request: &&LoggedRequest| request.fault == Some(Fault::Stall.name());
    let mut running = call.spawn();
    let as_many = || {
        let waiting = server.log()[seen..].iter().filter(waits).count();
        many.contains(&waiting).then_some(()).ok_or_else(|| format!("{waiting} wait for an answer"))
    };
    wait_until("so many requests", SOON, as_many);
    assert_stays("the number of requests", Duration::from_millis(300), as_many);
    server.set_faults(Plan::default());
    assert_eq!(running.wait(SOON), 0, "{:#?}", running.lines());
}

#[test]
fn what_increments_continue_is_asked_for_before_their_turn() {
    let (site, server) = start();
    ctl(&site, &server, ["create", "--backup-id", "0001"]).run().expect_success();
    fill(&site, 1);
    let before: Vec<_> = (0..REPOSITORIES).map(|number| repo(&site, number).state()).collect();
    let create = ctl(&site, &server, ["create", "--backup-id", "0002"]);
    asks_at_once(&server, create, "manifests/", ENOUGH..=REPOSITORIES);
    let folder = site.path("back");
    fs::create_dir(&folder).expect("create the target");
    let target = format!("--storage=default={}", folder.display());
    let restore = ctl(&site, &server, ["restore", "0002"]).arg(target);
    asks_at_once(&server, restore, "manifests/", ENOUGH..=REPOSITORIES);
    for (number, state) in before.iter().enumerate() {
        RepoState::assert_same(state, &GitRepo::open(folder.join(format!("{number:02}.git"))).state());
    }
}

#[test]
fn of_those_that_are_not_small_three_for_each_job_are_restored_at_once() {
    let (site, server) = start();
    for number in 0..REPOSITORIES {
        repo(&site, number).commit("main", &[("noise", noise(number as u64, 600 << 10))]);
    }
    ctl(&site, &server, ["create", "--backup-id", "0001"]).run().expect_success();
    let target = format!("--storage=default={}", site.folder("back").display());
    let restore = ctl(&site, &server, ["restore", "0001"]).arg(target);
    asks_at_once(&server, restore, ".bundle", 3..=3);
    for number in 0..REPOSITORIES {
        let back = site.path("back").join(format!("{number:02}.git"));
        RepoState::assert_same(&repo(&site, number).state(), &GitRepo::open(back).state());
    }
}
