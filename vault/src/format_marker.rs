//! `packhorse/format.json`: the vault's format number and identity, written at its first use.
//!
//! Does not own: migrations. Written create-only, so two first users agree on one identity; a reader refuses a vault
//! of a newer format instead of guessing. It is also the object on which a store shows that create-only means something
//! to it: some ignore `If-None-Match` silently, and then two runs could write over each other.

use packhorse_model::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::{ObjectKey, Vault, VaultError};

/// The format that this version writes and reads.
pub const FORMAT: u32 = 1;

/// What the vault says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormatMarker {
    /// Format number.
    pub format: u32,
    /// Features that a reader must know; none yet.
    #[serde(default)]
    pub features: Vec<String>,
    /// Random identity, by which a coordinator and its agents know that they use the same vault.
    pub vault_id: String,
}

impl FormatMarker {
    /// Reads the marker; none in a vault that was never written to.
    pub async fn read(vault: &Vault) -> Result<Option<Self>, VaultError> {
        let key = ObjectKey::format();
        let bytes = match vault.get(&key).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let marker: Self =
            serde_json::from_slice(&bytes).map_err(|e| VaultError::corrupt("read format marker", &key, e))?;
        check_format(marker.format, &key)?;
        if let Some(feature) = marker.features.first() {
            let answer = format!("needs feature {feature:?}, which this version does not have");
            return Err(VaultError::new(ErrorKind::Invalid, "open vault", &key, answer));
        }
        Ok(Some(marker))
    }

    /// Reads the marker, or writes one with the given identity into a new vault; then proves, once for an open vault,
    /// that the store creates nothing over what exists.
    pub async fn read_or_create(vault: &Vault, vault_id: String) -> Result<Self, VaultError> {
        let marker = match Self::read(vault).await? {
            Some(marker) => marker,
            None => Self::create(vault, vault_id).await?,
        };
        vault.honours_create().get_or_try_init(|| prove_create_only(vault)).await?;
        Ok(marker)
    }

    async fn create(vault: &Vault, vault_id: String) -> Result<Self, VaultError> {
        let marker = Self { format: FORMAT, features: Vec::new(), vault_id };
        let json = serde_json::to_vec_pretty(&marker)
            .map_err(|e| VaultError::new(ErrorKind::Internal, "write format marker", "vault", e))?;
        match vault.create(&ObjectKey::format(), json.into()).await {
            Ok(_) => Ok(marker),
            // Another first user was faster: its identity counts.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::read(vault).await?.ok_or(error),
            Err(error) => Err(error),
        }
    }
}

/// Creates the marker again, with the bytes that it has: a store that allows it changes nothing by that.
async fn prove_create_only(vault: &Vault) -> Result<(), VaultError> {
    if vault.folder().is_some() {
        // A file system's link over an existing name fails.
        return Ok(());
    }
    let key = ObjectKey::format();
    let bytes = vault.get(&key).await?;
    let mut patience = vault.patience();
    loop {
        match vault.put_new(&key, bytes.clone()).await {
            Ok(()) => break,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
            // An answer that was lost proves nothing.
            Err(error) if !error.is_transient() || !patience.pause().await => return Err(error),
            Err(_) => {}
        }
    }
    let answer = "the store ignored `If-None-Match: *`";
    Err(VaultError::new(ErrorKind::Unavailable, "open vault", vault.label(), answer)
        .leaving("nothing was written over", "use a store that honours conditional writes, or upgrade it"))
}

pub(crate) fn check_format(format: u32, key: &ObjectKey) -> Result<(), VaultError> {
    if format == FORMAT {
        return Ok(());
    }
    let answer = format!("has format {format}, this version reads {FORMAT}: use a newer Packhorse");
    Err(VaultError::new(ErrorKind::Invalid, "open vault", key, answer))
}
