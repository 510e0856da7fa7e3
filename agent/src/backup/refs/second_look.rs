//! A second look at the names below `refs/`, after all refs were read.
//!
//! Does not own: reading them. No file is opened, so that the look is short, and it counts only when no folder changed while
//! it took: then the names are those of one moment. A folder that cannot be listed was named by whoever read the refs. Where
//! every folder has stood still for longer than clocks of file systems are coarse, the names are those of one moment anyway,
//! and nobody has to look again.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A folder, and when it was changed last.
type Folder = (PathBuf, [i64; 4]);

/// A change that is older than this shows in the time of its folder when another one follows.
const COARSE: Duration = Duration::from_secs(2);

/// The folders that were listed, each as it was before.
pub struct Listed {
    begun: SystemTime,
    folders: Vec<Folder>,
    is_sure: bool,
}

impl Listed {
    /// None yet.
    pub fn new() -> Self {
        Self { begun: SystemTime::now(), folders: Vec::new(), is_sure: true }
    }

    /// Notes a folder that is about to be listed.
    pub fn note(&mut self, folder: &Path) {
        match changed_at(folder) {
            Ok(changed) => self.folders.push((folder.to_owned(), changed)),
            Err(_) => self.is_sure = false,
        }
    }

    /// Whether none of them was changed since, which only those can tell that were quiet before.
    pub fn stood_still(&self) -> bool {
        let since = self.begun.checked_sub(COARSE).and_then(|since| since.duration_since(UNIX_EPOCH).ok());
        let Some(since) = since.and_then(|since| i64::try_from(since.as_secs()).ok()) else { return false };
        let is_quiet = |changed: &[i64; 4]| changed[0] < since && changed[2] < since;
        self.is_sure
            && self
                .folders
                .iter()
                .all(|(folder, changed)| is_quiet(changed) && changed_at(folder).ok() == Some(*changed))
    }
}

/// Whether nothing changes, and no name is one that is looked for.
pub fn finds_none(dir: &Path, is_looked_for: impl Fn(&[u8]) -> bool) -> bool {
    let mut folders = Vec::new();
    match look(&dir.join("refs"), &mut b"refs".to_vec(), &mut folders, &is_looked_for) {
        Ok(finds) => {
            !finds && folders.iter().all(|(folder, changed)| changed_at(folder).ok() == Some(*changed))
        }
        Err(_) => false,
    }
}

fn changed_at(folder: &Path) -> io::Result<[i64; 4]> {
    let meta = fs::symlink_metadata(folder)?;
    Ok([meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()])
}

fn look(
    folder: &Path,
    name: &mut Vec<u8>,
    folders: &mut Vec<Folder>,
    is_looked_for: &impl Fn(&[u8]) -> bool,
) -> io::Result<bool> {
    folders.push((folder.to_owned(), changed_at(folder)?));
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let file_name = entry.file_name();
        if super::is_passed_over(file_name.as_bytes()) {
            continue;
        }
        let parent = name.len();
        name.push(b'/');
        name.extend_from_slice(file_name.as_bytes());
        let finds = match entry.file_type()?.is_dir() {
            true => look(&entry.path(), name, folders, is_looked_for)?,
            false => is_looked_for(name),
        };
        name.truncate(parent);
        if finds {
            return Ok(true);
        }
    }
    Ok(false)
}
