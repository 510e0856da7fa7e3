//! A vault: the object store that holds backups, behind the few operations that Packhorse needs.
//!
//! Does not own: what is stored (the format's modules), retries (the HTTP client's) or creating (`create`). Objects are
//! written once, so nothing that was read can change under its reader.

use std::{
    fs::File,
    io,
    io::Read as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::BoxStream};
use object_store::{GetOptions, GetResult, ObjectStore, ObjectStoreExt as _, path::Path};
use packhorse_model::{ErrorKind, ObjectDigest, Sha256Hex};
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    ObjectKey, ObjectReader, ObjectWriter, Pace, PartSize, RequestCounts, VaultError, counts::Counter,
    folder::Folder, format_marker::no_folder, ranges::AHEAD_MIB,
};

/// An open vault; cheap to clone.
#[derive(Clone, Debug)]
pub struct Vault {
    inner: Arc<Inner>,
    pace: Pace,
    /// When cancelled, nothing is waited for any more.
    pub(crate) stop: CancellationToken,
    /// Whether requests go by way of the brief store.
    brief: bool,
    /// Whether files of a folder are read on the thread that asks.
    here: bool,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn ObjectStore>,
    /// The same store, which is not waited for so long.
    brief: Arc<dyn ObjectStore>,
    prefix: Path,
    label: String,
    counter: Counter,
    /// One permit for each MiB of upload buffers, shared by all writers of this vault.
    budget: Arc<Semaphore>,
    budget_mib: u32,
    /// How long a request is tried again.
    retry_budget: Duration,
    /// Set when the store has shown that it creates nothing over what exists.
    honours_create: OnceCell<()>,
    uploads: TaskTracker,
    /// Small objects that are sent to an object store at once: each takes a connection.
    creations: Semaphore,
    /// One permit for each MiB that readers of large objects hold before it is read.
    read_ahead: Arc<Semaphore>,
    /// The folder of a `file://` vault, where many small objects are made durable together.
    folder: Option<Folder>,
    /// The identity that the vault must have.
    pinned_id: Option<String>,
    /// The identity of the vault that was read last.
    known_id: Mutex<String>,
}

/// Small objects on their way to an object store at once.
const CREATIONS: usize = 128;

/// The digest of bytes that lie, or are to lie, at `key`.
pub fn digest_of(key: &ObjectKey, bytes: &[u8]) -> ObjectDigest {
    ObjectDigest {
        path: key.to_string(),
        size: bytes.len() as u64,
        sha256: Sha256Hex::from_bytes(Sha256::digest(bytes).into()),
    }
}

impl Vault {
    pub(crate) fn new(
        [store, brief]: [Arc<dyn ObjectStore>; 2],
        folder: Option<Folder>,
        prefix: Path,
        label: String,
        budget_mib: u32,
        retry_budget: Duration,
    ) -> Self {
        let budget = Arc::new(Semaphore::new(budget_mib as usize));
        let counter = Counter::default();
        let uploads = TaskTracker::new();
        let creations = Semaphore::new(CREATIONS);
        let honours_create = OnceCell::new();
        let inner = Inner {
            store,
            brief,
            prefix,
            label,
            counter,
            budget,
            budget_mib,
            retry_budget,
            honours_create,
            uploads,
            creations,
            read_ahead: Arc::new(Semaphore::new(AHEAD_MIB)),
            folder,
            pinned_id: None,
            known_id: Mutex::default(),
        };
        let (pace, stop) = (Pace::default(), CancellationToken::new());
        Self { inner: Arc::new(inner), pace, stop, brief: false, here: false }
    }

    /// The vault, which must have this identity; for one that nobody has cloned yet.
    pub(crate) fn pinned(mut self, id: Option<String>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.pinned_id = id;
        }
        self
    }

    /// The identity of the vault as it was read last; empty before that.
    pub fn id(&self) -> String {
        self.inner.known_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn remember_id(&self, id: &str) {
        id.clone_into(&mut self.inner.known_id.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The identity that the vault must have.
    pub(crate) fn pinned_id(&self) -> Option<&str> {
        self.inner.pinned_id.as_deref()
    }

    /// A vault on a store of the caller's, for tests.
    pub fn with_store(store: Arc<dyn ObjectStore>, label: &str) -> Self {
        Self::new(
            [Arc::clone(&store), store],
            None,
            Path::ROOT,
            label.to_owned(),
            64,
            Duration::from_secs(20),
        )
    }

    /// A vault in memory, for tests.
    pub fn in_memory() -> Self {
        Self::with_store(Arc::new(object_store::memory::InMemory::new()), "memory:")
    }

    /// The same vault, written to at this pace.
    #[must_use]
    pub fn paced(&self, pace: Pace) -> Self {
        Self { pace, ..self.clone() }
    }

    /// The same vault for questions that somebody waits for, and for the first one of a run: a store that does not
    /// answer is given up after a minute.
    #[must_use]
    pub fn briefly(&self) -> Self {
        Self { brief: true, ..self.clone() }
    }

    /// The same vault for readers whose thread may block: files of a folder are read on it, without a change of threads.
    #[must_use]
    pub fn here(&self) -> Self {
        Self { here: true, ..self.clone() }
    }

    pub(crate) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// The vault's URL, without credentials.
    pub fn label(&self) -> &str {
        &self.inner.label
    }

    /// The folder of a `file://` vault.
    pub fn local_folder(&self) -> Option<&std::path::Path> {
        self.inner.folder.as_ref().map(|folder| folder.path.as_path())
    }

    /// Multipart uploads under way, those that are being aborted among them: a process that ends waits for them.
    pub fn uploads(&self) -> &TaskTracker {
        &self.inner.uploads
    }

    /// Requests so far.
    pub fn requests(&self) -> RequestCounts {
        self.inner.counter.snapshot()
    }

    /// The whole object.
    pub async fn get(&self, key: &ObjectKey) -> Result<Bytes, VaultError> {
        if let Some(mut file) = self.open_here(key)? {
            let mut bytes = Vec::new();
            return match file.read_to_end(&mut bytes) {
                Ok(_) => Ok(bytes.into()),
                Err(error) => Err(self.failed_file("read object", key.as_str(), &error)),
            };
        }
        let result = self.open_get(key).await?;
        result.bytes().await.map_err(|e| self.failed("read object", key.as_str(), e))
    }

    /// The whole object, checked against its digest.
    pub async fn get_checked(&self, digest: &ObjectDigest) -> Result<Bytes, VaultError> {
        let key = ObjectKey::from_stored(&digest.path)?;
        let bytes = self.get(&key).await?;
        let found = digest_of(&key, &bytes);
        if found == *digest {
            return Ok(bytes);
        }
        let finding = format!(
            "has {} bytes with SHA-256 {}, must have {} bytes with {}",
            found.size, found.sha256, digest.size, digest.sha256
        );
        Err(VaultError::corrupt("read object", key, finding))
    }

    /// A blocking reader of the object that fails at its end unless size and digest are right.
    pub async fn reader(
        &self,
        key: &ObjectKey,
        digest: Option<&ObjectDigest>,
    ) -> Result<ObjectReader, VaultError> {
        if let Some(file) = self.open_here(key)? {
            return Ok(ObjectReader::of_file(key.clone(), file, digest.cloned()));
        }
        if let Some(digest) = digest.filter(|digest| self.has_ranges(digest.size)) {
            let chunks = self.ranged(key, digest).await?;
            return Ok(ObjectReader::of_stream(key.clone(), chunks, Some(digest.clone())));
        }
        let result = self.open_get(key).await?;
        Ok(ObjectReader::new(key.clone(), result, digest.cloned()))
    }

    /// The file of an object, when it is read here.
    fn open_here(&self, key: &ObjectKey) -> Result<Option<File>, VaultError> {
        let Some(folder) = self.inner.folder.as_ref().filter(|_| self.here) else { return Ok(None) };
        self.inner.counter.get();
        match folder.open_file(&self.path(key)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(VaultError::new(ErrorKind::NotFound, "read object", key, error))
            }
            Err(error) => Err(self.failed_file("read object", key.as_str(), &error)),
        }
    }

    pub(crate) async fn open_get(&self, key: &ObjectKey) -> Result<GetResult, VaultError> {
        const READ: &str = "read object";
        self.inner.counter.get();
        let path = self.path(key);
        let asking = async {
            let result = self.store().get_opts(&path, GetOptions::default()).await;
            result.map_err(|e| self.failed(READ, key.as_str(), e))
        };
        self.unless_stopped((READ, key.as_str()), asking).await
    }

    /// The size of the object; none when it does not exist.
    pub async fn head(&self, key: &ObjectKey) -> Result<Option<u64>, VaultError> {
        self.unless_stopped(("look up object", key.as_str()), self.ask_for(key)).await
    }

    async fn ask_for(&self, key: &ObjectKey) -> Result<Option<u64>, VaultError> {
        self.inner.counter.head();
        match self.store().head(&self.path(key)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => {
                let error = self.failed("look up object", key.as_str(), error);
                if !error.is_wordless() {
                    return Err(error);
                }
                // The same question in a form whose answer has room for a reason.
                self.open_get(key).await.map(|found| Some(found.meta.size))
            }
        }
    }

    /// Does what [`Vault::create`] does for several objects, faster where many do it at once: in a `file://` vault one
    /// sync of the file system answers for all of them. For objects that a later one names with their digest, and for no
    /// other. When one of them cannot be written, a folder names none of them; an object store may
    /// keep the others.
    pub async fn create_all(
        &self,
        objects: Vec<(ObjectKey, Bytes)>,
    ) -> Result<Vec<ObjectDigest>, VaultError> {
        let first = objects.first().map(|(key, _)| key.to_string()).unwrap_or_default();
        self.unless_stopped(("create object", &first), self.create_each(objects)).await
    }

    async fn create_each(&self, objects: Vec<(ObjectKey, Bytes)>) -> Result<Vec<ObjectDigest>, VaultError> {
        let Some(folder) = &self.inner.folder else {
            let creating = objects.into_iter().map(|(key, bytes)| async move {
                let _turn = self.inner.creations.acquire().await;
                self.create(&key, bytes).await
            });
            return futures_util::future::try_join_all(creating).await;
        };
        let digests: Vec<ObjectDigest> = objects.iter().map(|(key, bytes)| digest_of(key, bytes)).collect();
        let _turn = self.pace.upload(objects.iter().map(|(_, bytes)| bytes.len()).sum()).await;
        digests.iter().for_each(|_| self.inner.counter.put());
        let files = objects.into_iter().map(|(key, bytes)| (self.path(&key), bytes)).collect();
        match folder.create_all(files).await {
            Ok(()) => Ok(digests),
            Err((number, error)) => {
                Err(self.failed_file("create object", digests[number].path.as_str(), &error))
            }
        }
    }

    /// Creates one object like [`Vault::create_all`]; an earlier try may have come so far.
    pub async fn create_or_find(&self, key: ObjectKey, bytes: Bytes) -> Result<ObjectDigest, VaultError> {
        let digest = digest_of(&key, &bytes);
        match self.create_all(vec![(key, bytes)]).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.get_checked(&digest).await.map(|_| digest).map_err(|_| error)
            }
            created => created.map(|_| digest),
        }
    }

    /// Writes a copy of an object under a name that may exist: only `+latest.toml`, which other tools read, and which
    /// nothing of ours trusts.
    pub async fn write_latest(&self, latest: &ObjectKey, bytes: Bytes) -> Result<(), VaultError> {
        const WRITE: &str = "write object";
        self.inner.counter.put();
        let path = self.path(latest);
        let writing = async {
            if let Some(folder) = &self.inner.folder {
                let put = folder.replace(&path, bytes).await;
                return put.map_err(|e| self.failed_file(WRITE, latest.as_str(), &e));
            }
            let put = self.store().put(&path, bytes.into()).await;
            put.map(drop).map_err(|e| self.failed(WRITE, latest.as_str(), e))
        };
        self.unless_stopped((WRITE, latest.as_str()), writing).await
    }

    /// A blocking writer of a new object of unknown size.
    pub fn writer(&self, key: ObjectKey, part_size: PartSize) -> ObjectWriter {
        ObjectWriter::new(self.clone(), key, part_size, true)
    }

    /// A writer of an object that grows slowly, from what comes of other objects; its parts are beyond the budget.
    pub fn slow_writer(&self, key: ObjectKey) -> ObjectWriter {
        ObjectWriter::new(self.clone(), key, PartSize::SMALLEST, false)
    }

    pub(crate) async fn list_folder(&self, folder: &ObjectKey) -> Result<Vec<String>, VaultError> {
        self.inner.counter.list();
        let prefix = self.path(folder);
        if let Some(local) = self.folder() {
            return local.names_in(&prefix).await.map_err(|e| self.failed_file("list", folder.as_str(), &e));
        }
        let listing = self.store().list_with_delimiter(Some(&prefix)).await;
        let listing = listing.map_err(|e| self.failed("list", folder.as_str(), e))?;
        let objects = listing.objects.into_iter().map(|meta| meta.location);
        let names = listing.common_prefixes.into_iter().chain(objects);
        Ok(names.filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    /// What the store answered to an operation on an object.
    pub(crate) fn failed(&self, operation: &str, object: &str, error: object_store::Error) -> VaultError {
        VaultError::from_store(operation, object, error).below(self.local_folder())
    }

    /// The same of a file of a folder.
    pub(crate) fn failed_file(&self, operation: &str, object: &str, error: &io::Error) -> VaultError {
        VaultError::from_file(operation, object, error).below(self.local_folder())
    }

    /// Names at the top of the vault, of whatever is there.
    pub(crate) async fn names_at_top(&self) -> Result<Vec<String>, VaultError> {
        if let Some(folder) = self.folder() {
            return folder.names().map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => no_folder(self.label(), self.pinned_id()),
                _ => self.failed_file("list", "", &e),
            });
        }
        self.inner.counter.list();
        let prefix = Some(&self.inner.prefix).filter(|prefix| !prefix.as_ref().is_empty());
        let listing = self.store().list_with_delimiter(prefix).await;
        let listing = listing.map_err(|e| self.failed("list", "", e))?;
        let objects = listing.objects.into_iter().map(|meta| meta.location);
        let names = listing.common_prefixes.into_iter().chain(objects);
        Ok(names.filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    /// Looks whether a folder is still the one that was opened, or takes up the file system that was mounted there since.
    pub(crate) fn check_place(&self) -> Result<(), VaultError> {
        let Some(folder) = self.folder() else { return Ok(()) };
        match folder.look_again() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(no_folder(self.label(), self.pinned_id()))
            }
            looked => looked.map_err(|e| VaultError::from_file("open vault", self.label(), &e)),
        }
    }

    /// Everything in a folder, at any depth, that comes after this key by name, with its size. Pages are asked for as they
    /// are needed.
    pub(crate) fn list_after(
        &self,
        folder: &ObjectKey,
        after: &ObjectKey,
    ) -> BoxStream<'static, Result<(Path, u64), VaultError>> {
        self.inner.counter.list();
        let listing = self.store().list_with_offset(Some(&self.path(folder)), &self.path(after));
        let folder = folder.to_string();
        listing
            .map(move |meta| match meta {
                Ok(meta) => Ok((meta.location, meta.size)),
                Err(error) => Err(VaultError::from_store("list", folder.as_str(), error)),
            })
            .boxed()
    }

    pub(crate) fn path(&self, key: &ObjectKey) -> Path {
        let joined = match self.inner.prefix.as_ref() {
            "" => key.as_str().to_owned(),
            prefix => format!("{prefix}/{key}"),
        };
        Path::parse(joined).expect("keys are relative paths of plain components without control characters")
    }

    pub(crate) fn store(&self) -> &dyn ObjectStore {
        if self.brief { self.inner.brief.as_ref() } else { self.inner.store.as_ref() }
    }

    pub(crate) fn retry_budget(&self) -> Duration {
        self.inner.retry_budget
    }

    pub(crate) fn honours_create(&self) -> &OnceCell<()> {
        &self.inner.honours_create
    }

    pub(crate) fn folder(&self) -> Option<&Folder> {
        self.inner.folder.as_ref()
    }

    /// The object store, which is waited for as long as it takes.
    pub(crate) fn remote(&self) -> &dyn ObjectStore {
        self.inner.store.as_ref()
    }

    pub(crate) fn counter(&self) -> &Counter {
        &self.inner.counter
    }

    pub(crate) fn read_ahead(&self) -> &Arc<Semaphore> {
        &self.inner.read_ahead
    }

    pub(crate) fn budget(&self) -> (Arc<Semaphore>, u32) {
        (Arc::clone(&self.inner.budget), self.inner.budget_mib)
    }
}
