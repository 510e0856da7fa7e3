//! A repository's packs as they lie on the disk: entries, indices, bitmaps, and the loose objects beside them.
//!
//! Does not own: what is wanted from them (`backup::copy`). Files are opened once and stay open, so a repack beside us
//! cannot take them away, and are read with `read`, never mapped: a bad disk is an error here, not a signal. Formats:
//! git's gitformat-pack(5) and bitmap-format. Indices and bitmaps count only when their own checksums are right and name
//! the pack that they are used for; a pack's checksum is proven by whoever reads it as a whole ([`Feed`]).

mod bitmap;
mod cache;
mod decode;
mod delta;
mod deltify;
mod ewah;
mod feed;
mod hash;
mod index;
mod loose;
mod marks;
mod pack;
mod set;

pub use bitmap::Bitmap;
pub use decode::Decoder;
pub use delta::{apply_in_place, result_size};
pub use deltify::delta_of;
pub use feed::{Feed, FeedError};
pub use hash::PackHash;
pub use index::{IndexLine, index_size, write_index};
pub use loose::{LooseObject, is_whole, object_entry, packed_entry};
pub use marks::Marks;
pub use pack::{Pack, PackFile};
pub use set::{Location, PackFiles, PackSet};

/// Why a repository's objects cannot be used as they lie, in words for a log; git may still make sense of them.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unsuited(pub String);

impl Unsuited {
    fn at(path: &std::path::Path, finding: impl std::fmt::Display) -> Self {
        Self(format!("{}: {finding}", path.display()))
    }
}
