//! Whether stored refs can be written into a repository: valid names that do not stand in each other's way.
//!
//! Does not own: writing them. Names come from stored data and become file names, so nothing is written before every
//! name has passed: under `refs/`, by git's rules (which forbid `..`, `.lock`, empty and dotted components), and no
//! name a folder of another.

use std::collections::HashSet;

use gix::bstr::ByteSlice;
use packhorse_model::{Problem, encode_ref_name};
use packhorse_vault::{Head, RefSnapshot};

use crate::restore::io_problem::corrupt;

/// Refuses a snapshot that no repository can hold.
pub(super) fn check(refs: &RefSnapshot) -> Result<(), Problem> {
    let mut above: Vec<&[u8]> = Vec::new();
    for (name, _) in refs.refs.iter() {
        check_name(name)?;
        // Names are sorted, so those that this one begins with stand together before it.
        while above.last().is_some_and(|begin| !name.starts_with(begin)) {
            above.pop();
        }
        if let Some(folder) = above.iter().find(|begin| name.get(begin.len()) == Some(&b'/')) {
            return Err(cannot_stand(name, folder));
        }
        above.push(name);
    }
    check_symbolic(refs)?;
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

fn check_symbolic(refs: &RefSnapshot) -> Result<(), Problem> {
    if refs.symrefs.is_empty() {
        return Ok(());
    }
    let symbolic: HashSet<&[u8]> = refs.symrefs.iter().map(|symref| symref.name.as_slice()).collect();
    for symref in &refs.symrefs {
        check_name(&symref.name)?;
        check_name(&symref.target)?;
        check_folders(&symref.name, |name| refs.refs.get(name).is_some() || symbolic.contains(name))?;
    }
    refs.refs.iter().try_for_each(|(name, _)| check_folders(name, |name| symbolic.contains(name)))
}

fn check_folders(name: &[u8], is_ref: impl Fn(&[u8]) -> bool) -> Result<(), Problem> {
    let slashes = name.iter().enumerate().skip(b"refs/".len()).filter(|(_, byte)| **byte == b'/');
    let mut folders = slashes.map(|(at, _)| &name[..at]);
    folders.find(|folder| is_ref(folder)).map_or(Ok(()), |folder| Err(cannot_stand(name, folder)))
}

fn cannot_stand(name: &[u8], folder: &[u8]) -> Problem {
    refused(name, &format!("cannot stand beside {}", encode_ref_name(folder)))
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

    #[test]
    fn a_name_that_is_a_folder_of_another_is_refused() {
        check(&snapshot(&[b"refs/heads/a", b"refs/heads/a.b", b"refs/heads/a/b"], None))
            .expect_err("conflict");
        for names in [
            &[b"refs/heads/a".as_slice(), b"refs/heads/a-b", b"refs/heads/a.b", b"refs/heads/a/b/c"][..],
            &[b"refs/heads/a/b", b"refs/heads/a/b-c", b"refs/heads/a/b-c/d"],
            &[b"refs/a", b"refs/a-b/c", b"refs/a-b/d", b"refs/a/b"],
        ] {
            check(&snapshot(names, None)).expect_err("conflict");
        }
        check(&snapshot(&[b"refs/heads/a/b"], Some((b"refs/heads/a", b"refs/heads/x"))))
            .expect_err("conflict");
        check(&snapshot(&[b"refs/heads/a"], Some((b"refs/heads/a/b", b"refs/heads/x"))))
            .expect_err("conflict");
        check(&snapshot(&[b"refs/a-b/c", b"refs/a/b", b"refs/ab/c"], None)).expect("no conflict");
        check(&snapshot(&[b"refs/heads/a", b"refs/heads/a.b"], None)).expect("no conflict");
    }
}
