//! A file that gets its name when it is whole, and that nothing is left of when its writer dies before.
//!
//! Does not own: when it is durable. Until then the file has no name at all (`O_TMPFILE`), so the kernel frees it with its
//! writer, however that ends: there is nothing to clean up, and nobody who could mistake another's file for a leftover.
//! Where a file system cannot do that, as network file systems cannot, the file has a temporary name beside its own, with a
//! `#` and digits, which listings pass over. That one stays behind when its writer is killed. No process removes another's:
//! which of them belong to the dead, nobody on one host can tell of a folder that others write to as well.

use std::{
    fs::{self, File, Metadata},
    io::{self, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, fchown, lchown},
    },
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use rustix::{
    fs::{AtFlags, CWD, OFlags, RenameFlags},
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
    target: PathBuf,
    /// A name beside the target: that of the file, where it must have one.
    beside: PathBuf,
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

    /// Begins a file that is to lie at `target`, with the folders above it; `durable` says whether those must be so at once.
    pub fn begin(&self, target: PathBuf, durable: bool) -> io::Result<NewFile> {
        match self.open(&target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folders(parent_of(&target)?, durable)?;
                self.open(&target)
            }
            opened => opened,
        }
    }

    fn open(&self, target: &Path) -> io::Result<NewFile> {
        let folder = parent_of(target)?;
        // What can be found out only in a folder that exists.
        let above = fs::symlink_metadata(folder)?;
        let is_named = !*self.nameless.get_or_init(|| can_be_nameless(folder, &self.beside(target)));
        let (target, beside) = (target.to_owned(), self.beside(target));
        let file = match is_named {
            true => File::options().read(true).write(true).create_new(true).open(&beside)?,
            false => open_nameless(folder)?,
        };
        if let Some((user, group)) = heirs(&above) {
            // Where that is not possible the file is as good, but for its owner.
            let _ = fchown(&file, Some(user), Some(group));
        }
        Ok(NewFile { file, target, beside, is_named })
    }

    fn beside(&self, target: &Path) -> PathBuf {
        let mut name = target.to_owned().into_os_string();
        // Digits only, and others than those of a process that died.
        name.push(format!("#{}{:08}", self.mark, self.names.fetch_add(1, SeqCst)));
        name.into()
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
        File::open(parent_of(&self.target)?)?.sync_all()
    }

    /// Gives it its name, which nothing may have.
    pub fn create(&self) -> io::Result<()> {
        if !self.is_named {
            return name(&self.file, &self.target);
        }
        match rustix::fs::renameat_with(CWD, &self.beside, CWD, &self.target, RenameFlags::NOREPLACE) {
            // Network file systems may not know this way; the other name goes with `drop`.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::hard_link(&self.beside, &self.target),
            renamed => Ok(renamed?),
        }
    }

    /// Gives it its name, whatever has it.
    pub fn replace(&mut self) -> io::Result<()> {
        if !self.is_named {
            name(&self.file, &self.beside)?;
            self.is_named = true;
        }
        fs::rename(&self.beside, &self.target)
    }
}

impl Drop for NewFile {
    /// A full disk must not be left fuller.
    fn drop(&mut self) {
        if self.is_named {
            let _ = fs::remove_file(&self.beside);
        }
    }
}

fn parent_of(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::other("it has no folder"))
}

fn open_nameless(folder: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::TMPFILE.bits()).map_err(io::Error::other)?;
    File::options().read(true).write(true).custom_flags(flags).open(folder)
}

fn name(file: &File, path: &Path) -> io::Result<()> {
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// Whether a file without a name can be made in a folder, and be named.
fn can_be_nameless(folder: &Path, name_of_trial: &Path) -> bool {
    let named = open_nameless(folder).and_then(|file| name(&file, name_of_trial));
    named.and_then(|()| fs::remove_file(name_of_trial)).is_ok()
}

/// Whose the new things in a folder are to be: root gives them to the owner of the folder, who could not read them otherwise.
fn heirs(above: &Metadata) -> Option<(u32, u32)> {
    let is_another = rustix::process::geteuid().is_root() && above.uid() != 0;
    is_another.then(|| (above.uid(), above.gid()))
}

/// Makes a folder, and those above it that are missing.
fn make_folders(folder: &Path, durable: bool) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(folder)?;
    for made in missing.iter().rev() {
        if let Some((user, group)) = heirs(&fs::symlink_metadata(parent_of(made)?)?) {
            let _ = lchown(made, Some(user), Some(group));
        }
    }
    if durable {
        for made in missing {
            File::open(parent_of(made)?)?.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
                let file = files.begin(target.clone(), true).expect("begun");
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
            let file = files.begin(target.clone(), true).expect("begun");
            file.create().expect("created");
            for path in target.ancestors().take(4) {
                let meta = fs::symlink_metadata(path).expect("there");
                assert_eq!((meta.uid(), meta.gid()), (USER, USER), "{}", path.display());
            }
        }
    }

    #[test]
    fn a_file_without_a_name_is_nowhere_to_be_seen() {
        let folder = tempfile::tempdir().expect("temp folder");
        let files = NewFiles::new();
        let file = files.begin(folder.path().join("file"), false).expect("begun");
        if file.is_named {
            packhorse_testkit::skipped("this file system has no files without a name");
            return;
        }
        file.write(b"written").expect("written");
        assert_eq!(names_in(folder.path()), Vec::<String>::new());
    }
}
