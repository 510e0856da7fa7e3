//! The fingerprint of a repository's state: equal fingerprints mean that nothing has to be backed up.
//!
//! Does not own: what is read. Every field is length-prefixed before it is hashed, so two different states cannot
//! give the same bytes.

use std::{fmt, str::FromStr};

use packhorse_model::{InvalidInput, Sha256Hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Head, RefSnapshot};

/// `sha256:` and the digest of HEAD's target, the sorted refs, the symbolic refs and the hooks archive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(Sha256Hex);

impl Fingerprint {
    /// The fingerprint of a snapshot, and of the hooks archive when there is one.
    pub fn of(snapshot: &RefSnapshot, hooks: Option<&[u8]>) -> Self {
        let mut hash = Fields(Sha256::new());
        hash.field(b"packhorse fingerprint 1");
        hash.field(snapshot.object_format.as_str().as_bytes());
        hash.field(snapshot.ref_storage.as_str().as_bytes());
        match &snapshot.head {
            Head::Symbolic(target) => {
                hash.field(b"symbolic");
                hash.field(target);
            }
            Head::Detached(oid) => {
                hash.field(b"detached");
                hash.field(oid.as_bytes());
            }
        }
        hash.number(snapshot.refs.len());
        for (name, oid) in snapshot.refs.iter() {
            hash.field(name);
            hash.field(oid.as_bytes());
        }
        hash.number(snapshot.symrefs.len());
        for symref in &snapshot.symrefs {
            hash.field(&symref.name);
            hash.field(&symref.target);
        }
        match hooks {
            None => hash.number(0),
            Some(archive) => {
                hash.number(1);
                hash.field(&Sha256::digest(archive));
            }
        }
        hash.finish()
    }

    /// The fingerprint of this state together with the names of what could not be read; the same when that is nothing.
    pub fn with_left_out<'a>(&self, names: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        if names.len() == 0 {
            return self.clone();
        }
        let mut hash = Fields(Sha256::new());
        hash.field(b"packhorse fingerprint 1 and what is left out");
        hash.field(self.0.as_str().as_bytes());
        hash.number(names.len());
        names.for_each(|name| hash.field(name));
        hash.finish()
    }
}

struct Fields(Sha256);

impl Fields {
    fn number(&mut self, number: usize) {
        self.0.update((number as u64).to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.update(bytes);
    }

    fn finish(self) -> Fingerprint {
        Fingerprint(Sha256Hex::from_bytes(self.0.finalize().into()))
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidInput;
    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let digest = text
            .strip_prefix("sha256:")
            .ok_or_else(|| InvalidInput::new("fingerprint", text, "must start with sha256:"))?;
        digest.parse().map(Self)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = InvalidInput;
    fn try_from(text: String) -> Result<Self, InvalidInput> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ObjectFormat, Oid, RefList, RefStorage, Symref};

    #[test]
    fn every_part_of_the_state_counts() {
        let oid = |n| Oid::from_bytes(&[n; 20]).expect("20 bytes");
        let base = RefSnapshot {
            object_format: ObjectFormat::Sha1,
            ref_storage: RefStorage::Files,
            head: Head::Symbolic(b"refs/heads/main".to_vec()),
            refs: RefList::from_unsorted(vec![(b"refs/heads/main".to_vec(), oid(1))]),
            symrefs: vec![],
        };
        let mut seen = vec![Fingerprint::of(&base, None), Fingerprint::of(&base, Some(b""))];
        seen.push(Fingerprint::of(&base, Some(b"x")));
        let mut head = base.clone();
        head.head = Head::Detached(oid(1));
        seen.push(Fingerprint::of(&head, None));
        let mut moved = base.clone();
        moved.refs = RefList::from_unsorted(vec![(b"refs/heads/main".to_vec(), oid(2))]);
        seen.push(Fingerprint::of(&moved, None));
        let mut symbolic = base.clone();
        symbolic.symrefs.push(Symref { name: b"refs/x".to_vec(), target: b"refs/y".to_vec() });
        seen.push(Fingerprint::of(&symbolic, None));
        let mut storage = base.clone();
        storage.ref_storage = RefStorage::Reftable;
        seen.push(Fingerprint::of(&storage, None));
        let left_out = |names: &[&'static [u8]]| seen[0].with_left_out(names.iter().copied());
        assert_eq!(left_out(&[]), seen[0]);
        let more = [left_out(&[b"refs/a"]), left_out(&[b"refs/b"]), left_out(&[b"refs/a", b"refs/b"])];
        seen.extend(more);
        for (i, a) in seen.iter().enumerate() {
            assert!(seen[i + 1..].iter().all(|b| a != b));
            assert_eq!(a.to_string().parse::<Fingerprint>().as_ref(), Ok(a));
        }
    }
}
