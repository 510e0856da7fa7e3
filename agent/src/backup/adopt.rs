//! Finds what an unfinished run made durable for one repository, where its journal does not tell.
//!
//! Also owns the check before a line of such a run is used: the vault must have the manifest and each object that the
//! manifest names, with the recorded size. Their bytes are not read again.
//!
//! Does not own: the journal (`bases`). A run's segments end some seconds before it died, but every manifest that it wrote
//! lies under a name that can be formed, and a manifest exists only when all that it names is durable. So nothing that was
//! sent has to be sent again. Asked only for repositories that changed, and only when there are unfinished runs.

use bytes::Bytes;
use packhorse_model::{ErrorKind, Outcome, Problem, RepoPath};
use packhorse_vault::{
    CatalogueEntry, Manifest, ObjectFormat, ObjectKey, Packhorse, VaultError, digest_of, parse_refs_file,
};

use super::{
    Run,
    bases::{Base, Origin, RUNS},
    damage, plan,
    repository::facts_of,
    snapshot::Snapshot,
};

/// What an unfinished run has of a repository.
pub struct Found {
    /// Its state.
    pub base: Base,
    manifest: Bytes,
}

impl Found {
    /// Makes good what its writer may not have come to: the copy of the manifest that other tools look for.
    pub async fn announce(&self, run: &Run, path: &RepoPath) -> Result<(), Problem> {
        if run.dry_run || !run.manifests.as_latest() {
            return Ok(());
        }
        let latest = ObjectKey::latest_manifest(&run.storage, path);
        Ok(run.vault.write_latest(&latest, self.manifest.clone()).await?)
    }
}

/// The newest state of a repository that an unfinished run wrote after the one that `base` comes from.
pub async fn find(
    run: &Run,
    path: &RepoPath,
    base: Option<&Base>,
    snapshot: &Snapshot,
) -> Result<Option<Found>, Problem> {
    for id in run.unfinished.iter().take(RUNS) {
        let key = ObjectKey::manifest(&run.storage, path, id);
        if base.is_some_and(|base| base.entry.manifest.as_deref() == Some(key.as_str())) {
            return Ok(None);
        }
        match read(run, path, &key, Some(snapshot)).await {
            Ok(Some((entry, manifest))) => {
                let base = Base::unfinished(entry, &run.attempt.id, &run.storage);
                return Ok(Some(Found { base, manifest }));
            }
            Ok(None) => {}
            Err(error) if is_lack(&error) => tell_lack(path, &error),
            Err(error) => return Err(not_asked(error)),
        }
    }
    Ok(None)
}

/// This run's own state of the repository, which another writer of the same run was faster to commit.
pub async fn own(
    run: &Run,
    path: &RepoPath,
    snapshot: &Snapshot,
) -> Result<Option<CatalogueEntry>, VaultError> {
    let key = ObjectKey::manifest(&run.storage, path, &run.attempt.id);
    Ok(read(run, path, &key, Some(snapshot)).await?.map(|(entry, _)| entry))
}

/// The same, whatever the repository looks like.
pub async fn own_line(run: &Run, path: &RepoPath) -> Result<Option<CatalogueEntry>, VaultError> {
    let key = ObjectKey::manifest(&run.storage, path, &run.attempt.id);
    Ok(read(run, path, &key, None).await?.map(|(entry, _)| entry))
}

/// Whether everything that a line names is in the vault; of the committed backup's it is taken to be.
pub async fn whole(run: &Run, base: Option<&Base>) -> Result<bool, VaultError> {
    let Some(base) = base.filter(|base| base.origin != Origin::Committed) else { return Ok(true) };
    match look_at(run, &base.entry).await {
        Err(error) if is_lack(&error) => {
            tell_lack(&base.entry.path, &error);
            Ok(false)
        }
        looked => looked.map(|()| true),
    }
}

/// The line of a repository that this run does not back up: an unfinished run's, if the vault has all objects that it names,
/// else the committed backup's.
pub async fn last(run: &Run, base: Option<Base>) -> Option<CatalogueEntry> {
    // What nobody could tell now is not relied on.
    let whole = whole(run, base.as_ref()).await.unwrap_or(false);
    let base = if whole { base } else { base.and_then(Base::into_committed) };
    base.map(|base| base.entry)
}

async fn look_at(run: &Run, entry: &CatalogueEntry) -> Result<(), VaultError> {
    // A line without a manifest names nothing.
    let Some(manifest) = plan::manifest_of(&run.vault, entry).await? else { return Ok(()) };
    let objects = manifest.packhorse.as_ref().map(|table| table.objects.as_slice());
    let lists_none = || VaultError::corrupt("read manifest", &entry.path, "lists no objects");
    run.vault.check_present(objects.ok_or_else(lists_none)?).await
}

/// Whether the vault said that something is not there, or not as it was stored.
fn is_lack(error: &VaultError) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt)
}

/// It would have saved work, and nothing more.
fn tell_lack(path: &RepoPath, error: &VaultError) {
    tracing::warn!(repository = %path, %error, "what an unfinished run stored is not whole: it is not used");
}

/// The problem of a repository of which nobody can tell what an unfinished run stored.
pub fn not_asked(error: VaultError) -> Problem {
    Problem::from(error).while_doing("look for unfinished work")
}

/// The problem of a repository that an earlier attempt at this run has stored, under a name that cannot be written again.
pub fn not_whole(error: VaultError) -> Problem {
    Problem::from(error)
        .while_doing("take over what an earlier attempt at this run stored")
        .leaving("the last good backup of this repository stays in the vault")
        .next("make another backup: backupctl create")
}

async fn read(
    run: &Run,
    path: &RepoPath,
    key: &ObjectKey,
    snapshot: Option<&Snapshot>,
) -> Result<Option<(CatalogueEntry, Bytes)>, VaultError> {
    let bytes = match run.vault.get(key).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let manifest = Manifest::parse(&bytes, key)?;
    let Some(table) = manifest.packhorse.as_ref() else { return Ok(None) };
    // No digest proves it. It is written in one piece, but a host that lost its power may have kept only its beginning.
    if let Some(name) = manifest.first_without_digest() {
        return Err(VaultError::corrupt("read manifest", key, format!("ends before the digest of {name}")));
    }
    run.vault.check_present(&table.objects).await?;
    let stored = digest_of(key, &bytes);
    let path_is_own = *key == ObjectKey::manifest(&run.storage, path, &run.attempt.id);
    let same =
        snapshot.filter(|snapshot| snapshot.fingerprint == table.fingerprint && table.damage.is_none());
    let (refs, head) = if let Some(snapshot) = same {
        facts_of(&snapshot.refs)
    } else if path_is_own || table.damage.is_some() {
        own_facts(run, &manifest, table).await?
    } else {
        // Only built on, never a line of this run.
        (0, None)
    };
    let entry = CatalogueEntry {
        path: path.clone(),
        outcome: match &table.damage {
            Some(_) => Outcome::Damaged,
            None if manifest.empty => Outcome::Empty,
            None => Outcome::BackedUp,
        },
        manifest: Some(stored.path),
        manifest_sha256: Some(stored.sha256),
        fingerprint: Some(table.fingerprint.clone()),
        steps: u32::try_from(manifest.steps.len()).unwrap_or(u32::MAX),
        refs,
        bytes_new: stored.size + bytes_of_run(run, path, table),
        bytes_total: stored.size + manifest.bytes_total(),
        unproven: table.unproven,
        head,
        error: table
            .damage
            .as_ref()
            .map(|damage| damage::problem(path, &run.root.join(path.as_str()), damage)),
        damage: table.damage.clone(),
        found_damaged: false,
    };
    Ok(Some((entry, bytes)))
}

/// Bytes of the step that this run wrote.
fn bytes_of_run(run: &Run, path: &RepoPath, table: &Packhorse) -> u64 {
    let folder = format!("{}/{path}/{}/", run.storage, run.attempt.id);
    table.objects.iter().filter(|object| object.path.starts_with(&folder)).map(|object| object.size).sum()
}

/// Number of refs, and HEAD, of a state that this run wrote and the repository has left since.
async fn own_facts(
    run: &Run,
    manifest: &Manifest,
    table: &Packhorse,
) -> Result<(u64, Option<String>), VaultError> {
    let corrupt = |finding: &str| VaultError::corrupt("read manifest", &run.storage, finding);
    let last = manifest.steps.last().ok_or_else(|| corrupt("has no steps"))?;
    let digest = table.objects.iter().find(|object| object.path == last.ref_path);
    let bytes = run.vault.get_checked(digest.ok_or_else(|| corrupt("has no refs list"))?).await?;
    let format = ObjectFormat::from_name(&manifest.object_format).unwrap_or(ObjectFormat::Sha1);
    let (head, refs) = parse_refs_file(&bytes, format, &last.ref_path)?;
    let target = manifest.head_reference.as_deref().map(packhorse_model::encode_ref_name);
    Ok((refs.len() as u64, target.or(head.map(|oid| oid.to_string()))))
}

#[cfg(test)]
mod tests;
