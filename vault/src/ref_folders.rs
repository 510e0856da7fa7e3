//! Refs that no repository of ours can hold beside others: a ref's name must not be the folder of another ref's.
//!
//! Git refuses to make `refs/heads/d` beside `refs/heads/d/e`, and yet lists both where a copy brought one of them packed
//! and the other as a file. Of two such refs the folder is left out, so that the other, and all else, has its place.
//!
//! Does not own: telling what is left out (the agent). Backup and restore ask this one function, so what a backup says is
//! whole can be restored. HEAD may lead to any name: a ref that does not exist stands in nobody's way.

use std::collections::BTreeMap;

use crate::{RefList, RefSnapshot};

impl RefSnapshot {
    /// Removes every ref whose name is the folder of another ref's, and the symbolic refs that would lead nowhere without
    /// these; says of each, by name, why.
    pub fn leave_out_folders(&mut self) -> BTreeMap<Vec<u8>, String> {
        let mut left_out = self.folders();
        if left_out.is_empty() {
            return left_out;
        }
        // Symbolic refs may lead to symbolic refs.
        while let Some(symref) = self.symrefs.iter().find(|symref| {
            left_out.contains_key(&symref.target)
                && !left_out.contains_key(&symref.name)
                && self.refs.get(&symref.name).is_some()
        }) {
            let finding = format!("it leads to {}, which is left out", shown(&symref.target));
            left_out.insert(symref.name.clone(), finding);
        }
        let mut rest = RefList::new();
        for (name, oid) in self.refs.iter().filter(|(name, _)| !left_out.contains_key(*name)) {
            let pushed = rest.push(name, oid);
            debug_assert!(pushed, "names of a list ascend");
        }
        self.refs = rest;
        self.symrefs.retain(|symref| !left_out.contains_key(&symref.name));
        left_out
    }

    /// The refs whose names are folders of others' names.
    fn folders(&self) -> BTreeMap<Vec<u8>, String> {
        let dangling = self.symrefs.iter().map(|symref| symref.name.as_slice());
        let mut dangling = dangling.filter(|name| self.refs.get(name).is_none()).peekable();
        let refs = self.refs.iter().map(|(name, _)| name);
        if dangling.peek().is_none() {
            return folders_among(refs);
        }
        let mut names: Vec<&[u8]> = refs.chain(dangling).collect();
        names.sort_unstable();
        folders_among(names.into_iter())
    }
}

/// Those of these sorted names that are folders of others.
fn folders_among<'a>(names: impl Iterator<Item = &'a [u8]>) -> BTreeMap<Vec<u8>, String> {
    let mut folders = BTreeMap::new();
    let mut above: Vec<&[u8]> = Vec::new();
    for name in names {
        // `d-x` sorts between `d` and `d/e`; but all that a name begins with stand before it, and none is passed by.
        while above.last().is_some_and(|begin| !name.starts_with(begin)) {
            above.pop();
        }
        for folder in above.iter().filter(|begin| name.get(begin.len()) == Some(&b'/')) {
            if !folders.contains_key(*folder) {
                folders.insert(folder.to_vec(), format!("it cannot stand beside {}", shown(name)));
            }
        }
        above.push(name);
    }
    folders
}

fn shown(name: &[u8]) -> String {
    packhorse_model::encode_ref_name(name)
}

#[cfg(test)]
mod tests {
    use crate::{Head, ObjectFormat, Oid, RefStorage, Symref};

    use super::*;

    fn snapshot(names: &[&str], symrefs: &[(&str, &str)]) -> RefSnapshot {
        let oid = Oid::from_bytes(&[1; 20]).expect("20 bytes");
        let symref =
            |(name, target): &(&str, &str)| Symref { name: (*name).into(), target: (*target).into() };
        RefSnapshot {
            object_format: ObjectFormat::Sha1,
            ref_storage: RefStorage::Files,
            head: Head::Symbolic(b"refs/heads/main".to_vec()),
            refs: RefList::from_unsorted(names.iter().map(|name| ((*name).into(), oid)).collect()),
            symrefs: symrefs.iter().map(symref).collect(),
        }
    }

    fn left_out(refs: &mut RefSnapshot) -> Vec<String> {
        let left_out = refs.leave_out_folders();
        assert!(refs.leave_out_folders().is_empty(), "nothing stands in the way any more");
        left_out.into_keys().map(|name| String::from_utf8(name).expect("ASCII")).collect()
    }

    #[test]
    fn the_folder_is_left_out_whatever_sorts_between() {
        for (names, expected) in [
            (
                &["refs/heads/d", "refs/heads/d-x", "refs/heads/d.x", "refs/heads/d/e/f"][..],
                &["refs/heads/d"][..],
            ),
            (&["refs/h/d", "refs/h/d/e", "refs/h/d/e/f"], &["refs/h/d", "refs/h/d/e"]),
            (&["refs/h/d/e", "refs/h/d/e-f", "refs/h/d/e-f/g"], &["refs/h/d/e-f"]),
            (&["refs/a", "refs/a-b/c", "refs/a-b/d", "refs/a/b"], &["refs/a"]),
            (&["refs/a-b/c", "refs/a/b", "refs/ab/c", "refs/heads/a", "refs/heads/a.b"], &[]),
        ] {
            let mut refs = snapshot(names, &[]);
            assert_eq!(left_out(&mut refs), expected);
            let rest: Vec<&[u8]> = refs.refs.iter().map(|(name, _)| name).collect();
            let others = names.iter().filter(|name| !expected.contains(name));
            assert_eq!(rest, others.map(|name| name.as_bytes()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn symbolic_refs_count_and_those_that_lead_to_what_is_left_out_are_told() {
        // One that leads nowhere is a file, too.
        let mut refs = snapshot(&["refs/h/a/b"], &[("refs/h/a", "refs/h/x")]);
        assert_eq!(left_out(&mut refs), ["refs/h/a"]);
        assert!(refs.symrefs.is_empty());
        let mut refs = snapshot(&["refs/h/a"], &[("refs/h/a/b", "refs/h/x")]);
        assert_eq!(left_out(&mut refs), ["refs/h/a"]);
        assert_eq!(refs.symrefs.len(), 1);
        let names = ["refs/h/d", "refs/h/d/e", "refs/h/m", "refs/h/s", "refs/h/t", "refs/h/u"];
        let symrefs = [("refs/h/s", "refs/h/t"), ("refs/h/t", "refs/h/d"), ("refs/h/u", "refs/h/m")];
        let mut refs = snapshot(&names, &symrefs);
        assert_eq!(left_out(&mut refs), ["refs/h/d", "refs/h/s", "refs/h/t"]);
        assert_eq!((refs.refs.len(), refs.symrefs.len()), (3, 1));
    }

    #[test]
    fn a_head_that_leads_nowhere_is_in_nobodys_way() {
        let mut refs = snapshot(&["refs/heads/main/x"], &[]);
        assert!(left_out(&mut refs).is_empty());
    }
}
