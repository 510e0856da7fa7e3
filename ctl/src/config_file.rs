//! Which configuration file is read: that of the flag or the environment, or else the daemons' own.
//!
//! Does not own: reading it (`service::config`). The daemons' file is taken only when nothing else says where backups are:
//! who gives `--vault` describes everything by flags. One that is there and cannot be read is an error, never passed over.

use std::{
    io::ErrorKind as Io,
    path::{Path, PathBuf},
};

use packhorse_model::{ErrorKind, Problem, Subject, whose};

use crate::args::Common;

/// The file to read, if any.
pub fn of(common: &Common) -> Result<Option<PathBuf>, Problem> {
    let system = Path::new(&common.system_config);
    match &common.config {
        Some(file) => Ok(Some(file.clone())),
        None if common.vault.is_some() || system.as_os_str().is_empty() => Ok(None),
        None => existing(system),
    }
}

fn existing(file: &Path) -> Result<Option<PathBuf>, Problem> {
    let refused = |error: std::io::Error| {
        Problem::new(ErrorKind::Invalid, Subject::Configuration, "read configuration")
            .on(file.display())
            .answered(match error.kind() {
                Io::PermissionDenied => format!("{error}: {}", whose(file)),
                _ => error.to_string(),
            })
            .next("run as a user who may read it, or name another with --config, or give --vault or --coordinator")
    };
    match std::fs::File::open(file) {
        Ok(_) => Ok(Some(file.to_owned())),
        Err(error) if error.kind() == Io::NotFound => Ok(None),
        Err(error) => Err(refused(error)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    fn chosen(args: &[&str]) -> Result<Option<PathBuf>, Problem> {
        let args = Args::try_parse_from(["backupctl", "list"].iter().chain(args)).expect("valid flags");
        of(&args.common)
    }

    #[test]
    fn a_flag_beats_the_file_of_the_daemons_which_is_never_passed_over() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = |name: &str| folder.path().join(name);
        let system = |name: &str| format!("--system-config={}", path(name).display());
        std::fs::write(path("there.toml"), "").expect("write file");
        assert_eq!(chosen(&[&system("there.toml")]).expect("chosen"), Some(path("there.toml")));
        assert_eq!(chosen(&[&system("missing.toml")]).expect("none"), None);
        assert_eq!(chosen(&["--system-config="]).expect("none"), None);
        let named = chosen(&[&system("there.toml"), "--config=mine.toml"]).expect("chosen");
        assert_eq!(named, Some("mine.toml".into()));
        assert_eq!(chosen(&[&system("there.toml"), "--vault=file:///v"]).expect("flags only"), None);
        // A path below a file cannot be looked at, whoever we are.
        let problem = chosen(&[&system("there.toml/below")]).expect_err("not passed over");
        assert_eq!(problem.kind, ErrorKind::Invalid);
    }
}
