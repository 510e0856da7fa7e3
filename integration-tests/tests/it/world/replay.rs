//! Another reader of the vault: plain git, the way Gitaly restores.
//!
//! Does not own: comparing hooks and symbolic refs, which this way of reading does not bring back. Nothing of Packhorse
//! takes part but the keys of the layout: the manifest is read as TOML, every step is fetched from its bundle without
//! pruning, then the refs are set to the last step's list.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use packhorse_testkit::{GitRepo, RepoState, run_checked, run_with_input};
use toml::{Table, Value};

use super::World;

/// A manifest's steps and what it says beside them.
pub struct Manifest(Table);

/// Object ids by ref name, `HEAD` too where it leads somewhere.
type Refs = BTreeMap<Vec<u8>, String>;

impl World {
    /// The manifest that a backup has for a repository: the newest up to its ID.
    #[track_caller]
    pub fn manifest(&self, id: &str, path: &str) -> Manifest {
        let folder = self.vault().join("manifests/default").join(path);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let names = entries.map(|entry| entry.expect("readable folder").file_name());
        let names = names.filter_map(|name| name.to_str()?.strip_suffix(".toml").map(str::to_owned));
        let newest = names.filter(|name| name != "+latest" && name.as_str() <= id).max();
        let newest = newest.unwrap_or_else(|| panic!("no manifest up to {id} in {}", folder.display()));
        let text = fs::read_to_string(folder.join(format!("{newest}.toml"))).expect("read manifest");
        Manifest(text.parse().unwrap_or_else(|error| panic!("manifest {path} {newest}: {error}\n{text}")))
    }

    /// Rebuilds a repository from its chain with git alone and compares.
    #[track_caller]
    pub fn replay(&self, id: &str, path: &str, expected: &RepoState) {
        let manifest = self.manifest(id, path);
        let folder = tempfile::tempdir_in(self.folder.path()).expect("temporary folder");
        let format = format!("--object-format={}", manifest.text("object_format"));
        // One file for each of many refs would take minutes.
        let many = expected.refs.len() > 5_000 && GitRepo::can_make_reftables();
        let storage = if many { "--ref-format=reftable" } else { "--quiet" };
        let repo = GitRepo::init_with(folder.path(), &[&format, storage]);
        let mut previous = None;
        let (mut refs, mut bundle) = (Refs::new(), PathBuf::new());
        for (number, step) in manifest.steps().into_iter().enumerate() {
            let name = |key: &str| step.get(key).and_then(Value::as_str).map(str::to_owned);
            assert_eq!(name("previous_ref_path"), previous, "{path} step {number}");
            previous = name("ref_path");
            refs = read_refs(&self.vault().join(previous.as_ref().expect("every step has a refs list")));
            bundle = self.vault().join(name("bundle_path").expect("every step names a bundle"));
            if number == 0 && !refs.is_empty() {
                repo.run(&["bundle", "verify", "--quiet", utf8(&bundle)]);
            }
            if refs.keys().any(|name| name != b"HEAD") {
                fetch(&repo, &bundle);
            }
        }
        assert_eq!(manifest.0["empty"].as_bool(), Some(refs.is_empty()), "{path}");
        let head = refs.remove(b"HEAD".as_slice());
        reset_refs(&repo, &refs);
        match (manifest.0.get("head_reference").and_then(Value::as_str), head) {
            (Some(target), _) => repo.set_head(target),
            (None, Some(oid)) => {
                // A refspec does not name HEAD, so what only a detached HEAD has is taken by hand.
                if repo.tip(&format!("{oid}^{{commit}}")).is_none() {
                    repo.run(&["bundle", "unbundle", utf8(&bundle)]);
                }
                repo.detach_head(&oid);
            }
            (None, None) => panic!("{path}: the manifest leads HEAD nowhere"),
        }
        let differences = comparable(expected).differences(&repo.state());
        assert!(differences.is_empty(), "replay of backup {id}, {path}:\n{}", differences.join("\n"));
        repo.fsck();
    }
}

impl Manifest {
    /// A value of the manifest's first level.
    #[track_caller]
    pub fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_else(|| panic!("{key} is no text"))
    }

    /// The steps, full first.
    pub fn steps(&self) -> Vec<&Table> {
        let steps = self.0["steps"].as_array().expect("steps are a list");
        steps.iter().map(|step| step.as_table().expect("a step is a table")).collect()
    }

    /// The key of a step's bundle, counted from 1.
    pub fn bundle(&self, step: usize) -> &str {
        self.steps()[step - 1]["bundle_path"].as_str().expect("a step names its bundle")
    }
}

/// The state without what only Packhorse keeps.
fn comparable(state: &RepoState) -> RepoState {
    let mut state = state.clone();
    state.custom_hooks.clear();
    state.refs.values_mut().for_each(|entry| entry.symref = None);
    state
}

fn fetch(repo: &GitRepo, bundle: &Path) {
    let fetch = ["fetch", "--no-write-fetch-head", "--quiet", "--atomic", utf8(bundle), "+refs/*:refs/*"];
    repo.run(&[&["-c", "transfer.fsckObjects=false"], fetch.as_slice()].concat());
}

/// Deletes what is not wanted, then creates and moves the rest.
fn reset_refs(repo: &GitRepo, wanted: &Refs) {
    let list = run_checked(repo.command().args(["for-each-ref", "--format=%(objectname) %(refname)"]));
    let existing = parse_refs(&list.stdout);
    let (mut deletes, mut updates) = (Vec::new(), Vec::new());
    for name in existing.keys().filter(|name| !wanted.contains_key(*name)) {
        deletes.extend([b"delete ", name.as_slice(), b"\0\0"].concat());
    }
    for (name, oid) in wanted.iter().filter(|(name, oid)| existing.get(*name) != Some(oid)) {
        updates.extend([b"update ", name.as_slice(), b"\0", oid.as_bytes(), b"\0\0"].concat());
    }
    for commands in [deletes, updates] {
        run_with_input(repo.command().args(["update-ref", "--no-deref", "-z", "--stdin"]), &commands);
    }
}

fn read_refs(file: &Path) -> Refs {
    parse_refs(&fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

fn parse_refs(list: &[u8]) -> Refs {
    let lines = list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let parsed = lines.map(|line| {
        let space = line.iter().position(|byte| *byte == b' ').expect("a refs line has a space");
        let oid = String::from_utf8(line[..space].to_vec()).expect("object ids are hex");
        (line[space + 1..].to_vec(), oid)
    });
    parsed.collect()
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("paths of a world are UTF-8")
}
