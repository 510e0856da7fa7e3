//! Writes vault contents with real git commands, as Gitaly does: an independent second writer for the tests.
//!
//! Does not own: anything of the backup half. Bundles come from `git bundle create`, refs lists from `git show-ref`,
//! hooks archives from `tar`; with `table`, the manifests get our table as well.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use packhorse_model::{BackupId, ObjectDigest, Outcome, RepoPath, StorageName, VaultSettings};
use packhorse_testkit::{GitRepo, hermetic_command, run_checked};
use packhorse_vault::{
    CatalogueEntry, CatalogueWriter, Fingerprint, Head, Manifest, ObjectFormat, ObjectKey, Oid, Packhorse,
    RefSnapshot, RefStorage, RunAttempt, Step, Symref, Vault, digest_of, open, parse_refs_file,
};

/// A vault folder with a catalogue in the making.
pub(super) struct Writer {
    pub folder: tempfile::TempDir,
    pub vault: Vault,
    pub table: bool,
    manifests: BTreeMap<RepoPath, Manifest>,
    entries: BTreeMap<RepoPath, CatalogueEntry>,
    runs: usize,
}

pub(super) fn storage() -> StorageName {
    "default".parse().expect("valid name")
}

pub(super) fn repo_path(text: &str) -> RepoPath {
    text.parse().expect("valid path")
}

impl Writer {
    pub(super) fn new(table: bool) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let url = format!("file://{}", folder.path().display());
        let vault = open(&VaultSettings::new(url)).expect("open vault");
        Self { folder, vault, table, manifests: BTreeMap::new(), entries: BTreeMap::new(), runs: 0 }
    }

    /// The file of an object.
    pub(super) fn file(&self, key: &str) -> PathBuf {
        self.folder.path().join(key)
    }

    /// Stores an index for the pack of the repository's first step, made by git, changed by the caller; gives its key.
    pub(super) fn index(&mut self, path: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
        let bundle = self.manifest(path).steps[0].bundle_path.clone();
        let format = self.manifest(path).object_format.clone();
        let bytes = change(index_of(&self.pack(&bundle), &format, "2"));
        let key = bundle.replace(".bundle", ".idx");
        let digest = self.put(&key, &bytes);
        self.edit(path, |manifest| {
            let table = manifest.packhorse.as_mut().expect("has our table");
            table.objects.retain(|object| object.path != digest.path);
            table.objects.push(digest);
        });
        key
    }

    /// The pack in a bundle.
    pub(super) fn pack(&self, bundle: &str) -> Vec<u8> {
        let bytes = fs::read(self.file(bundle)).expect("read bundle");
        let at = bytes.windows(2).position(|pair| pair == b"\n\n").expect("a header ends");
        bytes[at + 2..].to_vec()
    }

    fn put(&self, key: &str, bytes: &[u8]) -> ObjectDigest {
        let file = self.file(key);
        fs::create_dir_all(file.parent().expect("below the vault")).expect("create folder");
        fs::write(file, bytes).expect("write object");
        digest_of(&ObjectKey::from_stored(key).expect("valid key"), bytes)
    }

    /// Adds a step for the repository as it is now: a full one at first, then increments.
    pub(super) fn step(&mut self, repo: &GitRepo, path: &str) -> &mut Manifest {
        self.runs += 1;
        let id = format!("run{:03}", self.runs);
        let repo_path = repo_path(path);
        let before = self.manifests.remove(&repo_path);
        let number = before.as_ref().map_or(0, |manifest| manifest.steps.len()) + 1;
        let base = format!("default/{path}/{id}/{number:03}");
        let mut manifest = before.unwrap_or_else(|| self.first_manifest(repo));
        let previous = manifest.steps.last().map(|step| step.ref_path.clone()).unwrap_or_default();
        let step = Step {
            bundle_path: format!("{base}.bundle"),
            ref_path: format!("{base}.refs"),
            previous_ref_path: previous,
            custom_hooks_path: format!("{base}.custom_hooks.tar"),
        };
        let mut digests = Vec::new();
        let refs = repo.try_run(&["show-ref", "--head"]).stdout;
        digests.push(self.put(&step.ref_path, &refs));
        if !refs.is_empty() {
            digests.push(self.put(&step.bundle_path, &self.bundle(repo, &step.previous_ref_path)));
        }
        let hooks = hooks_archive(repo);
        digests.extend(hooks.as_ref().map(|hooks| self.put(&step.custom_hooks_path, hooks)));
        let head = repo.try_run(&["symbolic-ref", "HEAD"]);
        manifest.head_reference = head.status.success().then(|| head.stdout.trim_ascii_end().to_vec());
        // As Gitaly does it: set in the first step, inherited by the others.
        manifest.empty = if number == 1 { refs.is_empty() } else { manifest.empty };
        manifest.steps.push(step);
        if self.table {
            let before = manifest.packhorse.take().map_or_else(Vec::new, |table| table.objects);
            digests.splice(0..0, before);
            manifest.packhorse = Some(table_of(repo, &manifest, &refs, hooks.as_deref(), digests));
        }
        self.manifests.insert(repo_path.clone(), manifest);
        self.store(path, &id);
        self.manifests.get_mut(&repo_path).expect("just stored")
    }

    fn first_manifest(&self, repo: &GitRepo) -> Manifest {
        Manifest {
            empty: false,
            non_existent: false,
            object_format: repo.run(&["rev-parse", "--show-object-format"]),
            head_reference: None,
            steps: Vec::new(),
            packhorse: None,
        }
    }

    fn bundle(&self, repo: &GitRepo, previous: &str) -> Vec<u8> {
        let out = self.folder.path().join("temporary.bundle");
        let _ = fs::remove_file(&out);
        let mut command = repo.command();
        command.args(["bundle", "create", "-q"]).arg(&out).args(["--all", "--ignore-missing"]);
        if !previous.is_empty() {
            for line in fs::read_to_string(self.file(previous)).unwrap_or_default().lines() {
                command.arg(format!("^{}", line.split(' ').next().unwrap_or_default()));
            }
        }
        let output = command.output().expect("run git");
        if output.status.success() {
            return fs::read(&out).expect("read bundle");
        }
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains("empty bundle"), "{words}");
        match repo.run(&["rev-parse", "--show-object-format"]).as_str() {
            "sha1" => b"# v2 git bundle\n\n".to_vec(),
            _ => b"# v3 git bundle\n@object-format=sha256\n\n".to_vec(),
        }
    }

    /// Stores the manifest as it is now, and the repository's line of the catalogue.
    pub(super) fn store(&mut self, path: &str, id: &str) {
        let repo_path = repo_path(path);
        let manifest = &self.manifests[&repo_path];
        let digest = self.put(&format!("manifests/default/{path}/{id}.toml"), manifest.to_toml().as_bytes());
        let fingerprint = manifest.packhorse.as_ref().map(|table| table.fingerprint.clone());
        let entry = CatalogueEntry {
            path: repo_path.clone(),
            outcome: Outcome::BackedUp,
            manifest: Some(digest.path),
            manifest_sha256: self.table.then_some(digest.sha256),
            fingerprint,
            steps: manifest.steps.len() as u32,
            refs: 0,
            bytes_new: 0,
            bytes_total: manifest.bytes_total(),
            head: None,
            unproven: false,
            found_damaged: false,
            damage: None,
            error: None,
        };
        self.entries.insert(repo_path, entry);
    }

    /// Changes the stored manifest.
    pub(super) fn edit(&mut self, path: &str, change: impl FnOnce(&mut Manifest)) {
        change(self.manifests.get_mut(&repo_path(path)).expect("has a step"));
        self.runs += 1;
        let id = format!("run{:03}", self.runs);
        self.store(path, &id);
    }

    pub(super) fn manifest(&self, path: &str) -> &Manifest {
        &self.manifests[&repo_path(path)]
    }

    pub(super) fn entry(&mut self, path: &str) -> &mut CatalogueEntry {
        self.entries.entry(repo_path(path)).or_insert_with(|| CatalogueEntry {
            path: repo_path(path),
            outcome: Outcome::Failed,
            manifest: None,
            manifest_sha256: None,
            fingerprint: None,
            steps: 0,
            refs: 0,
            bytes_new: 0,
            bytes_total: 0,
            head: None,
            unproven: false,
            found_damaged: false,
            damage: None,
            error: None,
        })
    }

    /// Writes the catalogue and says where it lies.
    pub(super) async fn catalogue(&mut self) -> ObjectDigest {
        self.runs += 1;
        let id: BackupId = format!("run{:03}", self.runs).parse().expect("valid ID");
        let key = ObjectKey::catalogue(&RunAttempt::first(id), &storage());
        let (vault, entries) = (self.vault.clone(), self.entries.clone());
        let write = move || {
            let mut catalogue = CatalogueWriter::create(&vault, key).expect("create catalogue");
            entries.values().for_each(|entry| catalogue.push(entry).expect("write line"));
            catalogue.finish().expect("finish catalogue")
        };
        tokio::task::spawn_blocking(write).await.expect("no panic")
    }
}

/// The index of a pack, as git makes it.
pub(super) fn index_of(pack: &[u8], format: &str, version: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (from, to) = (folder.path().join("x.pack"), folder.path().join("x.idx"));
    fs::write(&from, pack).expect("write pack");
    let mut git = hermetic_command("git");
    git.args([
        "index-pack",
        &format!("--object-format={format}"),
        &format!("--index-version={version}"),
        "-o",
    ]);
    git.arg(&to).arg(&from);
    run_checked(&mut git);
    fs::read(to).expect("read index")
}

fn hooks_archive(repo: &GitRepo) -> Option<Vec<u8>> {
    let mut tar = hermetic_command("tar");
    tar.arg("-C").arg(repo.path()).args(["-cf", "-", "custom_hooks"]);
    repo.path().join("custom_hooks").exists().then(|| run_checked(&mut tar).stdout)
}

fn table_of(
    repo: &GitRepo,
    manifest: &Manifest,
    refs: &[u8],
    hooks: Option<&[u8]>,
    objects: Vec<ObjectDigest>,
) -> Packhorse {
    let format = ObjectFormat::from_name(&manifest.object_format).expect("known format");
    let (head_oid, list) = parse_refs_file(refs, format, "refs").expect("as git prints it");
    let reftable = Path::exists(&repo.path().join("reftable"));
    let ref_storage = if reftable { RefStorage::Reftable } else { RefStorage::Files };
    let lines = repo.try_run(&["for-each-ref", "--format=%(refname) %(symref)"]).stdout;
    let symrefs: Vec<Symref> = lines
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split_at_checked(line.iter().position(|byte| *byte == b' ')?))
        .filter(|(_, target)| target.len() > 1)
        .map(|(name, target)| Symref { name: name.into(), target: target[1..].into() })
        .collect();
    let head = match (&manifest.head_reference, head_oid) {
        (Some(target), _) => Head::Symbolic(target.clone()),
        (None, oid) => Head::Detached(oid.expect("a detached HEAD resolves")),
    };
    let snapshot =
        RefSnapshot { object_format: format, ref_storage, head, refs: list, symrefs: symrefs.clone() };
    let fingerprint = Fingerprint::of(&snapshot, hooks);
    Packhorse {
        fingerprint,
        ref_storage,
        symrefs,
        removed: Vec::new(),
        unproven: false,
        closed_packs: Vec::new(),
        damage: None,
        objects,
    }
}

/// An id that no repository has.
pub(super) fn nobody() -> Oid {
    Oid::from_bytes(&[0xde; 20]).expect("20 bytes")
}
