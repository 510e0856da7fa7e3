//! What tar said while it read a folder, sorted by what it means.
//!
//! Does not own: running tar, or how much may be removed. A file that changes while tar reads it is recorded and is no
//! failure. A file that was removed before tar read it is not stored, and is listed apart. A file that cannot be read is a
//! failure with its name, and the rest of the archive is good. A line that is not recognised spoils the archive, because
//! nobody can say what tar left out.

use packhorse_model::RunSummary;

use crate::pipe::LastLines;

/// Ends of lines about files that changed under tar's hands, and are stored as they were read.
const CHANGED: [&str; 2] = [": file changed as we read it", "; padding with zeros"];
/// The end of lines about what went away and is not stored.
const REMOVED: &str = ": File removed before we read it";
/// The same, as a reason why a file could not be read.
const NOT_THERE: &str = ": No such file or directory";
/// Before the reason why a file could not be read, when `--ignore-failed-read` is given.
const WARNING: &str = ": Warning: ";
/// Sockets cannot be in an archive, and no program expects one back.
const SOCKET: &str = ": socket ignored";

/// What a tar says that was built without something that files may have: nobody knows which files have it.
const UNSUPPORTED: [&str; 2] = ["XATTR support is not available", "POSIX ACL support is not available"];

/// Names that are kept of each sort.
const KEPT: usize = RunSummary::MAX_FAILURES;

/// The sorted lines, with bounded lists.
#[derive(Default)]
pub(super) struct Report {
    /// Files that changed or shrank, as tar says it.
    pub(super) changed: Vec<String>,
    /// Files and folders that were removed before they were read.
    pub(super) removed: Vec<String>,
    /// Files that could not be read, and why.
    pub(super) unreadable: Vec<(String, String)>,
    /// Unreadable files beyond those that are kept.
    pub(super) unreadable_more: u64,
    /// Lines that were not recognised.
    pub(super) unknown: LastLines,
}

impl Report {
    /// Sorts one line of tar's diagnostics.
    pub(super) fn push(&mut self, line: &str) {
        let line = line.split_once("tar: ").map_or(line, |(_, rest)| rest);
        if line.is_empty() || line.ends_with(SOCKET) {
            return;
        }
        if UNSUPPORTED.contains(&line) {
            return self.unreadable(".", line);
        }
        // Names come first and may look like anything; so what tar says is looked for from the end.
        let warning = line.rfind(WARNING).map(|at| (&line[..at], &line[at + WARNING.len()..]));
        match warning {
            Some((name, reason)) if reason.ends_with(NOT_THERE) => keep(&mut self.removed, name),
            Some((name, reason)) => self.unreadable(name, reason),
            None if CHANGED.iter().any(|end| line.ends_with(end)) => keep(&mut self.changed, line),
            None => match line.strip_suffix(REMOVED).or_else(|| line.strip_suffix(NOT_THERE)) {
                Some(name) if !name.contains(": Cannot ") => keep(&mut self.removed, name),
                _ => self.unknown.push(line),
            },
        }
    }

    fn unreadable(&mut self, name: &str, reason: &str) {
        if self.unreadable.len() < KEPT {
            self.unreadable.push((relative(name), reason.to_owned()));
        } else {
            self.unreadable_more += 1;
        }
    }
}

fn keep(list: &mut Vec<String>, line: &str) {
    if list.len() < KEPT {
        list.push(relative(line));
    }
}

/// Members are named `./a`; the folder itself is `.`.
fn relative(name: &str) -> String {
    name.strip_prefix("./").unwrap_or(name).to_owned()
}

/// The path that tar named, which escapes what is no plain text.
pub fn path_of(name: &str) -> Vec<u8> {
    let mut path = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        let (byte, after) = match (octal, rest) {
            (Some(byte), _) => (byte, &tail[3..]),
            (None, [b'\\', escaped, after @ ..]) => (plain(*escaped), after),
            _ => (*first, tail),
        };
        path.push(byte);
        rest = after;
    }
    path
}

fn plain(escaped: u8) -> u8 {
    match escaped {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        itself => itself,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_place() {
        let mut report = Report::default();
        for line in [
            "tar: ./a: file changed as we read it",
            "tar: ./b: File shrank by 12 bytes; padding with zeros",
            "tar: ./c: File removed before we read it",
            "tar: ./s: socket ignored",
            "tar: ./d: Warning: Cannot open: Permission denied",
            "tar: ./e: Warning: Read error at byte 0, while reading 512 bytes: Input/output error",
            "tar: ./f: Warning: Cannot stat: No such file or directory",
            "tar: ./x: socket ignored: Warning: Cannot open: Permission denied",
            "tar: POSIX ACL support is not available",
            "",
        ] {
            report.push(line);
        }
        assert_eq!(report.unknown.text(None), "");
        assert_eq!(
            report.changed,
            ["a: file changed as we read it", "b: File shrank by 12 bytes; padding with zeros"]
        );
        assert_eq!(report.removed, ["c", "f"]);
        let names: Vec<&str> = report.unreadable.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["d", "e", "x: socket ignored", "."]);
        assert_eq!(report.unreadable[0].1, "Cannot open: Permission denied");
    }

    #[test]
    fn a_name_that_is_escaped_is_a_path_again() {
        assert_eq!(path_of("a\\nb\\\\c\\303\\251 d"), b"a\nb\\c\xc3\xa9 d");
        assert_eq!(path_of("trailing\\"), b"trailing\\");
    }

    #[test]
    fn what_is_not_known_is_kept_as_such() {
        for line in [
            "tar: Exiting with failure status due to previous errors",
            "tar: ./a: Cannot open: No such file or directory",
            "tar: ./a: something new",
            "./a: No space left on device",
        ] {
            let mut report = Report::default();
            report.push(line);
            assert_ne!(report.unknown.text(None), "", "{line}");
            assert!(report.changed.is_empty() && report.unreadable.is_empty(), "{line}");
        }
    }
}
