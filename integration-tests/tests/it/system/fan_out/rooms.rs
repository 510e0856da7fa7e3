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

#[test]
fn all_agents_together_upload_no_more_at_once_than_the_coordinator_lets_them() {
    for (section, least, most) in [("uploads = 2", 2, 2), ("", 3, 100)] {
        let post = Post::started(&[&["first"], &["second"]], "jobs = 4", section);
        post.fill("first", 5);
        post.fill("second", 5);
        post.store.stop_at_where(1, When::Before, |request| writes(request, &["first", "second"]));
        let mut run = post.ctl(["create", "--backup-id", "0001"]).spawn();
        wait_until("uploads of both agents", SOON, || {
            let held = under_way(&post);
            let of = |name: &str| held.iter().any(|request| request.key.contains(name));
            if of("first") && of("second") && held.len() >= least { Ok(()) } else { Err(format!("{held:?}")) }
        });
        assert_stays("the limit", AWHILE, || match under_way(&post) {
            held if held.len() <= most => Ok(()),
            held => Err(format!("{section}: {held:#?}")),
        });
        post.store.release();
        assert_eq!(run.wait(SOON), 0, "{}", run.lines().join("\n"));
    }
}

#[test]
fn all_agents_together_pack_no_more_at_once_than_the_coordinator_lets_them() {
    for (section, least, most) in [("jobs = 2", 2, 2), ("", 3, 8)] {
        let git = CountedGit::new();
        let post = Post::started(&[&["first"], &["second"]], &format!("jobs = 4\n{}", git.line()), section);
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
            many => Err(format!("{section}: {many} at once")),
        });
        git.open();
        assert_eq!(run.wait(SOON), 0, "{}", run.lines().join("\n"));
        assert_eq!(git.started(), 10, "every repository was packed by git");
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
