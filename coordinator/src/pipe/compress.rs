//! From a child's output, compressed, into a new object of the vault: one streamed pass, nothing staged on disk.
//!
//! Does not own: the child, or whether its output is good. The writer comes back unfinished, and an object gets its
//! name only when [`finish`] is called; dropping it instead leaves nothing in the vault.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use flate2::{Compression, GzBuilder};
use packhorse_model::{ErrorKind, ObjectDigest, Problem, Subject};
use packhorse_vault::{ObjectWriter, VaultError};

/// Bytes read from the child at once.
const CHUNK: usize = 256 * 1024;

/// An object that is written but not yet named.
pub(crate) struct Compressed {
    writer: ObjectWriter,
    /// Bytes before compression.
    pub(crate) plain: u64,
}

/// Copies all of `source`, showing every chunk and the number of bytes so far to `inspect`. Blocking.
pub(crate) fn compress(
    mut source: File,
    writer: ObjectWriter,
    mut inspect: impl FnMut(&[u8], u64),
) -> Result<Compressed, Problem> {
    // The time in the header is left 0, so the same bytes give the same object.
    let mut gzip = GzBuilder::new().mtime(0).write(writer, Compression::fast());
    let mut chunk = vec![0; CHUNK];
    let mut plain = 0;
    loop {
        let length = match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(io_problem("read a program's output", &error)),
        };
        plain += length as u64;
        inspect(&chunk[..length], plain);
        gzip.write_all(&chunk[..length]).map_err(|error| io_problem("write object", &error))?;
    }
    let writer = gzip.finish().map_err(|error| io_problem("write object", &error))?;
    Ok(Compressed { writer, plain })
}

impl Compressed {
    /// Gives the object its name; durable when this returns. Blocking.
    pub(crate) fn finish(self) -> Result<ObjectDigest, Problem> {
        self.writer.finish().map_err(Problem::from)
    }
}

/// The problem that an I/O error stands for: the vault's own when it carries one.
pub(crate) fn io_problem(what: &str, error: &io::Error) -> Problem {
    match VaultError::of_io(error) {
        Some(vault) => vault.clone().into(),
        None => Problem::new(ErrorKind::Unavailable, Subject::Host, what).answered(error),
    }
}

/// The outcome of a blocking task; its panic is a defect, never a crash of the process.
pub(crate) fn joined<T>(task: Result<Result<T, Problem>, tokio::task::JoinError>) -> Result<T, Problem> {
    task.unwrap_or_else(|panic| {
        Err(Problem::new(ErrorKind::Internal, Subject::Host, "run a blocking task").answered(panic))
    })
}
