//! A dump on its way to `psql`, without the few lines that would break the restore.
//!
//! Does not own: the transaction around it (`restore`). Two kinds of lines are left out. `pg_dump` wraps the contents
//! of large objects into a transaction of their own, whose `COMMIT` would make half a restore permanent. And it drops
//! and comments extensions, which only their owner may do; an extension of the database's administrator stays in the
//! target instead. Rows are never looked at: between a `COPY` line and its `\.` everything passes. Extensions are
//! looked for only before the first object, and `BEGIN` and `COMMIT` only under the heading of large objects.

use std::io::{self, BufRead, Read, Write};

/// Longer lines are not ours to judge; even a `COPY` of the most columns is shorter.
const LONGEST: u64 = 1 << 20;

/// Which side of a copy failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// The dump could not be read.
    Reading(io::Error),
    /// `psql` does not take more.
    Writing,
}

/// Copies the dump but for statements about these extensions and transactions of its own.
pub(super) fn copy(
    from: &mut impl BufRead,
    to: &mut impl Write,
    extensions: &[String],
) -> Result<(), Failed> {
    let mut place = Place::Preamble;
    let mut line = Vec::new();
    let mut starts = true;
    loop {
        line.clear();
        from.take(LONGEST).read_until(b'\n', &mut line).map_err(Failed::Reading)?;
        let ends = line.ends_with(b"\n");
        if line.is_empty() {
            return to.flush().map_err(|_| Failed::Writing);
        }
        if !(starts && ends) || place.passes(&line, extensions) {
            to.write_all(&line).map_err(|_| Failed::Writing)?;
        }
        starts = ends;
    }
}

/// Where in the dump a line stands.
#[derive(Clone, Copy)]
enum Place {
    /// Before the first object.
    Preamble,
    /// Among definitions.
    Definitions,
    /// Under the heading of large objects.
    LargeObjects,
    /// Between `COPY` and `\.`.
    Rows,
}

impl Place {
    /// Whether `psql` gets this line; moves on to the place of the next one.
    fn passes(&mut self, line: &[u8], extensions: &[String]) -> bool {
        match self {
            Self::Rows => {
                if line == b"\\.\n" {
                    *self = Self::Definitions;
                }
                return true;
            }
            Self::Preamble if extensions.iter().any(|extension| concerns(line, extension)) => return false,
            Self::LargeObjects if line == b"BEGIN;\n" || line == b"COMMIT;\n" => return false,
            _ => {}
        }
        if line.starts_with(b"COPY ") && line.ends_with(b" FROM stdin;\n") {
            *self = Self::Rows;
        } else if line.starts_with(b"-- Data for Name: ") && contains(line, b"; Type: BLOBS; ") {
            *self = Self::LargeObjects;
        } else if is_object(line) || (matches!(self, Self::LargeObjects) && is_heading(line)) {
            *self = Self::Definitions;
        }
        true
    }
}

fn is_heading(line: &[u8]) -> bool {
    line.starts_with(b"-- Name: ") || line.starts_with(b"-- Data for Name: ")
}

fn is_object(line: &[u8]) -> bool {
    line.starts_with(b"CREATE ")
        && !line.starts_with(b"CREATE SCHEMA ")
        && !line.starts_with(b"CREATE EXTENSION ")
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

fn concerns(line: &[u8], extension: &str) -> bool {
    let quoted = format!("\"{}\"", extension.replace('"', "\"\""));
    [extension, quoted.as_str()].iter().any(|name| {
        let comment = format!("COMMENT ON EXTENSION {name} IS '");
        line == format!("DROP EXTENSION IF EXISTS {name};\n").as_bytes()
            || line.starts_with(comment.as_bytes()) && line.ends_with(b"';\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "\
--
-- PostgreSQL database dump
--
DROP TABLE IF EXISTS public.a;
DROP EXTENSION IF EXISTS mine;
DROP EXTENSION IF EXISTS \"uuid-ossp\"; <-
CREATE SCHEMA s;
-- Name: uuid-ossp; Type: EXTENSION; Schema: -; Owner: -
CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA s;
COMMENT ON EXTENSION \"uuid-ossp\" IS 'it''s'; <-
-- Name: f; Type: FUNCTION; Schema: -; Owner: -
CREATE PROCEDURE f() AS $$
BEGIN;
COMMIT;
$$;
-- Data for Name: a; Type: TABLE DATA; Schema: public; Owner: postgres
COPY public.a (t) FROM stdin;
DROP EXTENSION IF EXISTS \"uuid-ossp\";
-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: -
BEGIN;
COMMIT;
\\.
BEGIN;
-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: -
BEGIN; <-
SELECT pg_catalog.lo_open('4242', 131072);
COMMIT; <-
-- Data for Name: 17..18; Type: BLOBS; Schema: -; Owner: -
BEGIN; <-
COMMIT; <-
-- Name: b; Type: INDEX; Schema: public; Owner: postgres
COMMIT;
-- PostgreSQL database dump complete
";

    #[test]
    fn only_the_marked_lines_are_left_out() {
        let dump = DUMP.replace(" <-", "");
        let mut copied = Vec::new();
        copy(&mut dump.as_bytes(), &mut copied, &["uuid-ossp".to_owned()]).expect("copied");
        let expected: Vec<&str> = DUMP.lines().filter(|line| !line.ends_with(" <-")).collect();
        assert_eq!(String::from_utf8(copied).expect("text").lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_line_longer_than_the_limit_passes_whole() {
        let long = "x".repeat(3 << 20);
        let dump = format!("COPY a (t) FROM stdin;\n{long}\n\\.\nend without a line's end");
        let mut copied = Vec::new();
        copy(&mut dump.as_bytes(), &mut copied, &[]).expect("copied");
        assert!(copied == dump.as_bytes());
    }
}
