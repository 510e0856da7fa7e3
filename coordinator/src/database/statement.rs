//! A dump, statement by statement, cut where `psql` would cut it.
//!
//! Does not own: what becomes of a statement (`replay`). It follows the rules of `psql`'s own scanner for quotes, comments,
//! parentheses and bodies of functions, so the two agree on where a statement ends. Rows are never looked at: between a
//! `COPY` and its `\.` everything passes. A command of `psql`, which could reach a shell, stands in no dump but for
//! `\restrict`, which is left out: any other one ends the restore before it is sent.

use std::io::{self, BufRead, Read, Write};

/// The server takes no longer statement.
const LONGEST: u64 = 1 << 30;
/// Rows are passed on in pieces of at most this.
const PIECE: u64 = 1 << 20;

/// Why a dump goes no further.
#[derive(Debug)]
pub(super) enum Stop {
    /// It cannot be read.
    Reading(io::Error),
    /// It is not what `pg_dump` writes.
    Wrong(&'static str),
    /// `psql` does not take more.
    Writing,
}

/// A statement with its semicolon.
#[derive(Debug)]
pub(super) struct Statement {
    /// The statement as it stands in the dump.
    pub(super) text: Vec<u8>,
    /// What the heading above it says it is about; empty before the first heading.
    pub(super) heading: String,
    /// Rows follow, which have to be taken before the next statement.
    pub(super) has_rows: bool,
}

impl Statement {
    /// Whether it begins with these words.
    pub(super) fn begins(&self, words: &str) -> bool {
        self.text.starts_with(words.as_bytes())
    }

    /// Whether it is exactly these words.
    pub(super) fn is(&self, words: &str) -> bool {
        self.text == words.as_bytes()
    }
}

/// A dump that is read.
pub(super) struct Statements<R> {
    from: R,
    line: Vec<u8>,
    at: usize,
    heading: String,
    plain_escapes: bool,
}

impl<R: BufRead> Statements<R> {
    /// Begins with the first line.
    pub(super) fn new(from: R) -> Self {
        Self { from, line: Vec::new(), at: 0, heading: String::new(), plain_escapes: false }
    }

    /// The reader, once all is read.
    pub(super) fn into_inner(self) -> R {
        self.from
    }

    /// The next statement; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Statement>, Stop> {
        if !self.find_begin()? {
            return Ok(None);
        }
        let mut scanner = Scanner::new(self.plain_escapes);
        let mut text = Vec::new();
        loop {
            let rest = &self.line[self.at..];
            let end = scanner.scan(rest)?;
            text.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            self.at += end.unwrap_or(rest.len());
            if end.is_some() {
                break;
            }
            if text.len() as u64 > LONGEST || !self.read_line()? {
                return Err(Stop::Wrong("is no whole dump: it ends in the middle of a statement"));
            }
        }
        match text.as_slice() {
            b"SET standard_conforming_strings = off;" => self.plain_escapes = true,
            b"SET standard_conforming_strings = on;" => self.plain_escapes = false,
            _ => {}
        }
        let has_rows = scanner.first_word == b"copy";
        if has_rows && !(text.ends_with(b" FROM stdin;") && self.line[self.at..] == *b"\n") {
            return Err(Stop::Wrong("holds a COPY that pg_dump does not write"));
        }
        if has_rows {
            self.at = self.line.len();
        }
        Ok(Some(Statement { text, heading: self.heading.clone(), has_rows }))
    }

    /// Passes on the rows after a `COPY`, with the line that ends them; how many there were.
    pub(super) fn take_rows(&mut self, to: &mut impl Write) -> Result<u64, Stop> {
        let mut starts = true;
        let mut rows = 0;
        loop {
            self.line.clear();
            self.at = 0;
            let read = (&mut self.from).take(PIECE).read_until(b'\n', &mut self.line);
            if read.map_err(Stop::Reading)? == 0 {
                return Err(Stop::Wrong("is no whole dump: it ends in the middle of rows"));
            }
            to.write_all(&self.line).map_err(|_| Stop::Writing)?;
            if starts && self.line == b"\\.\n" {
                self.line.clear();
                return Ok(rows);
            }
            starts = self.line.ends_with(b"\n");
            rows += u64::from(starts);
        }
    }

    /// Goes on to where a statement begins; false at the end of the dump.
    fn find_begin(&mut self) -> Result<bool, Stop> {
        loop {
            while self.line.get(self.at).is_some_and(u8::is_ascii_whitespace) {
                self.at += 1;
            }
            let rest = &self.line[self.at..];
            if rest.starts_with(b"--") {
                if let Some(heading) = heading(rest) {
                    self.heading = heading;
                }
            } else if !rest.is_empty() && !is_restriction(rest) {
                return Ok(true);
            }
            if !self.read_line()? {
                return Ok(false);
            }
        }
    }

    fn read_line(&mut self) -> Result<bool, Stop> {
        self.line.clear();
        self.at = 0;
        let read = (&mut self.from).take(LONGEST).read_until(b'\n', &mut self.line);
        Ok(read.map_err(Stop::Reading)? > 0)
    }
}

/// `TABLE public.t` of `-- Name: t; Type: TABLE; Schema: public; Owner: -`; pg_dump keeps it on one line.
fn heading(line: &[u8]) -> Option<String> {
    let line = String::from_utf8_lossy(line);
    let rest = line.strip_prefix("-- Name: ").or_else(|| line.strip_prefix("-- Data for Name: "))?;
    let (name, rest) = rest.split_once("; Type: ")?;
    let (kind, rest) = rest.split_once("; Schema: ")?;
    Some(match rest.split_once(';').map_or(rest, |(schema, _)| schema).trim() {
        "-" | "" => format!("{kind} {name}"),
        schema => format!("{kind} {schema}.{name}"),
    })
}

fn is_restriction(line: &[u8]) -> bool {
    line.strip_prefix(b"\\un").or_else(|| line.strip_prefix(b"\\")).is_some_and(|rest| {
        let key = rest.strip_prefix(b"restrict ").map(<[u8]>::trim_ascii);
        key.is_some_and(|key| !key.is_empty() && key.iter().all(u8::is_ascii_alphanumeric))
    })
}

/// Where in a statement a byte stands.
enum Place {
    Plain,
    Quoted { escapes: bool },
    Name,
    Dollar(Vec<u8>),
    Comment(u32),
}

/// `psql`'s scanner, as far as it decides where a statement ends.
struct Scanner {
    place: Place,
    plain_escapes: bool,
    parentheses: u32,
    words: usize,
    /// The first letters of the first words, where they may begin a function.
    begins: [u8; 4],
    bodies: u32,
    first_word: Vec<u8>,
}

impl Scanner {
    fn new(plain_escapes: bool) -> Self {
        let place = Place::Plain;
        Self { place, plain_escapes, parentheses: 0, words: 0, begins: [0; 4], bodies: 0, first_word: vec![] }
    }

    /// Scans a line, or the rest of one; where the statement ends in it, if it does.
    fn scan(&mut self, line: &[u8]) -> Result<Option<usize>, Stop> {
        let mut at = 0;
        while at < line.len() {
            at = match &mut self.place {
                Place::Plain if line[at] == b';' && self.parentheses == 0 && self.bodies == 0 => {
                    return Ok(Some(at + 1));
                }
                Place::Plain => self.plain(line, at)?,
                Place::Quoted { escapes: true } if line[at] == b'\\' => at + 2,
                Place::Quoted { .. } => self.until(line, at, b'\''),
                Place::Name => self.until(line, at, b'"'),
                Place::Dollar(tag) => match find(&line[at..], tag) {
                    Some(found) => {
                        let end = at + found + tag.len();
                        self.place = Place::Plain;
                        end
                    }
                    None => line.len(),
                },
                Place::Comment(_) => self.comment(line, at),
            };
        }
        Ok(None)
    }

    /// A byte inside quotes, which end with this one unless it is doubled.
    fn until(&mut self, line: &[u8], at: usize, quote: u8) -> usize {
        if line[at] != quote {
            return at + 1;
        }
        if line.get(at + 1) == Some(&quote) {
            return at + 2;
        }
        self.place = Place::Plain;
        at + 1
    }

    fn comment(&mut self, line: &[u8], at: usize) -> usize {
        let Place::Comment(depth) = &mut self.place else { return at };
        match line.get(at..at + 2) {
            Some(b"/*") => *depth += 1,
            Some(b"*/") if *depth > 1 => *depth -= 1,
            Some(b"*/") => self.place = Place::Plain,
            _ => return at + 1,
        }
        at + 2
    }

    fn plain(&mut self, line: &[u8], at: usize) -> Result<usize, Stop> {
        match line[at] {
            b'\\' => return Err(Stop::Wrong("holds a command of psql, which no dump does")),
            b'-' if line.get(at + 1) == Some(&b'-') => return Ok(line.len()),
            b'/' if line.get(at + 1) == Some(&b'*') => {
                self.place = Place::Comment(1);
                return Ok(at + 2);
            }
            b'\'' => self.place = Place::Quoted { escapes: self.plain_escapes },
            b'"' => self.place = Place::Name,
            b'(' => self.parentheses += 1,
            b')' => self.parentheses = self.parentheses.saturating_sub(1),
            b'$' => return Ok(self.dollar(line, at)),
            byte if begins_word(byte) => return Ok(self.word(line, at)),
            byte if byte.is_ascii_digit() => return Ok(end_of(line, at, goes_on)),
            _ => {}
        }
        Ok(at + 1)
    }

    fn dollar(&mut self, line: &[u8], at: usize) -> usize {
        let tag = match line.get(at + 1) {
            Some(byte) if begins_word(*byte) => end_of(line, at + 1, |byte| goes_on(byte) && byte != b'$'),
            _ => at + 1,
        };
        if line.get(tag) != Some(&b'$') {
            return at + 1;
        }
        self.place = Place::Dollar(line[at..=tag].to_vec());
        tag + 1
    }

    fn word(&mut self, line: &[u8], at: usize) -> usize {
        let end = end_of(line, at, goes_on);
        let word = line[at..end].to_ascii_lowercase();
        if line.get(end) == Some(&b'\'') && matches!(word.as_slice(), b"e" | b"b" | b"x") {
            self.place = Place::Quoted { escapes: word == b"e" };
            return end + 1;
        }
        if word == b"u" && line.get(end..end + 2) == Some(b"&'") {
            self.place = Place::Quoted { escapes: false };
            return end + 2;
        }
        self.body(&word);
        end
    }

    /// Counts `BEGIN` and `END` in functions that are written in SQL.
    fn body(&mut self, word: &[u8]) {
        if self.words == 0 {
            self.first_word = word.to_vec();
        }
        let may_begin: [&[u8]; 5] = [b"create", b"function", b"procedure", b"or", b"replace"];
        if may_begin.contains(&word) && self.words < self.begins.len() {
            self.begins[self.words] = word[0];
        }
        self.words += 1;
        let is_function = matches!(self.begins, [b'c', b'f' | b'p', ..] | [b'c', b'o', b'r', b'f' | b'p']);
        if !is_function || self.parentheses > 0 {
            return;
        }
        match word {
            b"begin" => self.bodies += 1,
            b"case" if self.bodies > 0 => self.bodies += 1,
            b"end" => self.bodies = self.bodies.saturating_sub(1),
            _ => {}
        }
    }
}

fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn goes_on(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn end_of(line: &[u8], at: usize, belongs: impl Fn(u8) -> bool) -> usize {
    line[at..].iter().position(|byte| !belongs(*byte)).map_or(line.len(), |length| at + length)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(dump: &str) -> Result<Vec<String>, Stop> {
        let mut statements = Statements::new(dump.as_bytes());
        let mut cut = Vec::new();
        while let Some(statement) = statements.next()? {
            let mut text = String::from_utf8(statement.text).expect("text");
            if statement.has_rows {
                let mut rows = b"\n".to_vec();
                let number = statements.take_rows(&mut rows)?;
                assert_eq!(number as usize, rows.split(|byte| *byte == b'\n').count() - 3);
                text += &String::from_utf8(rows).expect("text");
            }
            cut.push(text);
        }
        Ok(cut)
    }

    #[test]
    fn statements_end_where_psql_ends_them() {
        let statements = [
            "SET a = 'x;''; --';",
            "SELECT E'\\';', b'1;', \"odd;\"\";\", U&'\\;', n'a;b', typE';';",
            "CREATE FUNCTION f() AS $$\nBEGIN;\n$x$;$x$ it's;\n$$;",
            "CREATE FUNCTION f() AS $_$ a;$1;$$; $_$;",
            "CREATE FUNCTION g(a int DEFAULT 1) RETURNS int BEGIN ATOMIC\n SELECT CASE WHEN 1 THEN 2 END;\n SELECT 1;\nEND;",
            "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1; END;",
            "CREATE RULE r AS ON INSERT TO v DO INSTEAD (INSERT INTO a VALUES (1); DELETE FROM b;);",
            "SELECT $1, a$b$c /* ; /* ' */ ; */ - 1 -- ; '\n;",
            "CREATE TABLE begin (\"end\" int);",
            "COPY public.a (t) FROM stdin;\nit's\\n;\n-- Name: x; Type: y; Schema: z\n\\connect x\n\\.\n",
            "COMMENT ON TABLE ä IS 'ü';",
        ];
        let dump = statements.join("\n\n--\n-- Name: x; Type: TABLE; Schema: s; Owner: -\n--\n\n");
        let dump = format!("-- top\n\\restrict aB1\n{dump}\n-- end\n\\unrestrict aB1\n\n");
        assert_eq!(cut(&dump).expect("cut"), statements);
    }

    #[test]
    fn escapes_in_plain_quotes_follow_the_dumps_own_setting() {
        let on = "SET standard_conforming_strings = on;\nSELECT 'a\\';\nSELECT 1;\n";
        assert_eq!(cut(on).expect("cut").len(), 3);
        let off = "SET standard_conforming_strings = off;\nSELECT 'a\\';\nSELECT 1;';\n";
        assert_eq!(cut(off).expect("cut").len(), 2);
    }

    #[test]
    fn headings_name_what_a_statement_is_about() {
        let dump = "SET a = 1;\n-- Name: t; Type: TABLE; Schema: public; Owner: x\nA;\n\
                    -- Data for Name: t; Type: TABLE DATA; Schema: -; Owner: x\nB;\n";
        let mut statements = Statements::new(dump.as_bytes());
        let mut heading = || statements.next().expect("reads").expect("a statement").heading;
        assert_eq!([heading(), heading(), heading()], ["", "TABLE public.t", "TABLE DATA t"]);
    }

    #[test]
    fn what_no_dump_holds_is_refused() {
        for (dump, why) in [
            ("SELECT 1;\n\\! id\n", "psql"),
            ("SELECT 1 \\g |cat\n", "psql"),
            ("\\set x `id`\n", "psql"),
            ("\\restrict `id`\n", "psql"),
            ("\\copy a from b\n", "psql"),
            ("COPY a FROM stdin;\n1\n", "rows"),
            ("COPY a TO PROGRAM 'id';\n", "COPY"),
            ("copy a from stdin ;\n\\.\n", "COPY"),
            ("COPY a FROM stdin; SELECT 1;\n\\.\n", "COPY"),
            ("SELECT 'a;\n", "statement"),
            ("SELECT (1;\n", "statement"),
        ] {
            match cut(dump) {
                Err(Stop::Wrong(said)) => assert!(said.contains(why), "{dump}: {said}"),
                other => panic!("{dump}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_row_longer_than_a_piece_passes_whole() {
        let rows = format!("{}\\.\n\n\\.\n", "x".repeat(3 << 20));
        assert_eq!(cut(&format!("COPY a FROM stdin;\n{rows}")).expect("cut")[0][19..], rows[..]);
    }
}
