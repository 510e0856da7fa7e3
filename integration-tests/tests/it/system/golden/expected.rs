//! What a golden archive must restore to, as JSON: read with git, the file system and PostgreSQL alone.
//!
//! Does not own: restoring. Used by the test and by `examples/make_golden.rs`. Owners are left out, because only root
//! can restore them.

use std::{collections::BTreeMap, fs, path::Path};

use packhorse_testkit::{GitRepo, HookEntry, TreeState};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The repositories of every golden archive.
pub const REPOSITORIES: [&str; 3] = ["@hashed/aa/sha1.git", "group/sha256.git", "empty.git"];

/// Everything that was restored, or is to be backed up.
pub fn describe(storage: &Path, uploads: &Path, tables: &BTreeMap<String, String>) -> Value {
    let repositories: BTreeMap<&str, Value> =
        REPOSITORIES.iter().map(|path| (*path, repository(&storage.join(path)))).collect();
    let entries = TreeState::of(uploads).entries;
    let files: BTreeMap<String, Value> = entries
        .iter()
        .map(|(path, entry)| {
            let entry = json!({
                "kind": format!("{:?}", entry.kind), "mode": format!("{:o}", entry.mode), "mtime": entry.mtime
            });
            (path.display().to_string(), entry)
        })
        .collect();
    json!({ "repositories": repositories, "uploads": files, "main": tables })
}

fn repository(path: &Path) -> Value {
    let repo = GitRepo::open(path);
    repo.fsck();
    let state = repo.state();
    let refs: BTreeMap<String, Value> = state
        .refs
        .iter()
        .map(|(name, entry)| {
            let target = entry.symref.as_ref().map(|target| target.escape_ascii().to_string());
            (name.escape_ascii().to_string(), json!({ "oid": entry.oid, "symref": target }))
        })
        .collect();
    let hooks: BTreeMap<String, String> =
        state.custom_hooks.iter().map(|(path, entry)| (path.display().to_string(), hook(entry))).collect();
    let oids = state.objects.oids();
    json!({
        "object_format": state.object_format,
        "head": fs::read_to_string(path.join("HEAD")).expect("a repository has a HEAD").trim_end(),
        "refs": refs,
        "objects": { "count": oids.len(), "sha256_of_sorted_ids": hex(oids.join("\n").as_bytes()) },
        "custom_hooks": hooks,
    })
}

fn hook(entry: &HookEntry) -> String {
    match entry {
        HookEntry::Folder(mode) => format!("folder {mode:o}"),
        HookEntry::File(mode, bytes) => format!("file {mode:o} {}", hex(bytes)),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
