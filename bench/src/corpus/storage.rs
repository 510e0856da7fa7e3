//! A folder of repositories, and other forms of it: without bitmaps, with them, or a copy that may be changed.
//!
//! Does not own: what is in the repositories. A form is made once, as everything in the work folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{cached, large, real};
use crate::{
    bench::Bench,
    loops::{JOBS, in_parallel},
    programs::{checked, isolated},
};

/// A storage and the repositories in it.
#[derive(Clone)]
pub struct Storage {
    /// Its folder.
    pub path: PathBuf,
    /// Folders of all repositories.
    pub repositories: Vec<PathBuf>,
}

impl Storage {
    /// The storage in a folder, with these repositories.
    pub fn of<T: AsRef<Path>>(path: PathBuf, names: impl IntoIterator<Item = T>) -> Self {
        let repositories = names.into_iter().map(|name| path.join(name)).collect();
        Self { path, repositories }
    }

    /// The same repositories without bitmaps.
    pub fn without_bitmaps(&self, bench: &Bench) -> Result<Self> {
        self.form(bench, "plain", |repository| {
            for path in packs_files(repository, "bitmap")? {
                fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            }
            Ok(())
        })
    }

    /// The same repositories with one pack and its bitmap each.
    pub fn with_bitmaps(&self, bench: &Bench) -> Result<Self> {
        self.form(bench, "bitmaps", |repository| {
            if packs_files(repository, "bitmap")?.is_empty() {
                bench.programs.git.run(repository, &["repack", "-a", "-d", "-b", "-q"])?;
            }
            Ok(())
        })
    }

    fn form(&self, bench: &Bench, word: &str, change: impl Fn(&Path) -> Result<()> + Sync) -> Result<Self> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = cached(bench, &format!("{name}-{word}"), |dir| {
            let copy = self.copied_to(dir)?;
            in_parallel(JOBS, &copy.repositories, |_, repository| change(repository))
        })?;
        Ok(self.moved_to(path))
    }

    /// A copy in an empty folder.
    pub fn copied_to(&self, target: &Path) -> Result<Self> {
        checked(isolated(Path::new("cp")).arg("-a").arg(self.path.join(".")).arg(target))?;
        Ok(self.moved_to(target.to_owned()))
    }

    /// All packs.
    pub fn packs(&self) -> Result<Vec<PathBuf>> {
        let mut packs = Vec::new();
        for repository in &self.repositories {
            packs.extend(packs_files(repository, "pack")?);
        }
        Ok(packs)
    }

    fn moved_to(&self, path: PathBuf) -> Self {
        let moved =
            |repository: &PathBuf| path.join(repository.strip_prefix(&self.path).unwrap_or(repository));
        let repositories = self.repositories.iter().map(moved).collect();
        Self { path, repositories }
    }
}

/// The files beside a repository's packs that have this extension.
fn packs_files(repository: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let folder = repository.join("objects/pack");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The large repositories that are measured.
pub struct Large {
    /// They.
    pub storage: Storage,
    /// What the table calls them.
    pub title: &'static str,
    /// Whether a made one stands in for real ones.
    pub stands_in: bool,
}

impl Large {
    /// The real ones, where the command line has some.
    pub fn choose(bench: &Bench) -> Result<Self> {
        if bench.real.is_empty() {
            return Ok(Self { storage: large(bench)?, title: "a large made repository", stands_in: true });
        }
        Ok(Self { storage: real(bench, &bench.real)?, title: "large real repositories", stands_in: false })
    }
}
