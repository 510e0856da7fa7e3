//! Copies of real repositories that the user has. The originals are only read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{Storage, cached};
use crate::{
    bench::Bench,
    programs::{checked, isolated},
};

/// Copies all bare repositories directly in these folders, or one level below, into one storage.
///
/// Its name comes from theirs and from their packs, so what was changed since is copied again.
pub fn real(bench: &Bench, dirs: &[PathBuf]) -> Result<Storage> {
    let mut found = Vec::new();
    for dir in dirs {
        found.extend(repositories(dir)?);
    }
    let names: Vec<String> = found.iter().enumerate().map(|(number, dir)| name(number, dir)).collect();
    let storage = cached(bench, &format!("real-{:016x}", key(&found)?), |target| {
        for (dir, name) in found.iter().zip(&names) {
            ensure!(!dir.join("objects/info/alternates").exists(), "{} borrows objects", dir.display());
            checked(isolated(Path::new("cp")).arg("-a").arg(dir).arg(target.join(name)))?;
        }
        Ok(())
    })?;
    Ok(Storage::of(storage, names))
}

/// Unlike that of any other, and ends with `.git`.
fn name(number: usize, dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    format!("{number:02}-{}.git", name.trim_end_matches(".git"))
}

/// FNV-1a of all paths and of the names of what lies beside their packs.
fn key(repositories: &[PathBuf]) -> Result<u64> {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let mut add = |path: &Path| {
        for byte in path.as_os_str().as_encoded_bytes() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
        }
    };
    for dir in repositories {
        let mut names = fs::read_dir(dir.join("objects/pack"))
            .and_then(|entries| {
                entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
            })
            .with_context(|| format!("read the packs of {}", dir.display()))?;
        names.sort();
        add(dir);
        names.iter().for_each(|name| add(name));
    }
    Ok(hash)
}

fn repositories(dir: &Path) -> Result<Vec<PathBuf>> {
    let dir = fs::canonicalize(dir).with_context(|| format!("open {}", dir.display()))?;
    let mut found = Vec::new();
    for entry in folders(&dir)? {
        if is_repository(&entry) {
            found.push(entry);
            continue;
        }
        found.extend(folders(&entry)?.into_iter().filter(|entry| is_repository(entry)));
    }
    ensure!(!found.is_empty(), "no bare repository in {}", dir.display());
    Ok(found)
}

fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

fn is_repository(dir: &Path) -> bool {
    dir.join("HEAD").is_file() && dir.join("objects").is_dir() && dir.join("refs").is_dir()
}
