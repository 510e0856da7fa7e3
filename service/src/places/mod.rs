//! Places that must not lie inside each other: the vault's folder, storages, directories, and where restores go.
//!
//! Does not own: what is done in them. Every step that writes, archives or replaces a whole folder asks here first, so
//! there is one decision: a backup of a folder that holds the vault doubles each night, and a restore that swaps a
//! folder deletes what else lies in it. An exclusion does not help, because an earlier backup may not have had it.
//!
//! Places are compared by where they lie on their file systems (`extent`), so neither a symbolic link nor a bind mount
//! hides that one is inside another, and by the identity of the folders above them, which shows a name that is spelt
//! in two ways. Both are looked up when they are asked for, never remembered: links and mounts change.

mod extent;
mod mounts;
mod resolve;
mod room;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use packhorse_model::{ErrorKind, Problem, StorageName, Subject};

pub use self::{
    extent::Extent,
    mounts::{Mounts, kernel},
    resolve::resolve,
    room::{Room, room},
};
use crate::config::{Config, VaultSection};

/// A folder and the key that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    key: String,
    path: PathBuf,
}

impl Place {
    /// The folder of a `file://` vault.
    pub fn vault(path: &Path) -> Self {
        Self { key: "[vault] url".to_owned(), path: path.to_owned() }
    }

    /// A storage.
    pub fn storage(name: &StorageName, path: &Path) -> Self {
        Self { key: format!("[[storage]] {name}"), path: path.to_owned() }
    }

    /// A directory.
    pub fn directory(name: &str, path: &Path) -> Self {
        Self { key: format!("[[directory]] {name}"), path: path.to_owned() }
    }

    /// The folder that a directory is restored into.
    pub fn target(name: &str, path: &Path) -> Self {
        Self { key: format!("--to-directory {name}"), path: path.to_owned() }
    }

    /// The places that a configuration names.
    pub fn of_config(config: &Config) -> Vec<Self> {
        let vault = config.vault.as_ref().and_then(VaultSection::folder);
        let vault = vault.iter().map(|folder| Self::vault(folder));
        let storages = config.storage.iter().map(|storage| Self::storage(&storage.name, &storage.path));
        let directories = config.directory.iter();
        let directories = directories.map(|directory| Self::directory(&directory.name, &directory.path));
        vault.chain(storages).chain(directories).collect()
    }

    /// The key that names it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its path, as it was configured.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it lies now.
    pub fn locate(&self) -> Result<Location, Problem> {
        Ok(self.locate_among(&Mounts::read()?))
    }

    fn locate_among(&self, mounts: &Mounts) -> Location {
        let path = resolve(&self.path);
        let identity = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
        Location {
            key: self.key.clone(),
            shown: self.path.display().to_string(),
            extents: mounts.extents_of(&path),
            itself: identity(&path),
            above: path.ancestors().skip(1).filter_map(identity).collect(),
        }
    }
}

/// Where a place lies at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    key: String,
    shown: String,
    /// Its own, then those of the file systems that are mounted below it.
    extents: Vec<Extent>,
    /// Device and inode, if it exists.
    itself: Option<(u64, u64)>,
    /// The same of the folders above it that exist.
    above: Vec<(u64, u64)>,
}

impl Location {
    /// What another process of this kernel says about a place of its own.
    pub fn told(key: String, shown: String, extents: Vec<Extent>) -> Self {
        Self { key, shown, extents, itself: None, above: Vec::new() }
    }

    /// Its folder on a file system, then those that are mounted below it.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The key that names it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its path, as it was configured.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    fn is(&self, other: &Self) -> bool {
        let same = |a: Option<&Extent>, b: Option<&Extent>| a.is_some() && a == b;
        same(self.extents.first(), other.extents.first())
            || self.itself.is_some() && self.itself == other.itself
    }

    fn lies_in(&self, other: &Self) -> bool {
        let own = self.extents.first();
        own.is_some_and(|own| other.extents.iter().any(|extent| own.lies_in(extent)))
            || other.itself.is_some_and(|other| self.above.contains(&other))
    }
}

/// Refuses places of which one is, or lies in, another. Blocking, for a bounded time.
pub fn check(places: &[Place]) -> Result<(), Problem> {
    check_locations(&locate(places)?)
}

/// Time for places to be looked up, all together.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where these places lie now. One on a disk that does not answer is left out: what is wrong with it shows when it is
/// used, and the others must not wait for it. Blocking, for a bounded time.
pub fn locate(places: &[Place]) -> Result<Vec<Location>, Problem> {
    let mounts = Arc::new(Mounts::read()?);
    let (out, found) = mpsc::channel();
    for (at, place) in places.iter().cloned().enumerate() {
        let (out, mounts) = (out.clone(), Arc::clone(&mounts));
        thread::spawn(move || out.send((at, place.locate_among(&mounts))));
    }
    drop(out);
    let (deadline, mut locations) = (Instant::now() + PATIENCE, BTreeMap::new());
    while let Ok((at, location)) = found.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        locations.insert(at, location);
    }
    let missing = places.iter().enumerate().filter(|(at, _)| !locations.contains_key(at));
    for (_, place) in missing {
        tracing::warn!(key = place.key, "not compared with other places: its disk does not answer");
    }
    Ok(locations.into_values().collect())
}

/// The same for places that were located before. Places of the same key are one: two processes may tell of it.
pub fn check_locations(locations: &[Location]) -> Result<(), Problem> {
    for (at, one) in locations.iter().enumerate() {
        for other in locations[at + 1..].iter().filter(|other| other.key != one.key) {
            if one.is(other) {
                return Err(nested(one, other, "is the same folder"));
            }
            if one.lies_in(other) {
                return Err(nested(other, one, "lies in it"));
            }
            if other.lies_in(one) {
                return Err(nested(one, other, "lies in it"));
            }
        }
    }
    Ok(())
}

/// The first of these places that is, or lies in, this folder. Blocking, for a bounded time.
pub fn first_within(folder: &Path, places: &[Place]) -> Result<Option<String>, Problem> {
    let folder = Place { key: String::new(), path: folder.to_owned() }.locate()?;
    let located = locate(places)?.into_iter();
    let mut within = located.filter(|place| place.is(&folder) || place.lies_in(&folder));
    Ok(within.next().map(|place| place.key))
}

fn nested(outer: &Location, inner: &Location, how: &str) -> Problem {
    Problem::new(ErrorKind::Invalid, Subject::Configuration, "check places")
        .on(format!("{} at {}", outer.key, outer.shown))
        .answered(format!("{} at {} {how}", inner.key, inner.shown))
        .leaving("nothing was begun")
        .next("give each a folder of its own, outside of all others; an exclusion is not enough")
}
