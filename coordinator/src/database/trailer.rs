//! Whether a plain dump is whole: `pg_dump` writes a fixed line when it is done.
//!
//! Does not own: the bytes before it. Exit status 0 alone is not trusted, because a wrapper or a full pipe can hide a
//! dump that ended early. Newer versions write an `\unrestrict` command after the line; nothing else may follow it.

const LINE: &[u8] = b"\n-- PostgreSQL database dump complete\n";
/// Bytes of the end that are looked at.
const KEPT: usize = 4096;

/// The end of a dump, as far as it was seen.
#[derive(Default)]
pub(super) struct Trailer(Vec<u8>);

impl Trailer {
    /// Takes the next bytes of the dump.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let excess = (self.0.len() + bytes.len()).saturating_sub(KEPT);
        self.0.drain(..excess);
        self.0.extend_from_slice(bytes);
    }

    /// Whether the dump ended as a whole one does.
    pub(super) fn is_complete(&self) -> bool {
        let found = self.0.windows(LINE.len()).rposition(|window| window == LINE);
        let Some(start) = found else { return false };
        let rest = &self.0[start + LINE.len()..];
        let harmless =
            |line: &[u8]| line.is_empty() || line.starts_with(b"--") || line.starts_with(b"\\unrestrict ");
        rest.split(|byte| *byte == b'\n').all(harmless)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(text: &str, chunk: usize) -> bool {
        let mut trailer = Trailer::default();
        text.as_bytes().chunks(chunk).for_each(|bytes| trailer.push(bytes));
        trailer.is_complete()
    }

    #[test]
    fn only_the_whole_line_at_the_end_counts() {
        let long = "x".repeat(10_000);
        let end = "\n--\n-- PostgreSQL database dump complete\n--\n\n";
        for chunk in [1, 7, 100_000] {
            assert!(complete(&format!("{long}{end}"), chunk));
            assert!(complete(&format!("{long}{end}\\unrestrict a1B2\n\n"), chunk));
            assert!(!complete(&format!("{long}{end}SELECT 1;\n"), chunk));
            assert!(!complete(&long, chunk));
            assert!(!complete(&format!("{long}\n-- PostgreSQL database dump comp"), chunk));
            assert!(!complete("", chunk));
        }
    }
}
