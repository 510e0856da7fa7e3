//! `packhorse/format.json`: the vault's format number and identity, written at its first use.
//!
//! Does not own: migrations. Written create-only, so two first users agree on one identity; a reader refuses a vault
//! of a newer format instead of guessing.

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

    /// Reads the marker, or writes one with the given identity into a new vault.
    pub async fn read_or_create(vault: &Vault, vault_id: String) -> Result<Self, VaultError> {
        if let Some(marker) = Self::read(vault).await? {
            return Ok(marker);
        }
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

pub(crate) fn check_format(format: u32, key: &ObjectKey) -> Result<(), VaultError> {
    if format == FORMAT {
        return Ok(());
    }
    let answer = format!("has format {format}, this version reads {FORMAT}: use a newer Packhorse");
    Err(VaultError::new(ErrorKind::Invalid, "open vault", key, answer))
}
