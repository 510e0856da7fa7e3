//! Where our built binaries are.
//!
//! Does not own: building them; cargo does not do that for another package's tests, so `make test` builds them first.
//! They are taken from the running test's own target folder, so a debug test never runs a release binary.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::hermetic_command;

/// One of our programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `packhorse-agent`
    Agent,
    /// `packhorse-coordinator`
    Coordinator,
    /// `backupctl`
    Backupctl,
}

impl Binary {
    /// The file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "packhorse-agent",
            Self::Coordinator => "packhorse-coordinator",
            Self::Backupctl => "backupctl",
        }
    }

    /// Where it was built; panics with the command to build it when it was not.
    pub fn path(self) -> PathBuf {
        let test = env::current_exe().expect("Linux knows the running program");
        let path = profile_folder(&test).join(self.name());
        assert!(path.is_file(), "{} is missing; run `cargo build --workspace --bins`", path.display());
        path
    }

    /// A command that runs it with a cleared environment.
    pub fn command(self) -> Command {
        let mut command = hermetic_command(self.path());
        command.env("RUST_BACKTRACE", "1");
        // What lies in this machine's /etc is no part of a test.
        command.env("PACKHORSE_SYSTEM_CONFIG", "");
        command
    }
}

/// `target/<profile>`, from a test in `target/<profile>/deps` or a program in `target/<profile>`.
fn profile_folder(program: &Path) -> &Path {
    let folder = program.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.parent().expect("cargo puts these below the profile's folder")
    } else {
        folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_lie_beside_the_tests_folder() {
        assert_eq!(profile_folder(Path::new("/t/debug/deps/x-1")), Path::new("/t/debug"));
        assert_eq!(profile_folder(Path::new("/t/release/bench")), Path::new("/t/release"));
    }
}
