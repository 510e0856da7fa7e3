//! The hash over a pack, an index or a bitmap: that of the repository's object format.
//!
//! Does not own: object ids that others chose to trust. Plain SHA-1 without collision detection, because here it only
//! tells damage from what git wrote, and it is several times faster.

use packhorse_vault::ObjectFormat;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// A hash under way.
#[derive(Clone)]
pub enum PackHash {
    /// 20 bytes.
    Sha1(Sha1),
    /// 32 bytes.
    Sha256(Sha256),
}

impl PackHash {
    /// A new hash.
    pub fn new(format: ObjectFormat) -> Self {
        match format {
            ObjectFormat::Sha1 => Self::Sha1(Sha1::new()),
            ObjectFormat::Sha256 => Self::Sha256(Sha256::new()),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
        }
    }

    /// The hash of everything.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha1(hash) => hash.finalize().to_vec(),
            Self::Sha256(hash) => hash.finalize().to_vec(),
        }
    }

    /// Whether a file's last bytes are the hash of all that comes before them.
    pub fn ends(format: ObjectFormat, bytes: &[u8]) -> bool {
        let Some(body) = bytes.len().checked_sub(format.len_in_bytes()) else { return false };
        let mut hash = Self::new(format);
        hash.update(&bytes[..body]);
        hash.finish() == bytes[body..]
    }
}
