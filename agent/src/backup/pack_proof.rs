//! Proof that a repository's packs and loose objects are undamaged: a pack ends with the hash of all its bytes, and a loose
//! object has the name that its content gives it.
//!
//! Does not own: the bundle. Git copies packed objects into a new pack without looking at them, so a flipped bit would
//! travel into a full backup unseen, and it packs what it inflates from a loose object under whatever name that has. Hashing
//! them beside git costs little and finds it; an increment's pack is inflated as it passes (`bundle`).

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use packhorse_vault::{ObjectFormat, Oid};
use tokio_util::sync::CancellationToken;

use crate::{
    git::to_gix,
    packs::{PackHash, is_whole},
};

/// Bytes hashed between two looks at the cancel token.
const CHUNK: usize = 256 * 1024;

/// Checks every pack of the repository and of its alternates; the error names the damaged pack.
pub fn prove(dir: &Path, format: ObjectFormat, cancel: &CancellationToken) -> Result<(), String> {
    let mut proven = HashSet::new();
    // A repack beside us adds packs while we read: look again until there is nothing new.
    loop {
        let mut fresh = 0;
        for objects in object_folders(dir) {
            for path in packs(&objects) {
                if proven.contains(&path) {
                    continue;
                }
                match check(&path, format, cancel) {
                    Ok(true) => {}
                    Ok(false) => {
                        return Err(format!("pack {} is damaged: its checksum is wrong", path.display()));
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(format!("pack {}: {error}", path.display())),
                }
                proven.insert(path);
                fresh += 1;
            }
        }
        if fresh == 0 {
            return Ok(());
        }
    }
}

/// Checks every loose object of the repository and of its alternates; the error names one that is damaged.
pub fn prove_loose(dir: &Path, format: ObjectFormat, cancel: &CancellationToken) -> Result<(), String> {
    for objects in object_folders(dir) {
        let folders = fs::read_dir(&objects).into_iter().flatten().flatten();
        for folder in folders.filter(|folder| folder.file_name().len() == 2) {
            for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let name = [folder.file_name(), file.file_name()].map(OsString::into_encoded_bytes).concat();
                // Git's temporary files have other names.
                let Some(oid) = Oid::from_hex(&name) else { continue };
                if cancel.is_cancelled() {
                    return Err("asked to stop".into());
                }
                match is_whole(&file.path(), &to_gix(oid), format) {
                    Ok(true) => {}
                    Ok(false) => return Err(format!("loose object {oid} is damaged")),
                    // It was packed meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(format!("loose object {oid}: {error}")),
                }
            }
        }
    }
    Ok(())
}

/// The repository's object folder and those that it borrows from, as far as they exist.
pub fn object_folders(dir: &Path) -> Vec<PathBuf> {
    let mut folders = vec![dir.join("objects")];
    let mut at = 0;
    while at < folders.len() && at < 16 {
        let alternates = fs::read_to_string(folders[at].join("info/alternates")).unwrap_or_default();
        for line in alternates.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let folder = folders[at].join(line);
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        at += 1;
    }
    folders
}

/// Bytes of packs and loose objects, by which the size of a bundle is estimated.
pub fn size_on_disk(dir: &Path) -> u64 {
    let mut bytes = 0;
    for objects in object_folders(dir) {
        for path in packs(&objects) {
            bytes += fs::metadata(path).map_or(0, |meta| meta.len());
        }
        let fan_out = fs::read_dir(&objects).into_iter().flatten().flatten();
        for folder in fan_out.filter(|entry| entry.file_name().len() == 2) {
            let files = fs::read_dir(folder.path()).into_iter().flatten().flatten();
            bytes += files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum::<u64>();
        }
    }
    bytes
}

fn packs(objects: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(objects.join("pack")).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "pack")).collect()
}

fn check(path: &Path, format: ObjectFormat, cancel: &CancellationToken) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let Some(mut left) = file.metadata()?.len().checked_sub(format.len_in_bytes() as u64) else {
        return Ok(false);
    };
    let mut hash = PackHash::new(format);
    let mut buffer = vec![0; usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
    while left > 0 {
        if cancel.is_cancelled() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "asked to stop"));
        }
        let wanted = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let read = file.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hash.update(&buffer[..read]);
        left -= read as u64;
    }
    let mut stored = Vec::new();
    file.read_to_end(&mut stored)?;
    Ok(hash.finish() == stored)
}
