//! What is left out of a repository's backup because the repository is damaged, as manifests and catalogues say it.
//!
//! Does not own: finding damage (`agent`). It stands in the manifest, so that whoever adopts an unfinished run's work cannot
//! take the step for all of the repository, and in the catalogue, so that nobody has to read manifests to know. Both name
//! the manifest that lacks nothing, and every later backup carries that name on.

use packhorse_model::{Sha256Hex, encode_ref_name};
use serde::{Deserialize, Serialize};

use crate::{Fingerprint, Oid};

/// The damage of a repository at the time of its backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Fingerprint of the repository as it was seen, what is left out included.
    pub seen: Fingerprint,
    /// What the files of its objects looked like, when objects are missing or damaged; nothing is healed before they look
    /// different.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_files: Option<Sha256Hex>,
    /// How much is left out, also what is not listed.
    pub total: u64,
    /// The first of it.
    pub left_out: Vec<LeftOut>,
    /// The newest state of which nothing was left out; none when there has never been one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<LastGood>,
}

/// A ref, `HEAD`, `packed-refs` or `custom_hooks` that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name, with unusual bytes as `%XX`.
    pub name: String,
    /// What is wrong with it.
    pub finding: String,
    /// The object that is missing or damaged, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

/// A manifest of which nothing was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGood {
    /// Its key.
    pub manifest: String,
    /// Its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Hex>,
}

impl Damage {
    /// How much is listed at most.
    pub const MOST_LISTED: usize = 100;
}

impl LeftOut {
    /// Something that is left out, by its plain name.
    pub fn new(name: &[u8], finding: String, object: Option<Oid>) -> Self {
        Self { name: encode_ref_name(name), finding, object: object.map(|oid| oid.to_string()) }
    }
}
