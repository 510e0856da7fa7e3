//! Whether objects that something new is to build on are still there.
//!
//! Does not own: what is in them, which only reading proves. A chain of many steps is asked for by a listing of the folder
//! that its objects share, from the first of them on: one request instead of two for each step, night after night. A few
//! objects are asked for one by one, and so are files, whose sizes cost nothing, and what a listing does not show: stores
//! may order names in their own way. A listing comes from the store's index of names: an object that is lost behind it is
//! noticed by whoever reads it.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packhorse_model::{ErrorKind, ObjectDigest};

use crate::{ObjectKey, Vault, VaultError};

/// Objects up to which each is asked for: stores take as much for a listing as for about a dozen of these questions.
const FEW: usize = 8;
/// Questions at once.
const PARALLEL: usize = 16;

impl Vault {
    /// Fails unless every object exists with its size.
    pub async fn check_present(&self, objects: &[ObjectDigest]) -> Result<(), VaultError> {
        match shared_folder(objects) {
            Some((folder, first)) if objects.len() > FEW && self.local_folder().is_none() => {
                self.check_listed(objects, &folder, &first).await
            }
            _ => self.check_each(objects).await,
        }
    }

    async fn check_one(&self, object: &ObjectDigest) -> Result<(), VaultError> {
        let key = ObjectKey::from_stored(&object.path)?;
        compare(object, self.head(&key).await?)
    }

    async fn check_listed(
        &self,
        objects: &[ObjectDigest],
        folder: &ObjectKey,
        first: &ObjectKey,
    ) -> Result<(), VaultError> {
        let mut missing: HashMap<_, _> = HashMap::with_capacity(objects.len());
        for object in objects {
            missing.insert(self.path(&ObjectKey::from_stored(&object.path)?), object);
        }
        let mut listing = self.list_after(folder, first);
        while !missing.is_empty() {
            match listing.try_next().await {
                Ok(Some((path, size))) => {
                    if let Some(object) = missing.remove(&path) {
                        compare(object, Some(size))?;
                    }
                }
                Ok(None) => break,
                Err(error) => return Err(error),
            }
        }
        let mut missing: Vec<_> = missing.into_values().collect();
        missing.sort_unstable_by_key(|object| &object.path);
        self.check_each(missing).await
    }

    async fn check_each(&self, objects: impl IntoIterator<Item = &ObjectDigest>) -> Result<(), VaultError> {
        let checks: Vec<_> = objects.into_iter().map(|object| self.check_one(object)).collect();
        stream::iter(checks).buffer_unordered(PARALLEL).try_collect::<()>().await
    }
}

fn compare(object: &ObjectDigest, size: Option<u64>) -> Result<(), VaultError> {
    match size {
        Some(size) if size == object.size => Ok(()),
        Some(size) => {
            let finding = format!("has {size} bytes, must have {}", object.size);
            Err(VaultError::corrupt("check object", &object.path, finding))
        }
        None => Err(VaultError::new(ErrorKind::NotFound, "check object", &object.path, "is missing")),
    }
}

/// The folder that all of these lie in, at any depth, and the one right around the first of them.
fn shared_folder(objects: &[ObjectDigest]) -> Option<(ObjectKey, ObjectKey)> {
    let first = objects.iter().map(|object| object.path.as_str()).min()?;
    let last = objects.iter().map(|object| object.path.as_str()).max()?;
    // What the first and the last by name begin with, all between them begin with.
    let shared = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
    let parent = |path: &str, end: usize| {
        let at = path.as_bytes()[..end].iter().rposition(|byte| *byte == b'/')?;
        ObjectKey::from_stored(&path[..at]).ok()
    };
    Some((parent(first, shared)?, parent(first, first.len())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(objects: &[ObjectDigest]) -> Option<(String, String)> {
        shared_folder(objects).map(|(folder, first)| (folder.to_string(), first.to_string()))
    }

    fn digests(paths: &[&str]) -> Vec<ObjectDigest> {
        let key = |path: &str| ObjectKey::from_stored(path).expect("plain key");
        paths.iter().map(|path| crate::digest_of(&key(path), b"x")).collect()
    }

    #[test]
    fn the_shared_folder_is_a_whole_one() {
        let found = |list: &[&str]| paths(&digests(list));
        let is = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(found(&["s/r.git/B/002.refs", "s/r.git/A/001.refs"]), is("s/r.git", "s/r.git/A"));
        assert_eq!(found(&["s/r.git/A/001.refs", "s/r.git/A/002.refs"]), is("s/r.git/A", "s/r.git/A"));
        assert_eq!(found(&["s/r.git/10/1", "s/r.git/1/2"]), is("s/r.git", "s/r.git/1"));
        assert_eq!(found(&["a", "b"]), None);
        assert_eq!(found(&[]), None);
    }
}
