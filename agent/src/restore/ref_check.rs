//! Whether the names of stored refs are valid.
//!
//! Does not own: writing them, or which of them stand in each other's way (`RefSnapshot::leave_out_folders`). Names come
//! from stored data and become file names, so nothing is written before every name has passed: under `refs/`, by git's
//! rules (which forbid `..`, `.lock`, empty and dotted components).

use gix::bstr::ByteSlice;
use packhorse_model::{Problem, encode_ref_name};
use packhorse_vault::{Head, RefSnapshot};

use crate::restore::io_problem::corrupt;

/// Refuses a snapshot with names that git would not accept.
pub(super) fn check(refs: &RefSnapshot) -> Result<(), Problem> {
    refs.refs.iter().try_for_each(|(name, _)| check_name(name))?;
    for symref in &refs.symrefs {
        check_name(&symref.name)?;
        check_name(&symref.target)?;
    }
    match &refs.head {
        Head::Symbolic(target) => check_name(target),
        Head::Detached(_) => Ok(()),
    }
}

fn check_name(name: &[u8]) -> Result<(), Problem> {
    if !name.starts_with(b"refs/") {
        return Err(refused(name, "is not under refs/"));
    }
    if is_plain(name) {
        return Ok(());
    }
    gix::validate::reference::name(name.as_bstr()).map(drop).map_err(|e| refused(name, &e.to_string()))
}

/// Whether a name has nothing that a rule of git's is about, as nearly all: letters, digits, `-` and `_` between slashes.
fn is_plain(name: &[u8]) -> bool {
    let mut last = b'/';
    for &byte in name {
        match byte {
            b'/' if last == b'/' => return false,
            b'/' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => last = byte,
            _ => return false,
        }
    }
    last != b'/'
}

fn refused(name: &[u8], finding: &str) -> Problem {
    corrupt("restore refs", encode_ref_name(name), finding)
}

#[cfg(test)]
mod tests {
    use packhorse_vault::{ObjectFormat, Oid, RefList, RefStorage, Symref};

    use super::*;

    fn snapshot(names: &[&[u8]], symref: Option<(&[u8], &[u8])>) -> RefSnapshot {
        let oid = Oid::from_bytes(&[1; 20]).expect("20 bytes");
        let symrefs = symref.map(|(name, target)| Symref { name: name.to_vec(), target: target.to_vec() });
        RefSnapshot {
            object_format: ObjectFormat::Sha1,
            ref_storage: RefStorage::Files,
            head: Head::Symbolic(b"refs/heads/main".to_vec()),
            refs: RefList::from_unsorted(names.iter().map(|name| (name.to_vec(), oid)).collect()),
            symrefs: symrefs.into_iter().collect(),
        }
    }

    #[test]
    fn odd_names_that_git_accepts_pass() {
        let odd: [&[u8]; 8] = [
            b"refs/heads/caf\xe9",
            "refs/heads/ü".as_bytes(),
            b"refs/heads/-dash",
            b"refs/heads/@",
            b"refs/keep-around/a.b",
            b"refs/heads/a'b\"c$d%20#!&|;<>",
            b"refs/stash",
            b"refs/heads/HEAD",
        ];
        check(&snapshot(&odd, Some((b"refs/remotes/origin/HEAD", b"refs/heads/@")))).expect("valid");
    }

    #[test]
    fn names_that_leave_refs_or_break_gits_rules_are_refused() {
        let bad: [&[u8]; 12] = [
            b"refs/../config",
            b"refs/heads/..",
            b"refs/heads/a.lock",
            b"refs/heads/a.lock/b",
            b"refs/heads//a",
            b"refs/heads/",
            b"refs/heads/.a",
            b"refs/heads/a b",
            b"refs/heads/a\0b",
            b"refs/heads/a\nb",
            b"refs/heads/a@{1}",
            b"config",
        ];
        for name in bad {
            let shown = name.escape_ascii().to_string();
            check(&snapshot(&[name], None)).expect_err(&shown);
            check(&snapshot(&[], Some((name, b"refs/heads/x")))).expect_err(&shown);
            check(&snapshot(&[], Some((b"refs/heads/x", name)))).expect_err(&shown);
        }
    }

    #[test]
    fn no_name_is_plain_that_git_refuses() {
        let alphabet = b"aZ0-_/.@{~^:?*[\\ \x7f";
        let mut plain = 0;
        let mut ends: Vec<Vec<u8>> = vec![Vec::new()];
        for _ in 0..4 {
            let longer = ends.iter().flat_map(|end| alphabet.iter().map(|byte| [end, &[*byte][..]].concat()));
            ends = longer.collect();
            for end in &ends {
                let name = [b"refs/", end.as_slice()].concat();
                let valid = gix::validate::reference::name(name.as_bstr()).is_ok();
                assert!(valid || !is_plain(&name), "{}", name.escape_ascii());
                assert_eq!(check_name(&name).is_ok(), valid, "{}", name.escape_ascii());
                plain += usize::from(is_plain(&name));
            }
        }
        assert!(plain > 500, "{plain}");
    }
}
