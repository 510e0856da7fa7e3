//! All failures of a piece of work, however many: the first ones in memory, the others in a file without a name.
//!
//! Does not own: who is told. Memory is bounded, and nothing is left when the process ends. A disk that takes no more costs
//! the names of what comes after, never their number.

use std::{fs::File, io, os::unix::fs::FileExt};

use packhorse_model::{ItemFailure, RunSummary};

/// Bytes that are read of the file at once; more than a failure has, or it is read alone.
const PIECE: usize = 256 << 10;

/// The failures, in the order in which they came.
#[derive(Default)]
pub(super) struct Ledger {
    first: Vec<ItemFailure>,
    more: Option<File>,
    /// Where the next one is written; all before it is whole.
    end: u64,
    total: u64,
    is_full: bool,
}

/// How far somebody has read.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    number: usize,
    offset: u64,
}

impl Ledger {
    /// Adds a failure.
    pub(super) fn push(&mut self, failure: ItemFailure) {
        self.total += 1;
        if self.first.len() < RunSummary::MAX_FAILURES {
            return self.first.push(failure);
        }
        if !self.is_full
            && let Err(error) = self.write(&failure)
        {
            tracing::warn!(%error, "no more failures are kept by name; they are counted");
            self.is_full = true;
        }
    }

    fn write(&mut self, failure: &ItemFailure) -> io::Result<()> {
        let mut line = serde_json::to_vec(failure)?;
        line.push(b'\n');
        let file = match self.more.take() {
            Some(file) => file,
            None => tempfile::tempfile()?,
        };
        let written = file.write_all_at(&line, self.end);
        self.more = Some(file);
        written?;
        self.end += line.len() as u64;
        Ok(())
    }

    /// How many there are, those that are not kept among them.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Some of those behind the mark, which moves on; none when all were read.
    pub(super) fn next(&self, mark: &mut Mark) -> Vec<ItemFailure> {
        if mark.number < self.first.len() {
            let failures = self.first[mark.number..].to_vec();
            mark.number = self.first.len();
            return failures;
        }
        let Some(file) = self.more.as_ref().filter(|_| mark.offset < self.end) else { return Vec::new() };
        read(file, mark, self.end).unwrap_or_else(|error| {
            tracing::warn!(%error, "failures that were kept cannot be read again");
            mark.offset = self.end;
            Vec::new()
        })
    }
}

fn read(file: &File, mark: &mut Mark, end: u64) -> io::Result<Vec<ItemFailure>> {
    let mut size = PIECE;
    loop {
        let left = usize::try_from(end - mark.offset).unwrap_or(usize::MAX).min(size);
        let mut piece = vec![0; left];
        file.read_exact_at(&mut piece, mark.offset)?;
        let Some(last) = piece.iter().rposition(|byte| *byte == b'\n') else {
            size *= 2;
            continue;
        };
        mark.offset += last as u64 + 1;
        let lines = piece[..last].split(|byte| *byte == b'\n');
        return lines.map(|line| serde_json::from_slice(line).map_err(io::Error::from)).collect();
    }
}
