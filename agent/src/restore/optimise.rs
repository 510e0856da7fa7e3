//! On demand, between refs and hooks: what makes a repository quick to serve, made by git before it is placed.
//!
//! Does not own: whether it is asked for. Git adds beside the packs, which stay as they are: a multi-pack index with
//! reachability bitmaps, a commit-graph with changed paths, and peeled `packed-refs`. It is what the maintenance of the
//! target would make sooner or later. When it fails, the repository is whole without it, so that is remarked, and what
//! was begun is left to git, which trusts no file of its own that is not complete.

use std::{fs, path::Path};

use packhorse_model::{ErrorKind, Problem};
use packhorse_vault::RefStorage;

use crate::restore::git_child::GitChild;

/// What git is asked, in order; the last one only where refs are files.
const COMMANDS: [&[&str]; 3] = [
    &["multi-pack-index", "write", "--bitmap", "--no-progress"],
    &["commit-graph", "write", "--reachable", "--changed-paths", "--no-progress"],
    &["pack-refs", "--all"],
];

/// Prepares a repository that has objects and refs. Blocking.
pub(super) fn optimise(
    repository: &Path,
    storage: RefStorage,
    git: &GitChild,
    remark: &dyn Fn(Problem),
) -> Result<(), Problem> {
    if !has_packs(repository) {
        return Ok(());
    }
    for words in COMMANDS {
        if words[0] == "pack-refs" && storage != RefStorage::Files {
            continue;
        }
        let mut command = git.command(Some(repository));
        command.args(words);
        match git.run(command, "optimise repository", None) {
            Ok(_) => {}
            Err(problem) if problem.kind == ErrorKind::Cancelled => return Err(problem),
            Err(problem) => remark(
                problem
                    .while_doing(&format!("git {}", words[0]))
                    .leaving("the repository was restored all the same, without this")
                    .next("leave it to the target's maintenance, or run git maintenance there"),
            ),
        }
    }
    Ok(())
}

fn has_packs(repository: &Path) -> bool {
    let mut files =
        fs::read_dir(repository.join("objects/pack")).into_iter().flatten().filter_map(Result::ok);
    files.any(|file| file.path().extension().is_some_and(|suffix| suffix == "pack"))
}
