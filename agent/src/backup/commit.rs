//! Steps 5 and 6, upload and commit: a step's objects, then the manifest that names them, then `+latest.toml`
//! where that is asked for.
//!
//! Does not own: the bundle's bytes (`bundle`). The order is the promise: a manifest exists only when everything it
//! names is durable, so a crash before it leaves nothing that a reader would look at.

use bytes::Bytes;
use packhorse_model::{ObjectDigest, RepoPath, Sha256Hex, StorageName};
use packhorse_vault::{
    Damage, Head, Manifest, ObjectKey, Packhorse, RefSnapshot, RunAttempt, Step, Vault, VaultError, digest_of,
};

use super::{
    bundle::Bundle,
    copy::Knowledge,
    plan::{Continuation, Plan},
    snapshot::Snapshot,
};

/// Which repository of which run.
#[derive(Clone, Debug)]
pub struct Place {
    /// The run.
    pub run: RunAttempt,
    /// The storage.
    pub storage: StorageName,
    /// The repository.
    pub repo: RepoPath,
    /// Whether other tools find its newest manifest as `+latest.toml`.
    pub as_latest: bool,
}

/// What was committed.
#[derive(Debug)]
pub struct Committed {
    /// The manifest.
    pub manifest: ObjectDigest,
    /// Steps that it lists.
    pub steps: u32,
    /// Bytes of this step and its manifest.
    pub bytes_new: u64,
    /// Bytes of the manifest and of everything that it names.
    pub bytes_total: u64,
    /// Whether it was left unproven that the bundles hold everything.
    pub unproven: bool,
}

impl Committed {
    fn new(manifest: &Manifest, stored: ObjectDigest, bytes_of_step: u64) -> Self {
        Self {
            steps: u32::try_from(manifest.steps.len()).unwrap_or(u32::MAX),
            bytes_new: bytes_of_step + stored.size,
            bytes_total: manifest.bytes_total() + stored.size,
            unproven: manifest.packhorse.as_ref().is_some_and(|table| table.unproven),
            manifest: stored,
        }
    }
}

impl Place {
    /// The number of the step that a plan writes.
    pub fn step_number(plan: &Plan) -> usize {
        match plan {
            Plan::Increment(base) => base.manifest.steps.len() + 1,
            Plan::Empty | Plan::Full(_) => 1,
        }
    }

    /// The key of the manifest.
    pub fn manifest_key(&self) -> ObjectKey {
        ObjectKey::manifest(&self.storage, &self.repo, &self.run.id)
    }

    /// The key of a file of the step that a plan writes.
    pub fn step_key(&self, plan: &Plan, suffix: &str) -> ObjectKey {
        ObjectKey::step(&self.storage, &self.repo, &self.run, Self::step_number(plan), suffix)
    }
}

/// Completes the bundle, uploads the refs list and the hooks, then commits the step.
///
/// The bundle comes first: it is what a full disk stops, and then nothing of the step is left.
pub async fn commit(
    vault: &Vault,
    place: &Place,
    plan: Plan,
    (snapshot, damage): (&Snapshot, Option<Damage>),
    bundle: Option<Bundle>,
) -> Result<Committed, VaultError> {
    let mut others = vec![(place.step_key(&plan, "refs"), Bytes::from(snapshot.refs.refs_file()))];
    if let Some(archive) = &snapshot.hooks {
        others.push((place.step_key(&plan, "custom_hooks.tar"), archive.clone().into()));
    }
    let path_of = |number: usize| others.get(number).map(|(key, _)| key.to_string()).unwrap_or_default();
    let (ref_path, custom_hooks_path) = (path_of(0), path_of(1));
    let (new, knowledge) = match bundle {
        Some(bundle) => bundle.complete_with(others).await?,
        None => (vault.create_all(others).await?, Knowledge::default()),
    };
    let step = Step {
        // Gitaly names a bundle even where an empty repository has none.
        bundle_path: place.step_key(&plan, "bundle").to_string(),
        ref_path,
        previous_ref_path: String::new(),
        custom_hooks_path,
    };
    let bytes_new: u64 = new.iter().map(|object| object.size).sum();
    let manifest = manifest(plan, (snapshot, damage), step, new, knowledge);
    let stored = publish(vault, place, &manifest).await?;
    Ok(Committed::new(&manifest, stored, bytes_new))
}

/// Writes an unchanged repository's manifest again under this run's ID, so that Gitaly finds it by that name.
pub async fn carry_over(
    vault: &Vault,
    place: &Place,
    manifest: &str,
    sha256: Option<&Sha256Hex>,
) -> Result<Committed, VaultError> {
    let key = ObjectKey::from_stored(manifest)?;
    let bytes = vault.get(&key).await?;
    if sha256.is_some_and(|sha256| digest_of(&key, &bytes).sha256 != *sha256) {
        return Err(VaultError::corrupt("read manifest", &key, "its digest is not the catalogue's"));
    }
    let manifest = Manifest::parse(&bytes, &key)?;
    let stored = publish(vault, place, &manifest).await?;
    Ok(Committed::new(&manifest, stored, 0))
}

async fn publish(vault: &Vault, place: &Place, manifest: &Manifest) -> Result<ObjectDigest, VaultError> {
    let bytes = Bytes::from(manifest.to_toml());
    let stored = vault.create_or_find(place.manifest_key(), bytes.clone()).await?;
    if place.as_latest {
        vault.write_latest(&ObjectKey::latest_manifest(&place.storage, &place.repo), bytes).await?;
    }
    Ok(stored)
}

fn manifest(
    plan: Plan,
    (snapshot, damage): (&Snapshot, Option<Damage>),
    mut step: Step,
    new: Vec<ObjectDigest>,
    knowledge: Knowledge,
) -> Manifest {
    let refs: &RefSnapshot = &snapshot.refs;
    let (mut steps, mut objects, removed, knowledge) = match plan {
        Plan::Increment(base) => {
            let Continuation { manifest, removed, .. } = *base;
            let (objects, knowledge) = match manifest.packhorse {
                // An increment proves that it holds what the base does not; what is known of packs stays true.
                Some(Packhorse { objects, unproven, closed_packs, .. }) => {
                    (objects, Knowledge { unproven, closed: closed_packs })
                }
                None => (Vec::new(), knowledge),
            };
            (manifest.steps, objects, removed, knowledge)
        }
        Plan::Empty | Plan::Full(_) => (Vec::new(), Vec::new(), Vec::new(), knowledge),
    };
    step.previous_ref_path = steps.last().map(|last| last.ref_path.clone()).unwrap_or_default();
    steps.push(step);
    objects.extend(new);
    Manifest {
        empty: refs.is_empty(),
        non_existent: false,
        object_format: refs.object_format.as_str().to_owned(),
        head_reference: match &refs.head {
            Head::Symbolic(target) => Some(target.clone()),
            Head::Detached(_) => None,
        },
        steps,
        packhorse: Some(Packhorse {
            fingerprint: snapshot.fingerprint.clone(),
            ref_storage: refs.ref_storage,
            symrefs: refs.symrefs.clone(),
            removed,
            unproven: knowledge.unproven,
            closed_packs: knowledge.closed,
            damage,
            objects,
        }),
    }
}
