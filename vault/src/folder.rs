//! Many small files in a `file://` vault, durable together: one `syncfs` answers all that wait for it.
//!
//! Does not own: single objects that must never be seen half-written, such as the commit record; those are fsynced one
//! by one, by `object_store`. Here a crash of the machine may leave a new name with less content. That is safe, because
//! such an object counts only when a later one, written after this one was durable, names it with its digest; a manifest
//! that is adopted from a dead run is looked through for its last digest instead.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use object_store::{local::LocalFileSystem, path::Path as Location};
use rustix::{
    fs::{CWD, RenameFlags},
    io::Errno,
};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// The folder of a `file://` vault.
#[derive(Debug)]
pub struct Folder {
    /// Without fsync; uploads through it must be followed by [`Folder::sync`].
    pub store: Arc<LocalFileSystem>,
    /// The folder itself, by which its file system is synced.
    root: Mutex<Arc<File>>,
    /// Where it is.
    pub path: PathBuf,
    syncs: Arc<Syncs>,
    names: AtomicU64,
    /// Tells names of this process from others'.
    mark: u64,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Files written at once: more would only mean more threads.
    writers: Semaphore,
}

/// Whether an open folder is the one at a path.
fn is_same(open: &File, path: &Path) -> io::Result<bool> {
    let (open, named) = (open.metadata()?, fs::metadata(path)?);
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
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
            store: Arc::new(store),
            root: Mutex::new(Arc::new(File::open(path)?)),
            path: path.to_owned(),
            syncs: Arc::default(),
            names: AtomicU64::new(0),
            mark: uuid::Uuid::new_v4().as_u64_pair().1,
            turn: Arc::default(),
            writers: Semaphore::new(WRITERS),
        })
    }

    /// Names in the folder.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned())).collect()
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
        let root = Arc::clone(&self.root.lock().unwrap_or_else(PoisonError::into_inner));
        if is_same(&root, &self.path)? {
            return Ok(root);
        }
        Err(io::Error::other("another file system was mounted there, or this one unmounted"))
    }

    /// Opens a file for reading, on this thread.
    pub fn open_file(&self, location: &Location) -> io::Result<File> {
        File::open(self.store.path_to_filesystem(location).map_err(io::Error::other)?)
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
        let files: Vec<(Paths, Bytes)> = files
            .into_iter()
            .enumerate()
            .map(|(number, (location, bytes))| Ok((self.paths(&location).map_err(|e| (number, e))?, bytes)))
            .collect::<Result<_, _>>()?;
        let written = self.write(move || {
            for (number, (paths, bytes)) in files.iter().enumerate() {
                let created = write(&paths.staged, bytes).and_then(|()| paths.create());
                if let Err(error) = created {
                    // A full disk must not be left fuller.
                    files[..number].iter().for_each(|(paths, _)| drop(fs::remove_file(&paths.target)));
                    return Err((number, error));
                }
            }
            Ok(())
        });
        written.await.map_err(first)??;
        self.sync().await.map_err(first)
    }

    async fn write<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let _turn = self.writers.acquire().await.map_err(io::Error::other)?;
        spawn_blocking(work).await.map_err(io::Error::other)
    }

    fn paths(&self, location: &Location) -> io::Result<Paths> {
        let target = self.store.path_to_filesystem(location).map_err(io::Error::other)?;
        let number = self.names.fetch_add(1, SeqCst);
        let mut staged = target.clone().into_os_string();
        // Digits only, and others than those of a process that died.
        staged.push(format!("#{}{number:08}", self.mark));
        Ok(Paths { target, staged: staged.into() })
    }
}

/// The file of a location, and a name beside it that listings pass over, as `object_store` does with its own.
struct Paths {
    target: PathBuf,
    staged: PathBuf,
}

impl Paths {
    /// Gives the staged file its name, which nothing may have; otherwise nothing is left of it.
    fn create(&self) -> io::Result<()> {
        let renamed = rustix::fs::renameat_with(CWD, &self.staged, CWD, &self.target, RenameFlags::NOREPLACE);
        let created = match renamed {
            Ok(()) => return Ok(()),
            // Network file systems may not know this way.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::hard_link(&self.staged, &self.target),
            Err(error) => Err(error.into()),
        };
        let _ = fs::remove_file(&self.staged);
        created
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    let opened = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            options.open(path)
        }
        opened => opened,
    };
    let written = opened?.write_all(bytes);
    if written.is_err() {
        // A full disk must not be left fuller.
        let _ = fs::remove_file(path);
    }
    written
}
