//! The first thing that a new user runs: `scripts/quickstart.sh`, as `make quickstart` does.
//!
//! Does not own: building; the script does that, and finds everything built. It always runs the debug programs.

use packhorse_testkit::{Binary, GitRepo, hermetic_command, run_checked};

#[test]
fn it_runs_as_it_stands_also_with_a_repository_of_the_users() {
    if !Binary::Backupctl.path().ends_with("target/debug/backupctl") {
        packhorse_testkit::skipped("the script runs what lies in target/debug");
        return;
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let own = GitRepo::init(folder.path().join("own.git"));
    own.fill("main", 10);
    let mut script = hermetic_command("bash");
    script.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/quickstart.sh"));
    script.env("PACKHORSE_QUICKSTART_REPO", own.path()).env("PACKHORSE_QUICKSTART_BUILT", "1");
    let output = run_checked(&mut script);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        text.matches("HEAD and hooks too; git fsck --full: 5 repositories sound").count(),
        2,
        "{text}"
    );
    assert!(text.contains("Everything is as it was."), "{text}");
    assert!(text.lines().count() <= 45, "more than a screen: {text}");
}
