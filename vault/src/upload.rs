//! Writing a new object in one streamed pass: hash, count, split into parts, send.
//!
//! Does not own: where the bytes come from. Nothing is staged on disk. An object gets its name only in
//! [`ObjectWriter::finish`]; a writer that is dropped instead aborts its multipart upload, so nothing partial is ever
//! visible and nothing is left to pay for; so does one whose vault is told to stop. Memory is bounded: a part's buffer is taken from the vault's shared budget
//! before it is filled and given back when the store has it. A writer takes a whole part at once and never waits for one
//! while it holds one, so writers cannot block each other half way; one that waits for other writers' results while it
//! has a part ([`Vault::slow_writer`]) takes none from the budget. Parts are hashed beside the writer, on their way to
//! the store.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use packhorse_model::{ErrorKind, ObjectDigest, Sha256Hex};
use sha2::{Digest, Sha256};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{ObjectKey, PartSize, Vault, VaultError, parts::Parts};

/// A blocking writer of one new object. Must be used outside async code, within a tokio runtime.
pub struct ObjectWriter {
    vault: Vault,
    key: ObjectKey,
    part_size: usize,
    buffer: Vec<u8>,
    permit: Hold,
    /// When cancelled, the writer waits for the budget no longer.
    stop: CancellationToken,
    /// Whether parts are taken from the vault's budget.
    budgeted: bool,
    size: u64,
    parts: u64,
    runtime: Handle,
    upload: Option<Upload>,
    arrived: Arrived,
}

/// Is told how many more bytes the store has confirmed.
type Arrived = Arc<dyn Fn(u64) + Send + Sync>;

/// What a writer holds of the budget until its part is on its way.
#[derive(Clone, Debug, Default)]
pub struct Hold(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Hold {
    /// Gives it back although the part is not on its way, because its thread hangs and holds it for nothing.
    pub fn release(&self) {
        drop(self.take());
    }

    fn is_free(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn put(&self, permit: OwnedSemaphorePermit) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Upload {
    parts: Option<mpsc::Sender<Part>>,
    hash: JoinHandle<Sha256Hex>,
    task: JoinHandle<Result<Sent, VaultError>>,
}

/// What became of an upload all of whose parts were sent, or that was given up.
enum Sent {
    Done,
    /// The answer to its completion does not say whether there is an object now, which may be asked for so long.
    Unsure(VaultError, Duration),
}

enum Part {
    Data(Bytes, Option<OwnedSemaphorePermit>),
    Finish,
}

/// Parts of one object on their way at once.
const PARTS_IN_FLIGHT: usize = 4;
/// Parts after which a folder's disk is set to work.
const PARTS_FLUSHED: usize = 3;
impl ObjectWriter {
    /// A writer's buffer before it takes a part from the budget: small objects never wait for one.
    pub const UNBUDGETED: usize = 512 * 1024;

    pub(crate) fn new(vault: Vault, key: ObjectKey, part_size: PartSize, budgeted: bool) -> Self {
        let part_size = usize::try_from(part_size.bytes()).unwrap_or(usize::MAX);
        let (buffer, permit, stop) = (Vec::new(), Hold::default(), vault.stop.clone());
        let runtime = Handle::current();
        Self {
            vault,
            key,
            part_size,
            buffer,
            permit,
            stop,
            budgeted,
            size: 0,
            parts: 0,
            runtime,
            upload: None,
            arrived: Arc::new(|_| {}),
        }
    }

    /// Has the writer tell what the store confirms, when it does: the size of each part, of the object when it is small,
    /// and of each other object that is created with it.
    #[must_use]
    pub fn telling(self, arrived: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { arrived: Arc::new(arrived), ..self }
    }

    /// Has the writer fail instead of waiting for the budget when the token is cancelled.
    #[must_use]
    pub fn until(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// What it holds of the budget, so that it can be given back when the writer's thread hangs.
    pub fn hold(&self) -> Hold {
        self.permit.clone()
    }

    /// Bytes written so far.
    pub fn bytes_written(&self) -> u64 {
        self.size
    }

    /// Bytes that are held outside the vault's budget until the object is completed.
    pub fn bytes_buffered(&self) -> usize {
        if self.permit.is_free() { self.buffer.len() } else { 0 }
    }

    /// Sends everything that was written, so that nothing of the budget is held while another object is written. It
    /// must have been all. Blocking.
    pub fn seal(&mut self) -> io::Result<()> {
        if self.permit.is_free() {
            return Ok(());
        }
        let (part, runtime) = (self.take_part().map_err(VaultError::into_io)?, self.runtime.clone());
        runtime.block_on(self.send(part)).map_err(VaultError::into_io)
    }

    /// Completes the object and says where it lies and what it holds. Durable when it returns. Blocking.
    pub fn finish(self) -> Result<ObjectDigest, VaultError> {
        let runtime = self.runtime.clone();
        runtime.block_on(self.complete())
    }

    /// The same within async code.
    pub async fn complete(self) -> Result<ObjectDigest, VaultError> {
        let mut digests = self.complete_with(Vec::new()).await?;
        Ok(digests.swap_remove(0))
    }

    /// Completes the object and, together with it when it is small and else after it, creates others that belong to it.
    /// Their digests, this object's first.
    pub async fn complete_with(
        mut self,
        others: Vec<(ObjectKey, Bytes)>,
    ) -> Result<Vec<ObjectDigest>, VaultError> {
        let (vault, key) = (self.vault.clone(), self.key.clone());
        if self.upload.is_none() {
            let bytes = Bytes::from(mem::take(&mut self.buffer));
            let objects = [(key, bytes)].into_iter().chain(others).collect();
            return self.create_small(objects).await;
        }
        if !self.buffer.is_empty() {
            let part = self.take_part()?;
            self.send(part).await?;
        }
        self.send(Part::Finish).await?;
        let (sha256, sent) = self.join().await?;
        let finished = ObjectDigest { path: key.to_string(), size: self.size, sha256 };
        if let Sent::Unsure(error, left) = sent
            && !is_there(&vault, &key, &finished, left).await
        {
            return Err(error);
        }
        let others = if others.is_empty() { Vec::new() } else { self.create_small(others).await? };
        Ok([finished].into_iter().chain(others).collect())
    }

    async fn create_small(&self, objects: Vec<(ObjectKey, Bytes)>) -> Result<Vec<ObjectDigest>, VaultError> {
        let created = self.vault.create_all(objects).await?;
        (self.arrived)(created.iter().map(|object| object.size).sum());
        Ok(created)
    }

    /// Takes what was written since the last part, and starts the upload with the first one.
    fn take_part(&mut self) -> Result<Part, VaultError> {
        self.parts += 1;
        if self.parts > PartSize::MAX_PARTS {
            let answer = format!(
                "has more than {} parts of {} bytes: it is larger than was expected when it was started",
                PartSize::MAX_PARTS,
                self.part_size
            );
            return Err(VaultError::new(ErrorKind::Internal, "upload object", &self.key, answer));
        }
        if self.upload.is_none() {
            let (sender, unhashed) = mpsc::channel(1);
            let (hashed, receiver) = mpsc::channel(1);
            let sending =
                send_parts(self.vault.clone(), self.key.clone(), receiver, Arc::clone(&self.arrived));
            let task = self.vault.uploads().spawn_on(sending, &self.runtime);
            let hashing = move || hash_parts(unhashed, &hashed);
            let hash = self.vault.uploads().spawn_blocking_on(hashing, &self.runtime);
            self.upload = Some(Upload { parts: Some(sender), hash, task });
        }
        // A last part may be so small that it was not taken from the budget.
        Ok(Part::Data(Bytes::from(mem::take(&mut self.buffer)), self.permit.take()))
    }

    async fn send(&mut self, part: Part) -> Result<(), VaultError> {
        let sender = self.upload.as_ref().and_then(|upload| upload.parts.clone());
        let sent = match sender {
            Some(sender) => sender.send(part).await.is_ok(),
            None => false,
        };
        if sent {
            return Ok(());
        }
        // The task ended early, so it has an error to tell.
        match self.join().await {
            Err(error) => Err(error),
            Ok(_) => Err(self.defect("the upload ended before its last part")),
        }
    }

    async fn join(&mut self) -> Result<(Sha256Hex, Sent), VaultError> {
        let Some(upload) = self.upload.take() else { return Err(self.defect("an earlier write failed")) };
        drop(upload.parts);
        let sent = upload.task.await.map_err(|panic| self.defect(panic))??;
        let sha256 = upload.hash.await.map_err(|panic| self.defect(panic))?;
        Ok((sha256, sent))
    }

    fn defect(&self, answer: impl ToString) -> VaultError {
        VaultError::new(ErrorKind::Internal, "upload object", &self.key, answer)
    }

    /// Takes a whole part from the budget, then makes room for it.
    fn reserve(&mut self) -> io::Result<()> {
        let (budget, budget_mib) = self.vault.budget();
        let mib = u32::try_from(self.part_size.div_ceil(1 << 20)).unwrap_or(u32::MAX).min(budget_mib);
        let stopped = || io::Error::other("asked to stop");
        let permit = self.runtime.block_on(async {
            tokio::select! {
                permit = budget.acquire_many_owned(mib) => permit.map_err(io::Error::other),
                () = self.stop.cancelled() => Err(stopped()),
            }
        });
        self.permit.put(permit?);
        self.buffer.reserve_exact(self.part_size - self.buffer.len());
        Ok(())
    }
}

impl Write for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.budgeted && self.buffer.len() + bytes.len() > Self::UNBUDGETED && self.permit.is_free() {
            self.reserve()?;
        }
        let room = self.part_size - self.buffer.len();
        let taken = &bytes[..bytes.len().min(room)];
        self.buffer.extend_from_slice(taken);
        self.size += taken.len() as u64;
        if self.buffer.len() == self.part_size {
            self.seal()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes parts on their way; ends when either side gives up.
fn hash_parts(mut parts: mpsc::Receiver<Part>, hashed: &mpsc::Sender<Part>) -> Sha256Hex {
    let mut hash = Sha256::new();
    while let Some(part) = parts.blocking_recv() {
        if let Part::Data(data, _) = &part {
            hash.update(data);
        }
        if hashed.blocking_send(part).is_err() {
            break;
        }
    }
    Sha256Hex::from_bytes(hash.finalize().into())
}

/// Sends parts until told to finish; a channel that closes before that means that the writer gave up.
async fn send_parts(
    vault: Vault,
    key: ObjectKey,
    mut parts: mpsc::Receiver<Part>,
    arrived: Arrived,
) -> Result<Sent, VaultError> {
    let mut upload = Parts::begin(&vault, &key).await?;
    let feeding = feed((&vault, &key), &mut upload, &mut parts, &arrived);
    let result = vault.unless_stopped(("upload object", key.as_str()), feeding).await;
    match result {
        Ok(true) => {}
        Ok(false) => return abort(&vault, &key, &mut upload).await.map(|()| Sent::Done),
        Err(error) => {
            let _ = abort(&vault, &key, &mut upload).await;
            return Err(error);
        }
    }
    let patience = vault.patience();
    let completing = upload.complete(&vault, &key);
    if let Err(error) = vault.unless_stopped(("upload object", key.as_str()), completing).await {
        // From then on it cannot be completed any more, so what is found at its name is final.
        let _ = abort(&vault, &key, &mut upload).await;
        return match error.kind() {
            ErrorKind::Cancelled => Err(error),
            _ => Ok(Sent::Unsure(error, patience.left().max(vault.brief_budget()))),
        };
    }
    make_durable(&vault, &key).await?;
    Ok(Sent::Done)
}

/// Whether an object whose completion went wrong is there all the same: a store may have lost its answer, and knows
/// nothing of the upload when it is asked again. The whole object is read.
async fn is_there(vault: &Vault, key: &ObjectKey, digest: &ObjectDigest, left: Duration) -> bool {
    let looked = tokio::time::timeout(left, vault.head(key)).await;
    if !matches!(looked, Ok(Ok(Some(size))) if size == digest.size) {
        return false;
    }
    let Ok(mut reader) = vault.reader(key, Some(digest)).await else { return false };
    let proven = vault.uploads().spawn_blocking(move || reader.drain()).await;
    matches!(proven, Ok(Ok(())))
}

/// An object store's answer is a promise; a folder's has to be made one.
async fn make_durable(vault: &Vault, key: &ObjectKey) -> Result<(), VaultError> {
    let Some(folder) = vault.folder() else { return Ok(()) };
    folder.sync().await.map_err(|e| vault.failed_file("upload object", key.as_str(), &e))
}

async fn feed(
    (vault, key): (&Vault, &ObjectKey),
    upload: &mut Parts,
    parts: &mut mpsc::Receiver<Part>,
    arrived: &Arrived,
) -> Result<bool, VaultError> {
    let mut in_flight = FuturesUnordered::new();
    let mut parts_sent = 0_usize;
    loop {
        let part = tokio::select! {
            part = parts.recv(), if in_flight.len() < PARTS_IN_FLIGHT => part,
            Some(done) = in_flight.next() => {
                let done: Result<(), VaultError> = done;
                done?;
                continue;
            }
        };
        match part {
            Some(Part::Data(data, permit)) => {
                vault.counter().put();
                parts_sent += 1;
                let size = data.len();
                let sending = upload.put((vault, key), data);
                // A folder's disk has something to do while the next parts are made, not only at the end.
                let flush = parts_sent.is_multiple_of(PARTS_FLUSHED);
                in_flight.push(async move {
                    let turn = vault.pace().upload(size).await;
                    let sent = sending.await;
                    drop((permit, turn));
                    if sent.is_ok() {
                        arrived(size as u64);
                    }
                    if flush && sent.is_ok() { make_durable(vault, key).await } else { sent }
                });
            }
            Some(Part::Finish) => break,
            // Given up: what is on its way is not waited for, because a store that does not answer may take long.
            None => return Ok(false),
        }
    }
    while let Some(done) = in_flight.next().await {
        done?;
    }
    Ok(true)
}

async fn abort(vault: &Vault, key: &ObjectKey, upload: &mut Parts) -> Result<(), VaultError> {
    let mut patience = vault.brief_patience();
    loop {
        let late = |late| VaultError::new(ErrorKind::Unavailable, "abort upload", key, late);
        let aborted = tokio::time::timeout(vault.brief_budget(), upload.abort(vault, key)).await;
        match aborted.map_err(late).and_then(|aborted| aborted) {
            Ok(()) => return Ok(()),
            // The HTTP client does not repeat an abort whose answer was lost.
            Err(error) if !patience.pause().await => {
                tracing::warn!(%key, %error, "a multipart upload was not aborted; the store's lifecycle rule must remove it");
                return Err(error);
            }
            Err(_) => {}
        }
    }
}
