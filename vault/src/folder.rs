//! What is written into a `file://` vault: many small files, durable together, as one `syncfs` answers all that wait for it,
//! and single ones that must never be seen half-written, such as the commit record, each with its own fsync.
//!
//! Does not own: reading, which `object_store` does, or how a file comes without a name (`new_file`). Of small files a
//! crash of the machine may leave a new name with less content. That is safe, because such an object counts only when a
//! later one, written after this one was durable, names it with its digest; a manifest that is adopted from a dead run
//! is looked through for its last digest instead.

mod new_file;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use new_file::is_being_written;
pub use new_file::{NewFile, NewFiles};
use object_store::{local::LocalFileSystem, path::Path as Location};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// The folder of a `file://` vault.
#[derive(Debug)]
pub struct Folder {
    /// Knows where objects lie.
    store: LocalFileSystem,
    /// Makes files that have no name until they are whole.
    new: Arc<NewFiles>,
    /// The folder itself, by which its file system is synced.
    root: Mutex<Arc<File>>,
    /// Where it is.
    pub path: PathBuf,
    syncs: Arc<Syncs>,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Files written at once: more would only mean more threads.
    writers: Semaphore,
}

/// Whether an open folder is the one at a path.
fn is_same(open: &File, path: &Path) -> io::Result<bool> {
    let (open, named) = (open.metadata()?, fs::metadata(path)?);
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

/// Names in a folder, but for those that no object of ours has, and of files that are still being written.
fn names_of_objects(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if !name.contains(char::is_control) && !is_being_written(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// How far syncing is, by the number of the request.
#[derive(Debug, Default)]
struct Syncs {
    requested: AtomicU64,
    completed: AtomicU64,
    lost: AtomicBool,
}

impl Syncs {
    /// The kernel tells a failed write only once, so after one nothing here is believed any more.
    fn believed(&self) -> io::Result<()> {
        if self.lost.load(SeqCst) {
            return Err(io::Error::other("an earlier write to this vault failed"));
        }
        Ok(())
    }
}

/// Files written at once.
const WRITERS: usize = 8;

impl Folder {
    /// The folder at `path`, which exists.
    pub fn open(path: &Path) -> io::Result<Self> {
        let store = LocalFileSystem::new_with_prefix(path).map_err(io::Error::other)?;
        Ok(Self {
            store,
            new: Arc::new(NewFiles::new()),
            root: Mutex::new(Arc::new(File::open(path)?)),
            path: path.to_owned(),
            syncs: Arc::default(),
            turn: Arc::default(),
            writers: Semaphore::new(WRITERS),
        })
    }

    /// Names in the folder.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned())).collect()
    }

    /// Names in a folder of it that can be those of objects; none where there is no such folder.
    pub async fn names_in(&self, location: &Location) -> io::Result<Vec<String>> {
        let target = self.target(location)?;
        spawn_blocking(move || names_of_objects(&target)).await.map_err(io::Error::other)?
    }

    /// Takes up the folder that is at the path now, where another one was mounted since it was opened.
    pub fn look_again(&self) -> io::Result<()> {
        let mut root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_same(&root, &self.path)? {
            *root = Arc::new(File::open(&self.path)?);
        }
        Ok(())
    }

    /// The folder, while it is the one at the path: what was written by the path is on its file system.
    pub fn root(&self) -> io::Result<Arc<File>> {
        let root = self.opened();
        if is_same(&root, &self.path)? {
            return Ok(root);
        }
        Err(io::Error::other("another file system was mounted there, or this one unmounted"))
    }

    /// The folder that was opened. Whoever syncs sees whether it is still the one at the path.
    fn opened(&self) -> Arc<File> {
        Arc::clone(&self.root.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens a file for reading, on this thread.
    pub fn open_file(&self, location: &Location) -> io::Result<File> {
        File::open(self.target(location)?)
    }

    /// Returns when everything written before the call is durable.
    pub async fn sync(&self) -> io::Result<()> {
        let mine = self.syncs.requested.fetch_add(1, SeqCst) + 1;
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if self.syncs.completed.load(SeqCst) >= mine {
            return self.syncs.believed();
        }
        let (root, syncs) = (self.root()?, Arc::clone(&self.syncs));
        // All of it on that thread: whoever waits here may go away, and what the kernel says must not be lost with him.
        let synced = spawn_blocking(move || {
            let _turn = turn;
            syncs.believed()?;
            let covered = syncs.requested.load(SeqCst);
            if let Err(error) = rustix::fs::syncfs(&*root) {
                syncs.lost.store(true, SeqCst);
                return Err(error.into());
            }
            syncs.completed.store(covered, SeqCst);
            Ok(())
        });
        synced.await.map_err(io::Error::other)?
    }

    /// Creates files that must not exist, in this order: all of them, or none. Durable when it returns; an error comes
    /// with the number of the file that it is about.
    pub async fn create_all(&self, files: Vec<(Location, Bytes)>) -> Result<(), (usize, io::Error)> {
        let first = |error| (0, error);
        let (root, new) = (self.opened(), Arc::clone(&self.new));
        let written = self.write(move || {
            let mut created: Vec<NewFile> = Vec::new();
            for (number, (location, bytes)) in files.iter().enumerate() {
                let file = new.begin(&*root, Path::new(location.as_ref()), false);
                let made =
                    file.and_then(|file| file.write(bytes).and_then(|()| file.create()).map(|()| file));
                match made {
                    Ok(file) => created.push(file),
                    Err(error) => {
                        // A full disk must not be left fuller.
                        created.iter().for_each(NewFile::remove);
                        return Err((number, error));
                    }
                }
            }
            Ok(())
        });
        written.await.map_err(first)??;
        self.sync().await.map_err(first)
    }

    /// Creates a file that must not exist, and that nobody must ever see half-written. Durable when it returns.
    pub async fn create(&self, location: &Location, bytes: Bytes) -> io::Result<()> {
        self.write_whole(location, bytes, |file| file.create()).await
    }

    /// The same for a file that may exist.
    pub async fn replace(&self, location: &Location, bytes: Bytes) -> io::Result<()> {
        self.write_whole(location, bytes, NewFile::replace).await
    }

    async fn write_whole(
        &self,
        location: &Location,
        bytes: Bytes,
        give_name: fn(&mut NewFile) -> io::Result<()>,
    ) -> io::Result<()> {
        let (root, location, new) = (self.opened(), location.clone(), Arc::clone(&self.new));
        let written = self.write(move || {
            let mut file = new.begin(&*root, Path::new(location.as_ref()), true)?;
            file.write(&bytes)?;
            file.sync()?;
            give_name(&mut file)?;
            file.sync_name()
        });
        written.await?
    }

    /// Begins a file that is written in parts.
    pub async fn begin(&self, location: &Location) -> io::Result<NewFile> {
        let (root, location, new) = (self.opened(), location.clone(), Arc::clone(&self.new));
        self.write(move || new.begin(&*root, Path::new(location.as_ref()), false)).await?
    }

    async fn write<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let _turn = self.writers.acquire().await.map_err(io::Error::other)?;
        spawn_blocking(work).await.map_err(io::Error::other)
    }

    fn target(&self, location: &Location) -> io::Result<PathBuf> {
        self.store.path_to_filesystem(location).map_err(io::Error::other)
    }
}
