//! An upload in parts: to an object store, or into a file of a folder.
//!
//! Does not own: how parts are cut, or when they are sent (`upload`). In a folder the parts make a file without a name, which
//! gets one when all of them are there.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use object_store::{MultipartUpload, ObjectStoreExt as _};
use packhorse_model::ErrorKind;
use tokio::task::spawn_blocking;

use crate::{ObjectKey, Vault, VaultError, folder::NewFile};

/// An upload in parts of one object.
pub enum Parts {
    /// To an object store.
    Store(Box<dyn MultipartUpload>),
    /// Into a folder: the file, and how much of it is taken up.
    Folder(Arc<NewFile>, u64),
}

const UPLOAD: &str = "upload object";

impl Parts {
    /// Begins one.
    pub async fn begin(vault: &Vault, key: &ObjectKey) -> Result<Self, VaultError> {
        vault.counter().put();
        let path = vault.path(key);
        if let Some(folder) = vault.folder() {
            let begun = folder.begin(&path).await;
            let file = begun.map_err(|e| vault.failed_file(UPLOAD, key.as_str(), &e))?;
            return Ok(Self::Folder(Arc::new(file), 0));
        }
        let begun = vault.remote().put_multipart(&path).await;
        begun.map(Self::Store).map_err(|e| vault.failed(UPLOAD, key.as_str(), e))
    }

    /// Takes the next part; it is sent when what is returned is waited for.
    pub fn put(
        &mut self,
        (vault, key): (&Vault, &ObjectKey),
        data: Bytes,
    ) -> BoxFuture<'static, Result<(), VaultError>> {
        let (vault, key) = (vault.clone(), key.clone());
        match self {
            Self::Store(upload) => {
                let sending = upload.put_part(data.into());
                async move { sending.await.map_err(|e| vault.failed(UPLOAD, key.as_str(), e)) }.boxed()
            }
            Self::Folder(file, taken) => {
                let (file, offset) = (Arc::clone(file), *taken);
                *taken += data.len() as u64;
                let write = move || file.write_at(&data, offset);
                async move { in_folder(&vault, &key, write).await }.boxed()
            }
        }
    }

    /// Gives the object its name; all parts must have been sent.
    pub async fn complete(&mut self, vault: &Vault, key: &ObjectKey) -> Result<(), VaultError> {
        vault.counter().put();
        match self {
            Self::Store(upload) => {
                let completed = upload.complete().await;
                completed.map(drop).map_err(|e| vault.failed(UPLOAD, key.as_str(), e))
            }
            Self::Folder(file, _) => {
                let file = Arc::clone(file);
                in_folder(vault, key, move || file.create()).await
            }
        }
    }

    /// Has the store forget the parts; a file goes by itself when nobody has it.
    pub async fn abort(&mut self, vault: &Vault, key: &ObjectKey) -> Result<(), VaultError> {
        let Self::Store(upload) = self else { return Ok(()) };
        vault.counter().put();
        match upload.abort().await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(vault.failed(UPLOAD, key.as_str(), error)),
        }
    }
}

fn in_folder(
    vault: &Vault,
    key: &ObjectKey,
    work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> impl Future<Output = Result<(), VaultError>> {
    let (vault, key) = (vault.clone(), key.clone());
    async move {
        let panicked = |e| VaultError::new(ErrorKind::Internal, UPLOAD, &key, e);
        let done = spawn_blocking(work).await.map_err(panicked)?;
        done.map_err(|e| vault.failed_file(UPLOAD, key.as_str(), &e))
    }
}
