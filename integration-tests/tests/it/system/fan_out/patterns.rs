//! Patterns that do not fit into one message: they reach every agent whole.
//!
//! Does not own: what a pattern matches (`model`).

use super::{
    super::site::{json, text},
    Post,
};

/// More than two messages of patterns.
const MANY: usize = 2500;

/// Patterns that match nothing, and at last one that does.
fn many(prefix: &str, last: &str) -> Vec<String> {
    let nothing = (0..MANY).map(|number| format!("{prefix}/{number:04}-{}.git", "x".repeat(40)));
    nothing.chain([last.to_owned()]).collect()
}

fn flags(name: &str, patterns: &[String]) -> Vec<String> {
    patterns.iter().map(|pattern| format!("{name}={pattern}")).collect()
}

#[test]
fn patterns_beyond_one_message_reach_every_agent() {
    let post = Post::started(&[&["first"], &["second", "third"]], "", "");
    for storage in ["first", "second", "third"] {
        post.fill(storage, 4);
    }
    let skipped = flags("--skip-repository", &many("none", "*/03.git"));
    let skipped = [skipped, flags("--skip-repository", &["03.git".to_owned()])].concat();
    post.ctl(["create", "--backup-id", "0001"]).args(&skipped).run().expect_success();
    for storage in ["first", "second", "third"] {
        assert_eq!(post.paths("0001", storage), ["00.git", "01.git", "02.git"]);
    }

    let chosen = flags("--repository", &many("none", "0[12].git"));
    let skipped = flags("--skip-repository", &many("none", "02.git"));
    let create = post.ctl(["create", "--json", "--backup-id", "0002"]).args(&chosen).args(&skipped);
    let summary = json(&create.run().expect_code(3));
    for storage in ["first", "second", "third"] {
        assert_eq!(post.paths("0002", storage), ["01.git"], "{storage}");
    }
    let failures = summary["failures"].as_array().expect("failures");
    assert!(failures.iter().all(|failure| text(&failure["item"]).starts_with("none/")));
    assert_eq!(summary["failures_total"].as_u64().unwrap_or(failures.len() as u64), MANY as u64);

    // A restore's patterns go the same way.
    std::fs::remove_dir_all(post.site.path("third/01.git")).expect("lose a repository");
    let chosen = flags("--repository", &many("none", "01.git"));
    let restore = post.ctl(["restore", "0001", "--storage", "third", "--force"]).args(&chosen);
    restore.run().expect_code(3);
    post.repo("third/01.git").fsck();
}
