//! One piece of a stream as a gzip member, compressed on a core of its own.
//!
//! Does not own: the order of members. A member follows from its piece and from nothing else, so a stream gives the same
//! bytes on one core and on many. libdeflate compresses whole pieces only, which these are, and so fast and so well as
//! zlib does not ([ADR 14](../../../docs/adr/0014-parallel-gzip.md)); it never sees a byte that came out of a vault.

use std::{
    sync::{Arc, LazyLock},
    thread::available_parallelism,
};

use libdeflater::{CompressionLvl, Compressor};
use packhorse_model::{ErrorKind, Problem, Subject};
use tokio::{runtime::Handle, sync::Semaphore, task::JoinHandle};

use super::room::Hold;

/// Plain bytes of a member; only the last of a stream has fewer.
pub(super) const PIECE: usize = 1 << 20;

/// The fastest level that compresses.
const LEVEL: i32 = 1;

/// A compressed piece, with the room that it takes.
pub(super) struct Member {
    pub(super) bytes: Vec<u8>,
    _hold: Hold,
}

/// Begins to compress a piece as soon as a core is free; all streams of the process share them. Blocking until then.
pub(super) fn begin(piece: Vec<u8>, mut hold: Hold, runtime: &Handle) -> JoinHandle<Result<Member, Problem>> {
    static CORES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        Arc::new(Semaphore::new(cores))
    });
    let core = runtime.block_on(Arc::clone(&CORES).acquire_owned());
    runtime.spawn_blocking(move || {
        let _core = core;
        let bytes = compress(&piece)?;
        drop(piece);
        hold.resize(bytes.len());
        Ok(Member { bytes, _hold: hold })
    })
}

/// The member of a piece; the time in its header is 0.
pub(super) fn compress(piece: &[u8]) -> Result<Vec<u8>, Problem> {
    let level = CompressionLvl::new(LEVEL).expect("a level of libdeflate");
    let mut compressor = Compressor::new(level);
    let mut bytes = vec![0; compressor.gzip_compress_bound(piece.len())];
    let length = compressor.gzip_compress(piece, &mut bytes).map_err(|error| {
        Problem::new(ErrorKind::Internal, Subject::Host, "compress").answered(format!("{error:?}"))
    })?;
    bytes.truncate(length);
    bytes.shrink_to_fit();
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn every_piece_is_a_whole_gzip_file_without_a_time() {
        let text: Vec<u8> = (0..PIECE).map(|n| b'a' + (n * n % 7) as u8).collect();
        for piece in [&text[..], &text[..1], &[]] {
            let member = compress(piece).expect("compressed");
            assert_eq!(member[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
            let mut plain = Vec::new();
            flate2::bufread::GzDecoder::new(&member[..]).read_to_end(&mut plain).expect("valid");
            assert!(plain == piece);
        }
        assert!(compress(&text).expect("compressed").len() < PIECE / 2);
    }
}
