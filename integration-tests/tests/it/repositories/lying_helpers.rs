//! Files of a repository that say which objects there are, or what leads to what, and lie: what is backed up goes by the
//! objects.
//!
//! Does not own: damaged objects (`damaged`). The repositories name objects by SHA-256, so that a file that lies can be
//! given its right checksum here.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use packhorse_testkit::GitRepo;
use sha2::{Digest as _, Sha256};

use crate::world::{World, assert_is};

const SHA256: [&str; 1] = ["--object-format=sha256"];

/// Changes a file that ends with a checksum of what is before it, and writes the right one.
fn rewrite_sealed(path: &Path, change: impl FnOnce(&mut [u8])) {
    let mut bytes = fs::read(path).expect("read");
    let end = bytes.len() - 32;
    change(&mut bytes[..end]);
    let checksum = Sha256::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum);
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("chmod");
    fs::write(path, bytes).expect("write");
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Gives a commit no parents in a commit-graph.
fn cut_off_in_graph(repo: &GitRepo, commit: &str) {
    rewrite_sealed(&repo.path().join("objects/info/commit-graph"), |bytes| {
        let chunks: Vec<(Vec<u8>, usize)> = (0..usize::from(bytes[6]))
            .map(|at| &bytes[8 + 12 * at..20 + 12 * at])
            .map(|chunk| (chunk[..4].to_vec(), number(&chunk[4..])))
            .collect();
        let begin = |name: &[u8]| chunks.iter().find(|chunk| chunk.0 == name).expect("a chunk").1;
        let (names, facts, fanout) = (begin(b"OIDL"), begin(b"CDAT"), begin(b"OIDF"));
        let count = number(&bytes[fanout + 255 * 4..fanout + 256 * 4]);
        let hex = |at: usize| bytes[at..at + 32].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let place = (0..count).find(|place| hex(names + 32 * place) == commit).expect("the commit");
        let parent = facts + (32 + 16) * place + 32;
        bytes[parent..parent + 4].copy_from_slice(&0x7000_0000_u32.to_be_bytes());
    });
}

/// Tells lies of the commit, then backs up; what comes back must be what was there before. Git packs all of it: a full step
/// by the lender, an increment because it has many commits.
fn history_is_cut_off(lie: impl Fn(&GitRepo, &str)) {
    let world = World::new();
    let repo = world.repo_with("a.git", &SHA256);
    world.leave_to_git(&repo);
    for (step, commits) in [20, 100].into_iter().enumerate() {
        // More than what is packed without git, the second time.
        repo.fill("main", commits);
        let expected = world.states();
        let cut = repo.run(&["rev-parse", "main~10"]);
        lie(&repo, cut.trim());
        assert_eq!(repo.run(&["rev-list", "--count", "main"]).trim(), "11", "git believes the lie");
        let point = world.run(&[], 0).0;
        let restored = world.restore(&point);
        // What replaces commits is a ref, and comes back.
        for told in [repo.path(), &restored.join("a.git")].map(GitRepo::open) {
            for path in ["info/grafts", "objects/info/commit-graph"] {
                let _ = fs::remove_file(told.path().join(path));
            }
            for name in told.run(&["for-each-ref", "--format=%(refname)", "refs/replace"]).lines() {
                told.delete_ref(name);
            }
        }
        assert_is(&restored, &expected, &point);
        assert_eq!(world.manifest(&point, "a.git").steps().len(), 1 + step);
    }
}

#[test]
fn grafts_cut_nothing_off() {
    history_is_cut_off(|repo, commit| {
        fs::create_dir_all(repo.path().join("info")).expect("create");
        fs::write(repo.path().join("info/grafts"), format!("{commit}\n")).expect("write");
    });
}

#[test]
fn a_commit_graph_that_lies_cuts_nothing_off() {
    history_is_cut_off(|repo, commit| {
        repo.run(&["commit-graph", "write", "--reachable"]);
        cut_off_in_graph(repo, commit);
    });
}

#[test]
fn refs_that_replace_commits_cut_nothing_off() {
    history_is_cut_off(|repo, commit| {
        let tree = repo.run(&["rev-parse", &format!("{commit}^{{tree}}")]);
        let other = repo.run(&["commit-tree", tree.trim(), "-m", "cut off"]);
        fs::create_dir_all(repo.path().join("refs/replace")).expect("create");
        fs::write(repo.path().join("refs/replace").join(commit), other).expect("write");
    });
}
