//! Running git, the one way: a fixed environment, no configuration but the repository's own, bounded stderr, killed when
//! asked to stop.
//!
//! Does not own: what git is asked to do. The environment is emptied first, so neither the operator's configuration nor
//! a variable such as `GIT_DIR` can change what a backup holds. What lies in a repository beside its objects and says which
//! there are, and what leads to what, may be old or wrong while the objects are whole: git does without (`BY_OBJECTS_ONLY`).

mod child;
mod object_reader;
mod objects;
mod objects_only;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub use child::{Child, Finished};
pub use object_reader::{Answer, ObjectReader};
pub use objects::{CommitFacts, Objects, hash_kind, to_gix};
pub use objects_only::ObjectsOnly;
use packhorse_model::{ErrorKind, Problem, Subject};

/// Settings with which git goes by objects, whatever else a repository says of them.
const BY_OBJECTS_ONLY: [&str; 5] = [
    // Parents and root trees of commits, which may be those of other commits.
    "core.commitGraph=false",
    // Which objects packs hold, and where: one that leaves an object out hides it.
    "core.multiPackIndex=false",
    // What a commit reaches. One from before a `git fetch --unshallow` has git leave out what was fetched.
    "pack.useBitmaps=false",
    // Where an entry of a pack ends: a wrong one has git copy half an entry.
    "pack.readReverseIndex=false",
    // Objects in place of others; `GIT_NO_REPLACE_OBJECTS` says the same to a git that does not know this one.
    "core.useReplaceRefs=false",
];

/// The git executable.
#[derive(Clone, Debug)]
pub struct Git {
    program: PathBuf,
}

impl Git {
    /// Git at a path, or by name on `PATH`.
    ///
    /// The name is looked up here, once: with an absolute program the standard library starts a child without copying
    /// this process's page tables, which costs more than a small pack does.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        let is_name = program.components().count() == 1 && !program.is_absolute();
        let found = std::env::var_os("PATH").filter(|_| is_name).and_then(|path| {
            std::env::split_paths(&path).map(|folder| folder.join(&program)).find(|file| file.is_file())
        });
        Self { program: found.unwrap_or(program) }
    }

    /// The executable.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A command without a repository.
    pub fn bare_command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
            .env("HOME", "/nonexistent")
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            // A repository's `info/grafts` gives commits other parents.
            .env("GIT_GRAFT_FILE", "/nonexistent")
            // What is missing is missing: nothing is brought from elsewhere.
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0");
        command
    }

    /// A command that reads a bare repository.
    pub fn command(&self, repository: &Path) -> Command {
        let mut command = self.bare_command();
        for setting in BY_OBJECTS_ONLY {
            command.args(["-c", setting]);
        }
        command.arg("--git-dir").arg(repository);
        command
    }

    /// The version line of the executable.
    pub fn version(&self) -> Result<String, Problem> {
        let output = self.bare_command().arg("version").output();
        let problem = |answer: String| {
            Problem::new(ErrorKind::Unavailable, Subject::Host, "run git")
                .on(self.program.display())
                .answered(answer)
                .next("install git, or name it in the configuration")
        };
        let output = output.map_err(|e| problem(e.to_string()))?;
        if !output.status.success() {
            return Err(problem(output.status.to_string()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.trim().strip_prefix("git version ");
        let version =
            version.ok_or_else(|| problem(format!("does not say that it is git: {:?}", text.trim())))?;
        if !is_new_enough(version) {
            return Err(problem(format!("is git {version}, and must be {}.{} or newer", OLDEST.0, OLDEST.1)));
        }
        Ok(version.to_owned())
    }
}

/// The oldest git that the tests run with.
const OLDEST: (u32, u32) = (2, 39);

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    let found = (numbers.next().flatten(), numbers.next().flatten());
    matches!(found, (Some(major), Some(minor)) if (major, minor) >= OLDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_git_or_an_old_one_is_refused() {
        for (version, new_enough) in [
            ("2.39.5", true),
            ("2.47.3", true),
            ("3.0", true),
            ("2.50.0.rc1", true),
            ("2.38.9", false),
            ("x", false),
        ] {
            assert_eq!(is_new_enough(version), new_enough, "{version}");
        }
        let problem = Git::new("/bin/true").version().expect_err("is no git");
        assert!(problem.to_string().contains("does not say that it is git"), "{problem}");
        assert!(Git::new("git").version().is_ok());
    }
}
