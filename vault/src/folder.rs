//! Many small files in a `file://` vault, durable together: one `syncfs` answers all that wait for it.
//!
//! Does not own: single objects that must never be seen half-written, such as the commit record; those are fsynced one
//! by one, by `object_store`. Here a crash of the machine may leave a new name with less content. That is safe, because
//! such an object counts only when a later one, written after this one was durable, names it with its digest; a file
//! that is replaced is durable before it takes the name.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use tokio::{
    sync::{Mutex, Semaphore},
    task::spawn_blocking,
};

/// The folder of a `file://` vault.
#[derive(Debug)]
pub struct Folder {
    /// Without fsync; uploads through it must be followed by [`Folder::sync`].
    pub store: Arc<LocalFileSystem>,
    root: Arc<File>,
    requested: AtomicU64,
    completed: AtomicU64,
    names: AtomicU64,
    lost: AtomicBool,
    turn: Mutex<()>,
    /// Files written at once: more would only mean more threads.
    writers: Semaphore,
}

/// Files written at once.
const WRITERS: usize = 8;

impl Folder {
    /// The folder at `path`, which exists.
    pub fn open(path: &Path) -> io::Result<Self> {
        let store = LocalFileSystem::new_with_prefix(path).map_err(io::Error::other)?;
        Ok(Self {
            store: Arc::new(store),
            root: Arc::new(File::open(path)?),
            requested: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            names: AtomicU64::new(0),
            lost: AtomicBool::new(false),
            turn: Mutex::new(()),
            writers: Semaphore::new(WRITERS),
        })
    }

    /// Returns when everything written before the call is durable.
    pub async fn sync(&self) -> io::Result<()> {
        let mine = self.requested.fetch_add(1, SeqCst) + 1;
        let _turn = self.turn.lock().await;
        // The kernel tells a failed write only once, so after one nothing here is believed any more.
        if self.lost.load(SeqCst) {
            return Err(io::Error::other("an earlier write to this vault failed"));
        }
        if self.completed.load(SeqCst) >= mine {
            return Ok(());
        }
        let covered = self.requested.load(SeqCst);
        let root = Arc::clone(&self.root);
        let synced = spawn_blocking(move || rustix::fs::syncfs(&*root)).await.map_err(io::Error::other)?;
        if let Err(error) = synced {
            self.lost.store(true, SeqCst);
            return Err(error.into());
        }
        self.completed.store(covered, SeqCst);
        Ok(())
    }

    /// Creates a file that must not exist. Durable when it returns.
    pub async fn create(&self, location: &object_store::path::Path, bytes: Bytes) -> io::Result<()> {
        let (target, staged) = self.paths(location)?;
        self.write(move || {
            write(&staged, &bytes)?;
            let linked = fs::hard_link(&staged, &target);
            fs::remove_file(&staged)?;
            linked
        })
        .await?;
        self.sync().await
    }

    /// Replaces a file, or creates it. Durable when it returns.
    pub async fn replace(&self, location: &object_store::path::Path, bytes: Bytes) -> io::Result<()> {
        let (target, staged) = self.paths(location)?;
        let written = staged.clone();
        self.write(move || write(&written, &bytes)).await?;
        self.sync().await?;
        self.write(move || fs::rename(&staged, &target)).await?;
        self.sync().await
    }

    async fn write(&self, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
        let _turn = self.writers.acquire().await.map_err(io::Error::other)?;
        spawn_blocking(work).await.map_err(io::Error::other)?
    }

    /// The file of a location, and a name beside it that listings pass over, as `object_store` does with its own.
    fn paths(&self, location: &object_store::path::Path) -> io::Result<(PathBuf, PathBuf)> {
        let target = self.store.path_to_filesystem(location).map_err(io::Error::other)?;
        let number = self.names.fetch_add(1, SeqCst);
        let mut staged = target.clone().into_os_string();
        staged.push(format!("#{}{number}", std::process::id()));
        Ok((target, staged.into()))
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
