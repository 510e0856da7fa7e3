//! A compressed object, downloaded and inflated ahead of its reader on a thread of its own.
//!
//! Does not own: what the bytes mean (`decompress`). So `psql` and the file system never wait for inflating or for a
//! store's answer, but when the store is the slower one. Few pieces are ahead. The end is told only after the object was
//! read to its end, with which its reader has proven the digest; a thread that ends in any other way tells no end.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use packhorse_vault::ObjectReader;
use tokio::{sync::mpsc, task::spawn_blocking};

/// Plain bytes of a piece.
const PIECE: usize = 1 << 20;
/// Pieces that wait for the reader.
const WAITING: usize = 4;

/// Plain bytes in order; an empty piece is the proven end.
pub(super) type Pieces = mpsc::Receiver<io::Result<Bytes>>;

/// Starts the thread, which ends when the object does or the receiver is dropped.
pub(super) fn inflate(object: ObjectReader) -> Pieces {
    let (sender, pieces) = mpsc::channel(WAITING);
    spawn_blocking(move || {
        let mut gzip = MultiGzDecoder::new(object);
        loop {
            let piece = next(&mut gzip);
            let is_last = !matches!(&piece, Ok(piece) if !piece.is_empty());
            if sender.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    });
    pieces
}

fn next(gzip: &mut MultiGzDecoder<ObjectReader>) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(PIECE);
    gzip.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
    if piece.is_empty() {
        gzip.get_mut().drain()?;
    }
    Ok(piece.into())
}
