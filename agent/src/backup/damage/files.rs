//! What the files of a repository's objects look like: while none of them changes, no object that was missing is there.
//!
//! Does not own: what is in them. Times of change are the kernel's and cannot be set, so a file that was put back with its
//! old time and size is noticed, too. It is asked for before a repository is examined, so what changes meanwhile counts.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};

use packhorse_model::Sha256Hex;
use sha2::{Digest as _, Sha256};

use crate::backup::pack_proof::object_folders;

/// A digest of names, sizes and times of change of all packs and loose objects. Blocking.
pub fn state_of_files(dir: &Path) -> Sha256Hex {
    let mut lines = Vec::new();
    for objects in object_folders(dir) {
        let is_of_objects = |name: &[u8]| name == b"pack" || name.len() == 2;
        let folders = fs::read_dir(&objects).into_iter().flatten().flatten();
        for folder in folders.filter(|folder| is_of_objects(folder.file_name().as_bytes())) {
            // What cannot be listed now is noticed when it can.
            let _ = add(&folder.path(), &mut lines);
        }
    }
    lines.sort_unstable();
    let mut hash = Sha256::new();
    for line in lines {
        hash.update((line.len() as u64).to_be_bytes());
        hash.update(line);
    }
    Sha256Hex::from_bytes(hash.finalize().into())
}

fn add(folder: &Path, lines: &mut Vec<Vec<u8>>) -> io::Result<()> {
    for file in fs::read_dir(folder)? {
        let file = file?;
        let mut line = file.path().into_os_string().into_encoded_bytes();
        if let Ok(meta) = file.metadata() {
            line.push(0);
            for number in [meta.ino(), meta.size(), meta.ctime() as u64, meta.ctime_nsec() as u64] {
                line.extend_from_slice(&number.to_be_bytes());
            }
        }
        lines.push(line);
    }
    Ok(())
}
