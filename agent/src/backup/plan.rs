//! Step 3, plan: what a repository needs in this run — nothing, an increment, or a full step.
//!
//! Does not own: doing it. Deciding `unchanged` needs only the base catalogue's line; an increment needs the manifest
//! and the refs list that it continues, and is only chosen when every object of the chain is still in the vault and
//! Gitaly could replay the result.

use std::collections::BTreeSet;

use packhorse_model::{ErrorKind, Problem};
use packhorse_vault::{
    CatalogueEntry, ClosedPack, Manifest, ObjectKey, RefList, RefSnapshot, Vault, VaultError, digest_of,
    parse_refs_file,
};

use super::snapshot::Snapshot;

/// What to write.
#[derive(Debug)]
pub enum Plan {
    /// A repository without refs: a manifest and an empty refs list.
    Empty,
    /// A new chain; with what the old one knew of the repository's packs.
    Full(Vec<ClosedPack>),
    /// One more step.
    Increment(Box<Continuation>),
}

/// What an increment continues.
#[derive(Debug)]
pub struct Continuation {
    /// The chain so far.
    pub manifest: Manifest,
    /// The refs that the last step leads to.
    pub refs: RefList,
    /// Names that earlier steps list and the new one does not.
    pub removed: Vec<Vec<u8>>,
}

impl Continuation {
    /// The same for a step that leads to these refs; none when Gitaly could not replay it.
    pub fn leading_to(self, refs: &RefSnapshot) -> Option<Self> {
        let before = self.manifest.packhorse.as_ref().map_or(&[][..], |table| &table.removed);
        let removed = removed_names(before, &self.refs, &refs.refs)?;
        Some(Self { removed, ..self })
    }
}

/// Rules of one run.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Steps after which a new chain starts.
    pub max_chain: u32,
    /// Always start a new chain.
    pub full: bool,
    /// Leave it to `verify` to prove that full steps hold everything that the refs reach.
    pub prove_later: bool,
    /// Share of a repository's objects that a full step may hold although nothing reaches them, 0 to 1.
    pub max_garbage: f64,
    /// Bytes of a full step's pack from which on its index is stored.
    pub index_from: u64,
}

/// Removed names that a manifest may carry before a new chain is cheaper.
const MAX_REMOVED: usize = 10_000;

/// Bytes of a repository above which it pays to ask what the last step knew of its packs.
const LARGE: u64 = 16 << 20;

/// What to write, and why the chain that the vault should have is not continued, if something of it is lost.
pub type Decision = (Plan, Option<VaultError>);

/// Decides for a repository that is not settled by what the vault has, and that takes about this many bytes.
pub async fn decide(
    vault: &Vault,
    snapshot: &Snapshot,
    base: Option<&CatalogueEntry>,
    size: u64,
    rules: Rules,
) -> Result<Decision, Problem> {
    if snapshot.refs.is_empty() {
        return Ok((Plan::Empty, None));
    }
    let full = |known| (Plan::Full(known), None);
    let Some(base) = base else { return Ok(full(Vec::new())) };
    let new_chain = rules.full || base.steps >= rules.max_chain || base.found_damaged;
    if new_chain && size < LARGE {
        return Ok(full(Vec::new()));
    }
    let manifest = match manifest_of(vault, base).await {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return Ok(full(Vec::new())),
        Err(error) => return unusable(base, error, Vec::new()),
    };
    let known = |manifest: &Manifest| match &manifest.packhorse {
        Some(table) if manifest.object_format == snapshot.refs.object_format.as_str() => {
            table.closed_packs.clone()
        }
        _ => Vec::new(),
    };
    let known = known(&manifest);
    if new_chain {
        return Ok(full(known));
    }
    match continuation(vault, &snapshot.refs, manifest).await {
        Ok(Some(continuation)) => Ok((Plan::Increment(Box::new(continuation)), None)),
        Ok(None) => Ok(full(known)),
        Err(error) => unusable(base, error, known),
    }
}

/// When what the chain names is gone or damaged, the only safe step is a new chain.
fn unusable(base: &CatalogueEntry, error: VaultError, known: Vec<ClosedPack>) -> Result<Decision, Problem> {
    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) {
        tracing::warn!(repository = %base.path, %error, "a chain is unusable: a new one is started");
        return Ok((Plan::Full(known), Some(error)));
    }
    Err(Problem::from(error).while_doing("plan increment"))
}

/// The manifest that a line names, whole.
pub async fn manifest_of(vault: &Vault, base: &CatalogueEntry) -> Result<Option<Manifest>, VaultError> {
    let Some(key) = &base.manifest else { return Ok(None) };
    let key = ObjectKey::from_stored(key)?;
    let bytes = vault.get(&key).await?;
    if base.manifest_sha256.as_ref().is_some_and(|digest| digest_of(&key, &bytes).sha256 != *digest) {
        return Err(VaultError::corrupt("read manifest", &key, "its digest is not the catalogue's"));
    }
    Manifest::parse(&bytes, &key).map(Some)
}

async fn continuation(
    vault: &Vault,
    refs: &RefSnapshot,
    manifest: Manifest,
) -> Result<Option<Continuation>, VaultError> {
    let Some(table) = &manifest.packhorse else { return Ok(None) };
    let same_format = manifest.object_format == refs.object_format.as_str();
    let Some(last) = manifest.steps.last().filter(|_| same_format && !manifest.empty) else {
        return Ok(None);
    };
    vault.check_present(&table.objects).await?;
    let Some(digest) = manifest.digest(&last.ref_path) else {
        return Err(VaultError::corrupt("read manifest", &last.ref_path, "has no digest in its manifest"));
    };
    let bytes = vault.get_checked(digest).await?;
    let (_, old) = parse_refs_file(&bytes, refs.object_format, &last.ref_path)?;
    let Some(removed) = removed_names(&table.removed, &old, &refs.refs) else { return Ok(None) };
    Ok(Some(Continuation { refs: old, removed, manifest }))
}

/// The names that the chain lists and the new step does not; none when Gitaly could not replay the chain, because a
/// new name is a folder of an old one or the other way round, or when there are too many.
fn removed_names(before: &[Vec<u8>], old: &RefList, new: &RefList) -> Option<Vec<Vec<u8>>> {
    let mut removed: BTreeSet<Vec<u8>> = before.iter().cloned().collect();
    let mut added = Vec::new();
    for (name, now, then) in new.compare(old) {
        match (now, then) {
            (None, Some(_)) => {
                removed.insert(name.to_vec());
            }
            (Some(_), None) => {
                removed.remove(name);
                added.push(name);
            }
            _ => {}
        }
    }
    let conflict = added.iter().any(|name| conflicts(name, &removed));
    (!conflict && removed.len() <= MAX_REMOVED).then(|| removed.into_iter().collect())
}

fn conflicts(name: &[u8], removed: &BTreeSet<Vec<u8>>) -> bool {
    let folder = [name, b"/"].concat();
    let below = removed.range(folder.clone()..).next();
    if below.is_some_and(|other| other.starts_with(&folder)) {
        return true;
    }
    let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.into_iter().any(|at| removed.contains(&name[..at]))
}

#[cfg(test)]
mod tests {
    use packhorse_vault::Oid;

    use super::*;

    fn list(names: &[&str]) -> RefList {
        let oid = Oid::from_bytes(&[1; 20]).expect("20 bytes");
        RefList::from_unsorted(names.iter().map(|name| (name.as_bytes().to_vec(), oid)).collect())
    }

    fn removed(before: &[&str], old: &[&str], new: &[&str]) -> Option<Vec<String>> {
        let before: Vec<Vec<u8>> = before.iter().map(|name| name.as_bytes().to_vec()).collect();
        let names = removed_names(&before, &list(old), &list(new))?;
        Some(names.into_iter().map(|name| String::from_utf8(name).expect("ascii")).collect())
    }

    #[test]
    fn a_name_that_becomes_a_folder_starts_a_new_chain() {
        assert_eq!(removed(&[], &["refs/heads/a"], &["refs/heads/a/b"]), None);
        assert_eq!(removed(&[], &["refs/heads/a/b"], &["refs/heads/a"]), None);
        // The conflict may be with a step long ago.
        assert_eq!(removed(&["refs/heads/a"], &[], &["refs/heads/a/b/c"]), None);
        assert_eq!(removed(&["refs/heads/a"], &[], &["refs/heads/ab"]), Some(vec!["refs/heads/a".into()]));
    }

    #[test]
    fn a_name_that_returns_is_no_longer_removed() {
        assert_eq!(removed(&["refs/heads/a"], &[], &["refs/heads/a"]), Some(vec![]));
        assert_eq!(removed(&[], &["refs/heads/a"], &[]), Some(vec!["refs/heads/a".into()]));
    }
}
