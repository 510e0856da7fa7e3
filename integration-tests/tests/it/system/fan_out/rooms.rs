//! Who waits for whom: storages of one agent do not, and what all agents take together stays within the limits.
//!
//! Does not own: how limits are shared out (`coordinator::run::shares`, `agent::server::limits`). Uploads are held at the
//! store, so those that are under way at once can be counted.

use std::time::{Duration, Instant};

use packhorse_testkit::{LoggedRequest, Operation, When, assert_stays, wait_until};

use super::{
    super::{
        daemons::SOON,
        site::{json, noise},
    },
    Post,
    counted_git::CountedGit,
    writes,
};

/// Time in which something that must not happen would have.
const AWHILE: Duration = Duration::from_millis(1500);

#[test]
fn slow_repositories_of_one_storage_leave_room_for_another_of_its_agent() {
    let git = CountedGit::new();
    let post = Post::started(&[&["slow", "quick"]], &format!("jobs = 2\n{}", git.line()), "");
    for storage in ["slow", "quick"] {
        post.fill(storage, 12);
    }
    post.ctl(["create", "--backup-id", "0001"]).run().expect_success();
    for storage in ["slow", "quick"] {
        post.change(storage, 12);
    }
    // Neither packs anything before both are at work: they do not yet know what they have to build on.
    let catalogue = |id: &str| format!("backups/{id}/repositories/quick.jsonl.zst");
    let is_base = |r: &LoggedRequest| r.operation == Operation::Get && r.key.contains("0001/repositories/");
    post.store.stop_at_where(1, When::Before, is_base);
    git.close("slow");
    let mut run = post.ctl(["create", "--backup-id", "0002"]).spawn();
    wait_until("both to ask for their bases", SOON, || {
        let held = post.store.log().into_iter().filter(|r| r.status.is_none() && is_base(r)).count();
        if held == 2 { Ok(()) } else { Err(format!("{held} of them")) }
    });
    post.store.release();
    wait_until("the other storage's catalogue", SOON, || {
        let keys = post.keys();
        if keys.contains(&catalogue("0002")) { Ok(()) } else { Err(format!("{keys:?}")) }
    });
    assert!(!post.keys().iter().any(|key| key.starts_with("slow/") && key.contains("0002")), "it is held");
    git.open();
    assert_eq!(run.wait(SOON), 0, "{}", run.lines().join("\n"));
}

/// The writes that are held at the store now.
fn under_way(post: &Post) -> Vec<LoggedRequest> {
    let log = post.store.log();
    log.into_iter().filter(|r| r.status.is_none() && writes(r, &["first", "second"])).collect()
}

/// Where a limit stands, with the fewest and the most of two agents with one storage each that there are at once.
type Row = ([&'static str; 3], usize, usize);

/// Agents that serve `first` and `second`, with these lines in the sections of agents, storages and coordinator.
fn post_with([agent, storage, coordinator]: [&str; 3], more: &str) -> Post {
    let mut post = Post::with(&[&["first"], &["second"]], &format!("{more}\n{agent}"), storage);
    post.start(&post.addresses.clone(), coordinator);
    post
}

/// Uploads that are held once those of `storages` are there.
fn held_uploads(post: &Post, storages: &[&str], (least, most): (usize, usize)) -> Vec<LoggedRequest> {
    wait_until("uploads", SOON, || {
        let held = under_way(post);
        let of = |name: &&str| held.iter().any(|request| request.key.contains(*name));
        if storages.iter().all(of) && held.len() >= least { Ok(()) } else { Err(format!("{held:?}")) }
    });
    assert_stays("the limit", AWHILE, || match under_way(post) {
        held if held.len() <= most => Ok(()),
        held => Err(format!("{held:#?}")),
    });
    under_way(post)
}

#[test]
fn all_agents_together_upload_no_more_at_once_than_each_section_lets_them() {
    const ROWS: [Row; 4] = [
        (["", "", "uploads = 2"], 2, 2),
        (["uploads = 2", "", ""], 4, 4),
        (["", "uploads = 1", ""], 2, 2),
        (["", "", ""], 5, 100),
    ];
    for (sections, least, most) in ROWS {
        let post = post_with(sections, "jobs = 4");
        post.fill("first", 5);
        post.fill("second", 5);
        post.store.stop_at_where(1, When::Before, |request| writes(request, &["first", "second"]));
        let mut run = post.ctl(["create", "--backup-id", "0001"]).spawn();
        held_uploads(&post, &["first", "second"], (least, most));
        post.store.release();
        assert_eq!(run.wait(SOON), 0, "{sections:?}: {}", run.lines().join("\n"));
    }
}

#[test]
fn all_agents_together_pack_no_more_at_once_than_each_section_lets_them() {
    const ROWS: [Row; 5] = [
        (["jobs = 4", "", "jobs = 2"], 2, 2),
        (["jobs = 2", "", ""], 4, 4),
        (["jobs = 4", "jobs = 1", ""], 2, 2),
        (["jobs = 4", "", "storages = 1"], 4, 4),
        (["jobs = 4", "", ""], 5, 8),
    ];
    for (sections, least, most) in ROWS {
        let git = CountedGit::new();
        let post = post_with(sections, &git.line());
        for storage in ["first", "second"] {
            post.fill(storage, 5);
        }
        post.ctl(["create", "--backup-id", "0001"]).run().expect_success();
        for storage in ["first", "second"] {
            post.change(storage, 5);
        }
        git.close("");
        let mut run = post.ctl(["create", "--backup-id", "0002"]).spawn();
        git.wait_for(least);
        assert_stays("the limit", AWHILE, || match git.started() {
            few if few <= most => Ok(()),
            many => Err(format!("{sections:?}: {many} at once")),
        });
        git.open();
        assert_eq!(run.wait(SOON), 0, "{}", run.lines().join("\n"));
        assert_eq!(git.started(), 10, "every repository was packed by git");
    }
}

#[test]
fn only_so_many_storages_are_at_work_at_once() {
    let post = post_with(["", "", "storages = 1"], "jobs = 4");
    post.fill("first", 3);
    post.fill("second", 3);
    post.store.stop_at_where(1, When::Before, |request| writes(request, &["first", "second"]));
    let mut run = post.ctl(["create", "--backup-id", "0001"]).spawn();
    let held = held_uploads(&post, &[], (1, 100));
    let at_work = |name: &str| held.iter().any(|request| request.key.contains(name));
    assert_ne!(at_work("first"), at_work("second"), "{held:#?}");
    post.store.release();
    assert_eq!(run.wait(SOON), 0, "{}", run.lines().join("\n"));
    for storage in ["first", "second"] {
        assert_eq!(post.paths("0001", storage).len(), 3);
    }
}

#[test]
fn all_agents_together_send_no_faster_than_the_coordinator_lets_them() {
    let post = Post::started(&[&["first"], &["second"]], "", "bandwidth = '1 MB'");
    for (seed, storage) in [(1, "first"), (2, "second")] {
        post.site.repo(&format!("{storage}/a.git")).commit("main", &[("noise", noise(seed, 2_000_000))]);
    }
    let begun = Instant::now();
    let summary = json(&post.ctl(["create", "--json"]).run().expect_success());
    assert!(summary["bytes_new"].as_u64().expect("a number") > 4_000_000, "{summary:#}");
    // Each storage's first upload is not held back; what follows it is.
    assert!(begun.elapsed().as_secs_f64() > 3.0, "{:?}", begun.elapsed());
}
