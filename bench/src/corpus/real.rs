//! Real repositories that the user has. They are only read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::Repository;

/// All bare repositories directly in a folder, or one level below.
pub fn real(dir: &Path) -> Result<Vec<Repository>> {
    let dir = fs::canonicalize(dir).with_context(|| format!("open {}", dir.display()))?;
    let mut found = Vec::new();
    for entry in folders(&dir)? {
        if is_repository(&entry) {
            found.push(repository(&dir, &entry)?);
            continue;
        }
        for entry in folders(&entry)?.into_iter().filter(|entry| is_repository(entry)) {
            found.push(repository(&dir, &entry)?);
        }
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

fn repository(root: &Path, dir: &Path) -> Result<Repository> {
    let storage = dir.parent().context("a repository has a parent folder")?.to_owned();
    let name = dir.file_name().and_then(|name| name.to_str()).context("the repository's name is UTF-8")?;
    let title = dir.strip_prefix(root).unwrap_or(dir).display().to_string();
    Ok(Repository { storage, name: name.to_owned(), title })
}
