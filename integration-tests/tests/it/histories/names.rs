//! The refs of one repository as a model: what they point to, and which names cannot stand beside each other.
//!
//! Does not own: writing them (`life`). Setting a name removes what is in its way, as somebody who renames a branch into
//! a folder has to; a symbolic ref goes with its target.

use std::collections::BTreeMap;

/// What a ref points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An object of the repository.
    Oid(String),
    /// A commit of the stream that is being written.
    Mark(usize),
    /// Another ref.
    Ref(String),
}

/// Refs by full name.
pub type Names = BTreeMap<String, Target>;

/// Branches that get in each other's way.
pub const BRANCHES: [&str; 10] =
    ["main", "main/x", "a", "a/b", "a/b/c", "b", "b/c", "topic", "topic-2", "z/y/x"];

/// Sets a ref and removes every ref that cannot stand beside it.
pub fn set(names: &mut Names, name: &str, target: Target) {
    let in_the_way = |other: &String| {
        other.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
            || name.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    names.retain(|other, _| !in_the_way(other));
    names.insert(name.to_owned(), target);
}

/// Removes symbolic refs that lead nowhere, or to themselves.
pub fn drop_dangling(names: &mut Names) {
    loop {
        let leads = |target: &Target| !matches!(target, Target::Ref(to) if !names.contains_key(to));
        let dangling: Vec<String> =
            names.iter().filter(|(_, target)| !leads(target)).map(|(name, _)| name.clone()).collect();
        if dangling.is_empty() {
            return;
        }
        names.retain(|name, _| !dangling.contains(name));
    }
}

/// Branches that hold a commit of their own.
pub fn branches(names: &Names) -> Vec<&str> {
    let own = names
        .iter()
        .filter(|(name, target)| name.starts_with("refs/heads/") && !matches!(target, Target::Ref(_)));
    own.map(|(name, _)| name.as_str()).collect()
}
