//! The files of `certs`: written once, mode 0600, never overwritten.
//!
//! Does not own: what is in them.

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use packhorse_model::{ErrorKind, Problem, Subject};

/// Writes a file that must not exist.
pub fn write_new(path: &Path, text: &str) -> Result<(), Problem> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let problem = Problem::new(ErrorKind::AlreadyExists, Subject::Host, "make certificate");
            problem
                .on(path.display())
                .answered("it exists, and is never overwritten")
                .next("move it away first")
        }
        _ => failed(path, e),
    })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| failed(path, e))
}

/// The error of a file.
pub fn failed(path: &Path, answer: impl std::fmt::Display) -> Problem {
    Problem::new(ErrorKind::Unavailable, Subject::Host, "make certificate")
        .on(path.display())
        .answered(answer)
}

/// The error of a name.
pub fn refused(name: &str, answer: &str) -> Problem {
    Problem::new(ErrorKind::Invalid, Subject::Configuration, "make certificate").on(name).answered(answer)
}
