//! The oracle: everything of a repository that a restore must bring back, read by git itself.
//!
//! Does not own: whether the objects are sound (`GitRepo::fsck`). Two equal states have the same HEAD, refs, symbolic
//! refs, reachable objects, object format and custom hooks. It does not see how refs and objects are stored,
//! unreachable objects, or symbolic refs that lead nowhere (other than HEAD), which git does not list.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use sha2::{Digest, Sha256};

use crate::{
    command::{run_checked, stdout_text},
    differences::compare_maps,
    git::{
        GitRepo,
        hooks::{HookEntry, read_hooks},
    },
};

/// Where HEAD points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// To a ref that exists.
    Symbolic(String),
    /// To a ref that does not exist yet.
    Unborn(String),
    /// To a commit.
    Detached(String),
}

/// One ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefState {
    /// The object it leads to.
    pub oid: String,
    /// The ref it points to, when it is symbolic.
    pub symref: Option<Vec<u8>>,
}

/// The ids of all reachable objects, sorted.
#[derive(Clone, PartialEq, Eq)]
pub struct ReachableObjects(Vec<String>);

/// What a restore must bring back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoState {
    /// `sha1` or `sha256`.
    pub object_format: String,
    /// Where HEAD points.
    pub head: Head,
    /// Every ref by its full name.
    pub refs: BTreeMap<Vec<u8>, RefState>,
    /// Everything that HEAD and the refs reach.
    pub objects: ReachableObjects,
    /// Everything below `custom_hooks`, by path.
    pub custom_hooks: BTreeMap<PathBuf, HookEntry>,
}

impl RepoState {
    /// Reads the state of a repository.
    pub(super) fn read(repo: &GitRepo) -> Self {
        Self {
            object_format: repo.run(&["rev-parse", "--show-object-format"]),
            head: read_head(repo),
            refs: read_refs(repo),
            objects: ReachableObjects::read(repo),
            custom_hooks: read_hooks(repo.path()),
        }
    }

    /// Panics with the differences unless both states are equal.
    #[track_caller]
    pub fn assert_same(expected: &Self, actual: &Self) {
        let differences = expected.differences(actual);
        assert!(differences.is_empty(), "repositories differ:\n{}", differences.join("\n"));
    }

    /// One line for each difference, at most twenty of a kind.
    pub fn differences(&self, actual: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.object_format != actual.object_format {
            lines.push(format!("object format: {} became {}", self.object_format, actual.object_format));
        }
        if self.head != actual.head {
            lines.push(format!("HEAD: {:?} became {:?}", self.head, actual.head));
        }
        let name = |name: &Vec<u8>| name.escape_ascii().to_string();
        lines.extend(compare_maps("ref", &self.refs, &actual.refs, name));
        let set = |objects: &ReachableObjects| objects.0.iter().map(|oid| (oid.clone(), ())).collect();
        lines.extend(compare_maps("object", &set(&self.objects), &set(&actual.objects), String::clone));
        let path = |path: &PathBuf| path.display().to_string();
        lines.extend(compare_maps("custom hook", &self.custom_hooks, &actual.custom_hooks, path));
        lines
    }
}

impl ReachableObjects {
    fn read(repo: &GitRepo) -> Self {
        let list = repo.run(&["rev-list", "--objects", "--no-object-names", "--all"]);
        let mut oids: Vec<String> = list.lines().map(str::to_owned).collect();
        oids.sort();
        oids.dedup();
        Self(oids)
    }

    /// The ids, sorted.
    pub fn oids(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Debug for ReachableObjects {
    /// The count and a digest: the ids themselves would fill the screen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = Sha256::digest(self.0.join("\n"));
        write!(f, "{} objects, sha256 ", self.0.len())?;
        digest[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn read_head(repo: &GitRepo) -> Head {
    let output = repo.try_run(&["symbolic-ref", "--quiet", "HEAD"]);
    if !output.status.success() {
        return Head::Detached(repo.run(&["rev-parse", "--verify", "HEAD"]));
    }
    let target = stdout_text(output);
    if repo.tip(&target).is_some() { Head::Symbolic(target) } else { Head::Unborn(target) }
}

fn read_refs(repo: &GitRepo) -> BTreeMap<Vec<u8>, RefState> {
    const FORMAT: &str = "--format=%(refname)%00%(objectname)%00%(symref)";
    let output = run_checked(repo.command().args(["for-each-ref", FORMAT]));
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut fields = line.split(|byte| *byte == 0).map(<[u8]>::to_vec);
            let mut next = || fields.next().expect("git prints three fields");
            let (name, oid, symref) = (next(), next(), next());
            let oid = String::from_utf8(oid).expect("object ids are hex");
            (name, RefState { oid, symref: Some(symref).filter(|target| !target.is_empty()) })
        })
        .collect()
}

#[cfg(test)]
mod tests;
