//! `packhorse/format.json`: the vault's format number and identity. A place without it is no vault.
//!
//! Does not own: migrations, or the folder of a `file://` vault (`place`). Written only where somebody asked for a new
//! vault, create-only, so two who ask agree on one identity; a place that nobody made a vault, such as a mount point
//! without its file system, is refused instead of being filled. A reader refuses a vault of a newer format instead of
//! guessing. It is also the object on which a store shows that create-only means something to it: some ignore
//! `If-None-Match` silently, and then two runs could write over each other.

use packhorse_model::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::{ObjectKey, Vault, VaultError, place::MAY_MAKE};

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

/// Who makes a vault, or where it should be.
const MAKE_OR_MOUNT: &str =
    "mount it, or correct the URL; where there never was a vault, `backupctl vault init` makes one";
/// The same where the configuration names a vault, so that no other one may be made.
const MOUNT_OR_UNPIN: &str = "mount what belongs there, or correct the URL; for a new vault, remove vault_id from the \
    configuration, run `backupctl vault init`, and set the ID that it says; daemons read it when they start";
/// What to do when the place of the vault that was used holds it no more.
const MOUNT_AGAIN: &str = "mount that vault again; if another one is meant, restart this process";

impl FormatMarker {
    /// The marker of the vault that is here; an error when there is none, or another one than the configuration names.
    pub async fn of(vault: &Vault) -> Result<Self, VaultError> {
        vault.check_place()?;
        match Self::read(vault).await? {
            Some(marker) => marker.checked(vault),
            None => Err(absent(vault).await?),
        }
    }

    /// The marker, when there is one; else none. For those who only tell what they see.
    pub async fn if_any(vault: &Vault) -> Result<Option<Self>, VaultError> {
        Self::read(vault).await?.map(|marker| marker.checked(vault)).transpose()
    }

    /// The marker, once the store has shown, once for an open vault, that it creates nothing over what exists.
    pub async fn for_writing(vault: &Vault) -> Result<Self, VaultError> {
        let marker = Self::of(vault).await?;
        marker.prove_create_only(vault).await?;
        Ok(marker)
    }

    /// Proves, once for an open vault, that the store creates nothing over what exists.
    pub async fn prove_create_only(&self, vault: &Vault) -> Result<(), VaultError> {
        vault.honours_create().get_or_try_init(|| prove_create_only(vault)).await.map(drop)
    }

    /// Makes a vault of a place that holds nothing.
    pub async fn make(vault: &Vault) -> Result<Self, VaultError> {
        if let Some(marker) = Self::read(vault).await? {
            let answer = format!("there is a vault already, with ID {}", marker.vault_id);
            return Err(VaultError::new(ErrorKind::AlreadyExists, "make vault", vault.label(), answer)
                .leaving("it is as it was", "use it, or give another URL"));
        }
        Self::make_if_absent(vault).await
    }

    /// The marker of the vault that is here, which is made when the place holds nothing.
    pub async fn make_if_absent(vault: &Vault) -> Result<Self, VaultError> {
        if let Some(marker) = Self::read(vault).await? {
            return marker.checked(vault);
        }
        let known = vault.id();
        if !known.is_empty() {
            return Err(replaced(vault, "no vault here", &known));
        }
        if vault.pinned_id().is_some() {
            return Err(absent(vault).await?);
        }
        if let Some(name) = foreign(vault).await? {
            // What was ours before has an error of its own.
            absent(vault).await?;
            let answer = format!("it holds something else: {name}");
            return Err(VaultError::new(ErrorKind::AlreadyExists, "make vault", vault.label(), answer)
                .leaving("nothing was written", "give the vault an empty folder or prefix of its own"));
        }
        let marker = Self::create(vault, uuid::Uuid::new_v4().to_string()).await?.checked(vault)?;
        marker.prove_create_only(vault).await?;
        Ok(marker)
    }

    async fn read(vault: &Vault) -> Result<Option<Self>, VaultError> {
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

    /// The marker, unless the configuration names another vault.
    fn checked(self, vault: &Vault) -> Result<Self, VaultError> {
        match vault.pinned_id() {
            Some(id) if id != self.vault_id => {
                let answer =
                    format!("here is vault {}, and the configuration has vault_id {id}", self.vault_id);
                Err(VaultError::new(ErrorKind::NotFound, "open vault", vault.label(), answer)
                    .leaving("nothing was read or written", "mount the right vault, or correct vault_id"))
            }
            _ => match vault.id() {
                known if known.is_empty() || known == self.vault_id => {
                    vault.remember_id(&self.vault_id);
                    Ok(self)
                }
                known => Err(replaced(vault, &format!("here is vault {}", self.vault_id), &known)),
            },
        }
    }

    async fn create(vault: &Vault, vault_id: String) -> Result<Self, VaultError> {
        let marker = Self { format: FORMAT, features: Vec::new(), vault_id };
        let json = serde_json::to_vec_pretty(&marker)
            .map_err(|e| VaultError::new(ErrorKind::Internal, "write format marker", "vault", e))?;
        match vault.create(&ObjectKey::format(), json.into()).await {
            Ok(_) => Ok(marker),
            // Another first user was faster: its identity counts.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::read(vault).await?.ok_or(error),
            Err(error) if error.kind() == ErrorKind::Denied && vault.folder().is_some() => {
                Err(error.leaving("nothing was made", MAY_MAKE))
            }
            Err(error) => Err(error),
        }
    }
}

/// The error of a place without a marker; one that holds backups all the same has lost it, which is damage.
async fn absent(vault: &Vault) -> Result<VaultError, VaultError> {
    if !vault.list_names(&ObjectKey::backups()).await?.is_empty() {
        let answer = "it is missing, but there are backups";
        return Err(VaultError::corrupt(
            "open vault",
            format!("{}: {}", vault.label(), ObjectKey::format()),
            answer,
        )
        .leaving(
            "nothing was read or written",
            "put it back as docs/errors.md says under \"no vault here\"",
        ));
    }
    Ok(match vault.id() {
        known if known.is_empty() => no_vault(vault.label(), "no vault here", vault.pinned_id()),
        known => replaced(vault, "no vault here", &known),
    })
}

/// The error of a place whose vault was used by this process, and is not there any more.
fn replaced(vault: &Vault, here: &str, known: &str) -> VaultError {
    let answer = format!("{here}, and this process has used vault {known}");
    VaultError::new(ErrorKind::NotFound, "open vault", vault.label(), answer)
        .leaving("nothing was read or written", MOUNT_AGAIN)
}

/// The error of a place that is no vault.
fn no_vault(label: &str, here: &str, pinned: Option<&str>) -> VaultError {
    let (answer, next) = match pinned {
        Some(id) => (
            format!("{here}; the configuration has vault_id {id}, so that no other vault is used or made"),
            MOUNT_OR_UNPIN,
        ),
        None => (here.to_owned(), MAKE_OR_MOUNT),
    };
    VaultError::new(ErrorKind::NotFound, "open vault", label, answer)
        .leaving("nothing was read or written", next)
}

/// The error of a place that is no vault, whose folder does not even exist.
pub(crate) fn no_folder(label: &str, pinned: Option<&str>) -> VaultError {
    no_vault(label, "no vault here: there is no such folder", pinned)
}

/// Something in a place that is to become a vault; what file systems have at their top does not count.
async fn foreign(vault: &Vault) -> Result<Option<String>, VaultError> {
    let names = vault.names_at_top().await?;
    Ok(names
        .into_iter()
        .find(|name| vault.folder().is_none() || !name.starts_with('.') && name != "lost+found"))
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
