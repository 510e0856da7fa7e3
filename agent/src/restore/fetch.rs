//! Step 2: what the repository must become: its manifest, its last refs list and its hooks archive.
//!
//! Does not own: the bundles (`objects`). Everything is checked against a digest when the catalogue or the manifest
//! holds one; manifests of Gitaly hold none and are taken as they are. `empty` is believed only when the last refs
//! list is empty too, because increments of other writers inherit it.

use bytes::Bytes;
use packhorse_model::{ErrorKind, Problem};
use packhorse_vault::{
    CatalogueEntry, Fingerprint, Head, LastGood, Manifest, ObjectFormat, ObjectKey, RefSnapshot, RefStorage,
    Vault, VaultError, digest_of, parse_refs_file,
};

use crate::restore::{
    build::MAIN,
    io_problem::{corrupt, vault_problem},
};

/// Bytes of each bundle of a small repository.
const SMALL_BUNDLE: u64 = 512 << 10;
/// Bytes of its refs, and of its hooks.
const SMALL_REFS: u64 = 128 << 10;

/// What one repository must become.
pub(super) struct Wanted {
    /// The steps.
    pub manifest: Manifest,
    /// The hash that the repository names its objects by.
    pub format: ObjectFormat,
    /// Bytes read so far.
    pub bytes: u64,
    key: ObjectKey,
}

/// Fetches what the entry's repository must become, or was when nothing of it was left out; none when it did not exist.
pub(super) async fn fetch(
    vault: &Vault,
    entry: &CatalogueEntry,
    last_good: Option<&LastGood>,
) -> Result<Option<Wanted>, Problem> {
    let (manifest, sha256) = match last_good {
        Some(last_good) => (Some(&last_good.manifest), &last_good.sha256),
        None => (entry.manifest.as_ref(), &entry.manifest_sha256),
    };
    let Some(manifest) = manifest else {
        return Err(corrupt("read catalogue", &entry.path, "names no manifest"));
    };
    let key = ObjectKey::from_stored(manifest)?;
    let bytes = vault.get(&key).await.map_err(vault_problem)?;
    let found = digest_of(&key, &bytes).sha256;
    if let Some(sha256) = sha256.as_ref().filter(|sha256| **sha256 != found) {
        let finding = format!("has SHA-256 {found}, the catalogue says {sha256}");
        return Err(corrupt("read manifest", key, finding));
    }
    let manifest = Manifest::parse(&bytes, &key)?;
    if manifest.non_existent {
        return Ok(None);
    }
    let Some(format) = ObjectFormat::from_name(&manifest.object_format) else {
        let finding = format!("has unknown object format {:?}", manifest.object_format);
        return Err(corrupt("read manifest", key, finding));
    };
    Ok(Some(Wanted { manifest, format, bytes: bytes.len() as u64, key }))
}

impl Wanted {
    /// Whether all that is fetched is known to be small, so that many such repositories need little memory.
    pub(super) fn is_small(&self) -> bool {
        let size = |path| self.manifest.digest(path).map_or(u64::MAX, |digest| digest.size);
        let hooks = self.manifest.steps.last().and_then(|step| self.manifest.digest(&step.custom_hooks_path));
        self.size_of_refs().is_some_and(|size| size <= SMALL_REFS)
            && hooks.is_none_or(|hooks| hooks.size <= SMALL_REFS)
            && self.manifest.steps.iter().all(|step| size(&step.bundle_path) <= SMALL_BUNDLE)
    }

    /// Bytes of the refs, when the manifest says so.
    pub(super) fn size_of_refs(&self) -> Option<u64> {
        self.manifest.digest(refs_path(&self.manifest)).map(|digest| digest.size)
    }

    /// How the repository stores its refs.
    pub(super) fn ref_storage(&self) -> RefStorage {
        self.manifest.packhorse.as_ref().map_or(RefStorage::Files, |table| table.ref_storage)
    }

    /// Fetches the refs after the last step and the hooks archive, proves that they are what was backed up, and says how
    /// many bytes they took.
    pub(super) async fn fetch_rest(
        &self,
        vault: &Vault,
    ) -> Result<(RefSnapshot, Option<Bytes>, u64), Problem> {
        let (refs, hooks) =
            tokio::join!(fetch_refs(vault, &self.manifest), fetch_hooks(vault, &self.manifest));
        let (refs_file, hooks) = (refs?, hooks?);
        let refs = self.parse_refs(&refs_file)?;
        check_fingerprint(&self.manifest, &refs, hooks.as_deref(), &self.key)?;
        let read = refs_file.len() + hooks.as_ref().map_or(0, Bytes::len);
        Ok((refs, hooks, read as u64))
    }

    fn parse_refs(&self, bytes: &[u8]) -> Result<RefSnapshot, Problem> {
        let manifest = &self.manifest;
        let (head_oid, refs) =
            parse_refs_file(bytes, self.format, refs_path(manifest)).map_err(vault_problem)?;
        let head = match (&manifest.head_reference, head_oid) {
            (Some(target), _) => Head::Symbolic(target.clone()),
            (None, Some(oid)) => Head::Detached(oid),
            (None, None) => Head::Symbolic(MAIN.to_vec()),
        };
        let symrefs = manifest.packhorse.as_ref().map_or_else(Vec::new, |table| table.symrefs.clone());
        Ok(RefSnapshot { object_format: self.format, ref_storage: self.ref_storage(), head, refs, symrefs })
    }
}

/// An object that the manifest names, checked when the manifest has its digest.
pub(super) async fn fetch_named(vault: &Vault, manifest: &Manifest, path: &str) -> Result<Bytes, VaultError> {
    match manifest.digest(path) {
        Some(digest) => vault.get_checked(digest).await,
        None => vault.get(&ObjectKey::from_stored(path)?).await,
    }
}

fn refs_path(manifest: &Manifest) -> &str {
    manifest.steps.last().map(|step| step.ref_path.as_str()).unwrap_or_default()
}

async fn fetch_refs(vault: &Vault, manifest: &Manifest) -> Result<Bytes, Problem> {
    let path = refs_path(manifest);
    match fetch_named(vault, manifest, path).await {
        Err(error)
            if error.kind() == ErrorKind::NotFound && manifest.empty && manifest.digest(path).is_none() =>
        {
            Ok(Bytes::new())
        }
        fetched => fetched.map_err(vault_problem),
    }
}

/// The last step's archive: our table says whether there is one, Gitaly names it even when there is none.
async fn fetch_hooks(vault: &Vault, manifest: &Manifest) -> Result<Option<Bytes>, Problem> {
    let path = manifest.steps.last().map(|step| step.custom_hooks_path.as_str()).unwrap_or_default();
    let listed = manifest.digest(path).is_some();
    if path.is_empty() || (manifest.packhorse.is_some() && !listed) {
        return Ok(None);
    }
    match fetch_named(vault, manifest, path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound && !listed => Ok(None),
        Err(error) => Err(vault_problem(error)),
    }
}

/// Proves that refs, HEAD, symbolic refs and hooks are together those that were backed up.
fn check_fingerprint(
    manifest: &Manifest,
    refs: &RefSnapshot,
    hooks: Option<&[u8]>,
    key: &ObjectKey,
) -> Result<(), Problem> {
    let Some(table) = &manifest.packhorse else { return Ok(()) };
    let found = Fingerprint::of(refs, hooks);
    if found == table.fingerprint {
        return Ok(());
    }
    let finding = format!("leads to fingerprint {found}, must lead to {}", table.fingerprint);
    Err(corrupt("check manifest", key, finding))
}
