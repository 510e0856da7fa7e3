//! A file that gets its name when it is whole, and that nothing is left of when its writer dies before.
//!
//! Does not own: when it is durable. Until then the file has no name at all (`O_TMPFILE`), so the kernel frees it with its
//! writer, however that ends: there is nothing to clean up, and nobody who could mistake another's file for a leftover.
//! Where a file system cannot do that, as network file systems cannot, the file has a temporary name beside its own, with a
//! `#` and digits, which listings pass over. That one stays behind when its writer is killed. No process removes another's:
//! which of them belong to the dead, nobody on one host can tell of a folder that others write to as well.
//!
//! Every folder is opened from the vault's own on, and no symbolic link in it is followed: whoever may write to the vault
//! cannot have others write elsewhere.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use rustix::{
    fs::{
        AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Uid, chownat, fstat, linkat, mkdirat,
        openat, openat2, renameat, renameat_with, unlinkat,
    },
    io::Errno,
};

/// Makes new files of one folder.
#[derive(Debug)]
pub struct NewFiles {
    /// Whether files may be without a name, found out with the first one.
    nameless: OnceLock<bool>,
    names: AtomicU64,
    /// Tells names of this process from others'.
    mark: u64,
}

/// A file that has not got its name yet.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    folder: OwnedFd,
    name: OsString,
    /// Another name in the folder: that of the file, where it must have one.
    beside: OsString,
    is_named: bool,
}

impl NewFiles {
    pub fn new() -> Self {
        let mark = uuid::Uuid::new_v4().as_u64_pair().1;
        Self { nameless: OnceLock::new(), names: AtomicU64::new(0), mark }
    }

    /// The same where every file must have a name.
    #[cfg(test)]
    pub fn named() -> Self {
        Self { nameless: OnceLock::from(false), ..Self::new() }
    }

    /// Begins a file that is to lie at `target` below the folder `root`, with the folders above it; `durable` says whether
    /// those must be so at once.
    pub fn begin(&self, root: impl AsFd, target: &Path, durable: bool) -> io::Result<NewFile> {
        let parent = parent_of(target)?;
        let folder = match open_below(&root, parent) {
            Err(Errno::NOENT) => make_folders(&root, parent, durable)?,
            opened => opened.map_err(|error| explained(error, parent))?,
        };
        self.begin_in(folder, target)
    }

    fn begin_in(&self, folder: OwnedFd, target: &Path) -> io::Result<NewFile> {
        let name = name_of(target)?.to_owned();
        let beside = self.beside(&name);
        let is_named = !*self.nameless.get_or_init(|| can_be_nameless(&folder, &self.beside(&name)));
        let file = match is_named {
            true => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                openat(&folder, &beside, flags, Mode::from_raw_mode(0o666))?
            }
            false => open_nameless(&folder)?,
        };
        give_to_owner(&folder, &file);
        Ok(NewFile { file: file.into(), folder, name, beside, is_named })
    }

    fn beside(&self, name: &OsStr) -> OsString {
        let mut name = name.to_owned();
        // Digits only, and others than those of a process that died.
        name.push(format!("#{}{:08}", self.mark, self.names.fetch_add(1, SeqCst)));
        name
    }
}

impl NewFile {
    /// Writes all of it at once.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)
    }

    /// Writes a part of it.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Makes what was written durable.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Makes its name durable.
    pub fn sync_name(&self) -> io::Result<()> {
        sync(&self.folder)
    }

    /// Gives it its name, which nothing may have.
    pub fn create(&self) -> io::Result<()> {
        let Self { folder, name, beside, .. } = self;
        if !self.is_named {
            return give_name(&self.file, folder, name);
        }
        match renameat_with(folder, beside, folder, name, RenameFlags::NOREPLACE) {
            // Network file systems may not know this way; the other name goes with `drop`.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                Ok(linkat(folder, beside, folder, name, AtFlags::empty())?)
            }
            renamed => Ok(renamed?),
        }
    }

    /// Takes its name away again, which it got by [`NewFile::create`].
    pub fn remove(&self) {
        let _ = unlinkat(&self.folder, &self.name, AtFlags::empty());
    }

    /// Gives it its name, whatever has it.
    pub fn replace(&mut self) -> io::Result<()> {
        if !self.is_named {
            give_name(&self.file, &self.folder, &self.beside)?;
            self.is_named = true;
        }
        Ok(renameat(&self.folder, &self.beside, &self.folder, &self.name)?)
    }
}

impl Drop for NewFile {
    /// A full disk must not be left fuller.
    fn drop(&mut self) {
        if self.is_named {
            let _ = unlinkat(&self.folder, &self.beside, AtFlags::empty());
        }
    }
}

/// Whether a name is one that a file has beside its own while it is written.
pub fn is_being_written(name: &str) -> bool {
    let digits = name.rsplit_once('#').map_or("", |(_, digits)| digits);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn parent_of(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::other("it has no folder"))
}

fn name_of(path: &Path) -> io::Result<&OsStr> {
    path.file_name().ok_or_else(|| io::Error::other("it has no name"))
}

/// How a folder is opened in which things are made by name, whatever becomes of the path that led there.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Opens a folder below another one. No symbolic link is followed.
fn open_below(root: impl AsFd, folder: &Path) -> Result<OwnedFd, Errno> {
    let below = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match openat2(&root, folder, FOLDER, Mode::empty(), below) {
        // Linux has it from 5.6 on, and containers may not.
        Err(Errno::NOSYS | Errno::PERM) => {
            let root = openat(&root, ".", FOLDER, Mode::empty())?;
            folder
                .components()
                .try_fold(root, |above, name| openat(above, name.as_os_str(), FOLDER, Mode::empty()))
        }
        opened => opened,
    }
}

/// Says of a link that it is one: without it, the answer is that there are too many of them, or no folder.
fn explained(error: Errno, folder: &Path) -> io::Error {
    match error {
        Errno::LOOP | Errno::NOTDIR => io::Error::other(format!(
            "a folder of {} is a symbolic link or none: nothing is written through a link of a vault; mount there what it \
             leads to",
            folder.display()
        )),
        error => error.into(),
    }
}

fn open_nameless(folder: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    Ok(openat(folder, ".", flags, Mode::from_raw_mode(0o666))?)
}

fn give_name(file: impl AsFd, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let open = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    Ok(linkat(CWD, open, folder, name, AtFlags::SYMLINK_FOLLOW)?)
}

/// Whether a file without a name can be made in a folder, and be named.
fn can_be_nameless(folder: &OwnedFd, name_of_trial: &OsStr) -> bool {
    let named = open_nameless(folder).and_then(|file| give_name(file, folder, name_of_trial));
    named.is_ok() && unlinkat(folder, name_of_trial, AtFlags::empty()).is_ok()
}

fn sync(folder: &OwnedFd) -> io::Result<()> {
    let open = openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    File::from(open).sync_all()
}

/// Gives what root has made in a folder to the folder's owner, who could not read it otherwise. Both are open, so nobody who
/// may change names there gets anything else.
fn give_to_owner(folder: &OwnedFd, new: &OwnedFd) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    if let Ok(above) = fstat(folder)
        && above.st_uid != 0
    {
        let (user, group) = (Uid::from_raw(above.st_uid), Gid::from_raw(above.st_gid));
        // Where that is not possible the new one is as good, but for its owner.
        let _ = chownat(new, "", Some(user), Some(group), AtFlags::EMPTY_PATH);
    }
}

/// Makes a folder below another one, and those above it that are missing.
fn make_folders(root: impl AsFd, folder: &Path, durable: bool) -> io::Result<OwnedFd> {
    let mut above = openat(root, ".", FOLDER, Mode::empty())?;
    for name in folder.components() {
        let name = name.as_os_str();
        let opened = openat(&above, name, FOLDER, Mode::empty());
        let below = match opened {
            Err(Errno::NOENT) => make_folder(&above, name, folder, durable)?,
            opened => opened.map_err(|error| explained(error, folder))?,
        };
        above = below;
    }
    Ok(above)
}

fn make_folder(above: &OwnedFd, name: &OsStr, folder: &Path, durable: bool) -> io::Result<OwnedFd> {
    let made = mkdirat(above, name, Mode::from_raw_mode(0o777));
    // Another writer may have been faster.
    if !matches!(made, Ok(()) | Err(Errno::EXIST)) {
        made?;
    }
    let below = openat(above, name, FOLDER, Mode::empty()).map_err(|error| explained(error, folder))?;
    if made.is_ok() {
        give_to_owner(above, &below);
    }
    if durable {
        sync(above)?;
    }
    Ok(below)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, lchown},
    };

    use super::*;

    fn root_of(folder: &tempfile::TempDir) -> File {
        File::open(folder.path()).expect("open folder")
    }

    fn names_in(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).expect("read").map(|entry| entry.expect("entry").file_name());
        names.map(|name| name.into_string().expect("a name")).collect()
    }

    #[test]
    fn a_file_is_created_once_and_may_be_replaced_on_any_file_system() {
        for files in [NewFiles::new(), NewFiles::named()] {
            let folder = tempfile::tempdir().expect("temp folder");
            let target = folder.path().join("deep/er/file");
            let begin = |bytes: &[u8]| {
                let file = files.begin(root_of(&folder), Path::new("deep/er/file"), true).expect("begun");
                file.write(bytes).expect("written");
                file
            };
            let first = begin(b"first");
            assert!(!target.exists());
            first.create().expect("created");
            let second = begin(b"second");
            let taken = second.create().expect_err("the name is taken");
            assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
            begin(b"third").replace().expect("replaced");
            assert_eq!(fs::read(&target).expect("read"), b"third");
            drop((first, second, begin(b"given up")));
            assert_eq!(names_in(target.parent().expect("a folder")), ["file"]);
        }
    }

    #[test]
    fn what_root_makes_in_the_folder_of_another_user_is_that_users() {
        const USER: u32 = 65534;
        if !rustix::process::geteuid().is_root() {
            return packhorse_testkit::skipped("only root can write for another user");
        }
        for files in [NewFiles::new(), NewFiles::named()] {
            let folder = tempfile::tempdir().expect("temp folder");
            lchown(folder.path(), Some(USER), Some(USER)).expect("given away");
            let target = folder.path().join("deep/er/file");
            let file = files.begin(root_of(&folder), Path::new("deep/er/file"), true).expect("begun");
            file.create().expect("created");
            for path in target.ancestors().take(4) {
                let meta = fs::symlink_metadata(path).expect("there");
                assert_eq!((meta.uid(), meta.gid()), (USER, USER), "{}", path.display());
            }
        }
    }

    #[test]
    fn nothing_but_what_was_made_is_given_away_whatever_becomes_of_names() {
        const USER: u32 = 65534;
        if !rustix::process::geteuid().is_root() {
            return packhorse_testkit::skipped("only root can write for another user");
        }
        for files in [NewFiles::new(), NewFiles::named()] {
            let place = tempfile::tempdir().expect("temp folder");
            let [theirs, ours] = ["theirs", "ours"].map(|name| place.path().join(name));
            fs::create_dir_all(theirs.join("a")).expect("folders");
            fs::create_dir(&ours).expect("folder");
            [theirs.clone(), theirs.join("a")]
                .iter()
                .for_each(|path| lchown(path, Some(USER), Some(USER)).expect("given away"));
            // A link is put in place of the folder between the beginning and the end.
            let begin = |path: &str| files.begin(root_of(&place), Path::new(path), true);
            let file = begin("theirs/a/file").expect("begun");
            fs::rename(theirs.join("a"), theirs.join("b")).expect("moved");
            std::os::unix::fs::symlink(&ours, theirs.join("a")).expect("link");
            file.create().expect("created");
            assert_eq!((names_in(&theirs.join("b")), names_in(&ours)), (vec!["file".to_owned()], vec![]));
            // Nothing is written through it from then on.
            for path in ["theirs/a/file", "theirs/a/deep/file"] {
                let refused = begin(path).expect_err("a link");
                assert!(refused.to_string().contains("is a symbolic link"), "{refused}");
            }
            assert_eq!(names_in(&ours), Vec::<String>::new());
        }
    }

    #[test]
    fn a_file_without_a_name_is_nowhere_to_be_seen() {
        let folder = tempfile::tempdir().expect("temp folder");
        let files = NewFiles::new();
        let file = files.begin(root_of(&folder), Path::new("file"), false).expect("begun");
        if file.is_named {
            packhorse_testkit::skipped("this file system has no files without a name");
            return;
        }
        file.write(b"written").expect("written");
        assert_eq!(names_in(folder.path()), Vec::<String>::new());
    }
}
