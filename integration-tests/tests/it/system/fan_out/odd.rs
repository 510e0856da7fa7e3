//! Agents that are not as they should be: what the operator is told of each, and what becomes of the backup.
//!
//! Does not own: telling them apart (`coordinator::fleet`).

use packhorse_proto::v1::DescribeResponse;
use serde_json::Value;

use super::{
    super::site::{json, text},
    Post,
    disguise::{Disguise, Lies},
};

/// What `agents` says of the one at this address: its problem's text, and its remarks.
fn told(post: &Post, address: &str, code: i32) -> (String, String) {
    let shown = json(&post.ctl(["agents", "--json"]).run().expect_code(code));
    let agents = shown["agents"].as_array().cloned().expect("agents");
    let agent = agents.iter().find(|agent| agent["address"] == address).expect("it is listed");
    (agent["problem"].to_string(), agent["remarks"].to_string())
}

fn failures(summary: &Value) -> Vec<Value> {
    summary["failures"].as_array().cloned().expect("failures")
}

#[test]
fn two_agents_that_claim_one_storage_are_named_and_the_others_are_backed_up() {
    let post = Post::started(&[&["shared", "own"], &["shared"], &["other"]], "", "");
    for storage in ["shared", "own", "other"] {
        post.fill(storage, 2);
    }
    let summary = json(&post.ctl(["create", "--json", "--backup-id", "0001"]).run().expect_code(3));
    let failures = failures(&summary);
    assert_eq!(failures.len(), 1, "{summary:#}");
    assert_eq!(text(&failures[0]["storage"]), "shared");
    let answer = text(&failures[0]["problem"]["answer"]);
    assert!(post.addresses[..2].iter().all(|address| answer.contains(address)), "{answer}");
    for storage in ["own", "other"] {
        assert_eq!(post.paths("0001", storage), ["00.git", "01.git"]);
    }
    let refused = post.ctl(["create", "--storage", "shared"]).run().expect_code(2);
    assert!(refused.stderr.contains("served by several agents"), "{}", refused.stderr);
    let agents = post.ctl(["agents"]).run();
    assert!(agents.stdout.contains("served by several agents"), "{}", agents.stdout);
}

/// A coordinator over an agent as it is, and one that says something else of itself.
fn post_with(of_itself: fn(&mut DescribeResponse)) -> (Post, Disguise) {
    disguised(Lies { of_itself, of_backups: |_| {}, plans_nothing: false })
}

/// A coordinator over an agent as it is, and one in disguise.
pub fn disguised(lies: Lies) -> (Post, Disguise) {
    let mut post = Post::new(&[&["plain"], &["odd"]], "");
    post.fill("plain", 1);
    post.fill("odd", 1);
    let disguise = Disguise::before(&post.addresses[1], lies);
    post.start(&[post.addresses[0].clone(), disguise.address.clone()], "");
    (post, disguise)
}

#[test]
fn an_agent_of_another_protocol_is_missing_by_name_and_nothing_else_is() {
    let (post, odd) = post_with(|said| {
        said.protocol += 1;
        said.version = "9.9.9".into();
    });
    let summary = json(&post.ctl(["create", "--json", "--backup-id", "0001"]).run().expect_code(3));
    let failures = failures(&summary);
    assert_eq!(failures.len(), 1, "{summary:#}");
    assert!(text(&failures[0]["item"]).contains(&odd.address), "{summary:#}");
    assert!(text(&failures[0]["problem"]["answer"]).contains("9.9.9"), "{summary:#}");
    assert_eq!(post.paths("0001", "plain"), ["00.git"]);
    let (problem, _) = told(&post, &odd.address, 14);
    assert!(problem.contains("9.9.9") && problem.contains("protocol"), "{problem}");
}

#[test]
fn an_agent_of_another_version_or_with_another_clock_works_and_is_remarked() {
    let (post, odd) = post_with(|said| {
        said.version = "0.0.7".into();
        said.clock_ms += 24 * 3600 * 1000;
    });
    post.ctl(["create", "--backup-id", "0001"]).run().expect_success();
    assert_eq!(post.paths("0001", "odd"), ["00.git"]);
    let (problem, remarks) = told(&post, &odd.address, 0);
    assert_eq!(problem, "null");
    assert!(remarks.contains("0.0.7") && remarks.contains("ahead of"), "{remarks}");
    let logged = post.coordinators[0].lines().join("\n");
    assert!(logged.contains("0.0.7") && logged.contains("ahead of"), "{logged}");
}

#[test]
fn an_agent_that_cannot_plan_restores_is_named_and_nothing_is_touched_anywhere() {
    let of_itself = |said: &mut DescribeResponse| said.version = "0.0.1".into();
    let (post, odd) = disguised(Lies { of_itself, of_backups: |_| {}, plans_nothing: true });
    post.ctl(["create", "--backup-id", "0001"]).run().expect_success();
    for storage in ["plain", "odd"] {
        std::fs::remove_dir_all(post.site.path(&format!("{storage}/00.git"))).expect("lose a repository");
    }
    for args in [&["restore", "0001"][..], &["restore", "0001", "--dry-run"]] {
        let refused = post.ctl(["--json"]).args(args).run().expect_code(14);
        let told = &refused.stdout;
        assert!(told.contains(&odd.address) && told.contains("0.0.1"), "{refused:#?}");
        assert!(!post.site.path("plain/00.git").exists(), "{args:?} touched something");
    }
}
