//! What a folder holds before it is archived: about how many bytes, and how many files.
//!
//! Does not own: the archive. The bytes choose the size of the parts that are uploaded; the files are compared with those
//! that the archive came to hold, so that a part of the folder that goes away while it is read is missed, however tar
//! words it. What cannot be read is tar's to report, and is not counted.

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::FileTypeExt, fs::MetadataExt},
    path::Path,
};

use packhorse_vault::PartSize;

use super::{exclude::Exclusions, kept::WORKING};

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// At most so many bytes will the archive have, about.
    pub(super) bytes: u64,
    /// Files, links, pipes and devices that an archive of the folder holds.
    pub(super) files: u64,
}

impl Survey {
    /// Walks the folder. Sizes are looked up only where the file system holds so much that they matter.
    pub(super) fn of(folder: &Path, exclude: &[String]) -> std::io::Result<Self> {
        fs::read_dir(folder)?;
        let disk = rustix::fs::statvfs(folder)?;
        let used = disk.f_blocks.saturating_sub(disk.f_bfree).saturating_mul(disk.f_frsize);
        let sized = PartSize::for_expected(used) != PartSize::SMALLEST;
        let mut survey = Self::default();
        survey.walk(folder, &Exclusions::new(exclude), sized);
        Ok(if sized { survey } else { Self { bytes: used, ..survey } })
    }

    fn walk(&mut self, root: &Path, exclusions: &Exclusions, sized: bool) {
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name());
                let below = path.strip_prefix(root).unwrap_or(&path);
                let is_working = folder == root && name.as_bytes().starts_with(WORKING);
                let Ok(kind) = entry.file_type() else { continue };
                if is_working || kind.is_socket() || exclusions.leave_out(below.as_os_str().as_bytes()) {
                    continue;
                }
                let size = |entry: &fs::DirEntry| entry.metadata().map_or(0, |found| found.blocks() * 512);
                self.bytes = self.bytes.saturating_add(2048 + if sized { size(&entry) } else { 0 });
                match kind.is_dir() {
                    true => folders.push(path),
                    false => self.files += 1,
                }
            }
        }
    }
}
