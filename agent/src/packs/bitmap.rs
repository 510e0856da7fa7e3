//! A pack's reachability bitmap: for chosen commits, which of the pack's entries they reach.
//!
//! Does not own: following history to a commit that has one. Git writes a bitmap only when everything that the chosen
//! commits reach is in the pack, so what it says is nearly a proof that nothing is missing there: only history that was
//! cut off then, in a shallow clone that is whole now, is unknown to it, which `backup::copy` looks after. Format: git's
//! bitmap-format, version 1; options that would change the entries are refused.

use std::path::Path;

use packhorse_vault::ObjectFormat;

use super::{PackHash, ewah::Ewah};

/// Every commit's bitmap is complete: required.
const FULL_DAG: u16 = 0x1;
/// A cache of name hashes, and a table of commits, follow the entries: neither is needed.
const HARMLESS: u16 = 0x4 | 0x10;

/// An open bitmap file.
pub struct Bitmap {
    bytes: Vec<u8>,
    /// Where the bits of the entries that are commits start.
    commits: usize,
    entries: Vec<Entry>,
    /// Numbers in `entries`, by commit.
    by_commit: Vec<u32>,
}

struct Entry {
    /// The commit's place in the pack's index.
    commit: u32,
    /// How many entries back the one lies that this one is a difference to; 0 for none.
    back: u8,
    /// Where its bits start in the file.
    start: usize,
}

impl Bitmap {
    /// Reads a bitmap's bytes; none when it is damaged, of an unknown kind, or that of another pack.
    pub fn parse(bytes: Vec<u8>, pack: &[u8], format: ObjectFormat) -> Option<Self> {
        if !PackHash::ends(format, &bytes) {
            return None;
        }
        let body = &bytes[..bytes.len() - format.len_in_bytes()];
        let rest = body.strip_prefix(b"BITM\0\x01")?;
        let (options, rest) = rest.split_first_chunk::<2>()?;
        let options = u16::from_be_bytes(*options);
        if options & FULL_DAG == 0 || options & !(FULL_DAG | HARMLESS) != 0 {
            return None;
        }
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let mut rest = rest.strip_prefix(pack)?;
        let commits = body.len() - rest.len();
        for _kind in ["commits", "trees", "blobs", "tags"] {
            rest = Ewah::split(rest)?.1;
        }
        let mut entries = Vec::new();
        for number in 0..u32::from_be_bytes(*count) {
            let (commit, after) = rest.split_first_chunk::<4>()?;
            let ([back, _flags], after) = after.split_first_chunk::<2>()?;
            let entry =
                Entry { commit: u32::from_be_bytes(*commit), back: *back, start: body.len() - after.len() };
            rest = Ewah::split(after)?.1;
            if u32::from(entry.back) > number {
                return None;
            }
            entries.push(entry);
        }
        let mut by_commit: Vec<u32> = (0..entries.len() as u32).collect();
        by_commit.sort_unstable_by_key(|&number| entries[number as usize].commit);
        Some(Self { bytes, commits, entries, by_commit })
    }

    /// Opens the bitmap beside a pack.
    pub fn read(path: &Path, pack: &[u8], format: ObjectFormat) -> Option<Self> {
        Self::parse(std::fs::read(path).ok()?, pack, format)
    }

    /// The number of the commit's entry; the commit is given by its place in the index.
    pub fn entry_of(&self, commit: u32) -> Option<u32> {
        let found =
            self.by_commit.binary_search_by_key(&commit, |&number| self.entries[number as usize].commit);
        found.ok().map(|at| self.by_commit[at])
    }

    /// Fills `out` with the pack's commits; none when the bitmap does not fit the pack.
    pub fn commits(&self, out: &mut [u64]) -> Option<()> {
        out.fill(0);
        Ewah::split(&self.bytes[self.commits..])?.0.flip(out)
    }

    /// Fills `out` with what an entry's commit reaches; none when the bitmap does not fit the pack.
    pub fn expand(&self, entry: u32, out: &mut [u64]) -> Option<()> {
        out.fill(0);
        let mut at = entry as usize;
        loop {
            // Differences add up: the order of flips does not matter.
            let Entry { back, start, .. } = self.entries[at];
            Ewah::split(&self.bytes[start..])?.0.flip(out)?;
            if back == 0 {
                return Some(());
            }
            at -= usize::from(back);
        }
    }
}
