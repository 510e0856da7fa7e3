//! A `psql` that is told one statement after another, and says of each whether the server took it.
//!
//! Does not own: what is said. Behind each statement `psql` repeats a word that nobody can guess, with its own verdict,
//! so no content of a dump can pass for an answer. `psql` answers only when it has read a statement wholly, so reading
//! the answer after writing never blocks both sides. When `psql` ends, its input breaks and its output ends.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Read, Write},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use super::statement::Stop;

/// Bytes of rows that are kept of an answer; a dump's own statements return rows that nobody needs.
const KEPT: usize = 1 << 20;
const BUFFER: usize = 256 * 1024;
/// How long an error may be on its way.
const PATIENCE: Duration = Duration::from_secs(2);

/// Both ends of a running `psql`.
pub(super) struct Dialogue {
    stdin: BufWriter<File>,
    stdout: BufReader<File>,
    errors: Errors,
    word: String,
}

/// What `psql` last said of an error, since somebody looked.
#[derive(Clone, Default)]
pub(super) struct Errors(Arc<(Mutex<Option<String>>, Condvar)>);

impl Errors {
    /// Takes down an error.
    pub(super) fn note(&self, error: &str) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_owned());
        self.0.1.notify_all();
    }

    fn forget(&self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Waits for an error that is on its way by another pipe than the answer.
    fn wait(&self) -> Option<String> {
        let last = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(last, PATIENCE, |last| last.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }
}

/// What came of a statement.
pub(super) struct Answer {
    /// What the server said against it.
    pub(super) refused: Option<String>,
    /// How many rows it was about.
    pub(super) rows: Option<u64>,
    /// The fields of its rows.
    pub(super) fields: Vec<String>,
}

impl Dialogue {
    /// Takes over the ends; from now on a statement that fails does not end `psql`.
    pub(super) fn begin(stdin: File, stdout: File, errors: Errors) -> Result<Self, Stop> {
        let word = uuid::Uuid::new_v4().simple().to_string();
        let (stdin, stdout) =
            (BufWriter::with_capacity(BUFFER, stdin), BufReader::with_capacity(BUFFER, stdout));
        let mut dialogue = Self { stdin, stdout, errors, word };
        dialogue.write(b"\\set ON_ERROR_STOP off\n\\set ON_ERROR_ROLLBACK on\n")?;
        Ok(dialogue)
    }

    /// Has a statement carried out.
    pub(super) fn say(&mut self, statement: &[u8]) -> Result<Answer, Stop> {
        self.write(statement)?;
        self.answer()
    }

    /// Writes without waiting; for the rows of a `COPY`, whose answer follows.
    pub(super) fn rows(&mut self) -> &mut impl Write {
        &mut self.stdin
    }

    /// Writes a part of a statement.
    pub(super) fn write(&mut self, part: &[u8]) -> Result<(), Stop> {
        self.stdin.write_all(part).map_err(|_| Stop::Writing)
    }

    /// Waits until what was written is carried out.
    pub(super) fn answer(&mut self) -> Result<Answer, Stop> {
        let ask = format!("\n\\echo {0} :ERROR :ROW_COUNT :LAST_ERROR_MESSAGE {0}\n", self.word);
        self.write(ask.as_bytes())?;
        self.stdin.flush().map_err(|_| Stop::Writing)?;
        let (mut fields, mut kept) = (Vec::new(), 0);
        loop {
            let mut head = [0; 32];
            let field = self.field(&mut head)?;
            match field {
                Some(field) if kept < KEPT => {
                    kept += field.len();
                    fields.push(field);
                }
                Some(_) => {}
                None => {
                    let (refused, rows) = self.verdict()?;
                    return Ok(Answer { refused, rows, fields });
                }
            }
        }
    }

    /// The next field, or none when the word comes instead of one.
    fn field(&mut self, head: &mut [u8; 32]) -> Result<Option<String>, Stop> {
        let mut bytes = Vec::new();
        for slot in head.iter_mut() {
            let mut byte = [0];
            self.stdout.read_exact(&mut byte).map_err(|_| Stop::Writing)?;
            if byte[0] == 0 {
                return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
            }
            *slot = byte[0];
            bytes.push(byte[0]);
        }
        if bytes == self.word.as_bytes() {
            return Ok(None);
        }
        self.stdout.read_until(0, &mut bytes).map_err(|_| Stop::Writing)?;
        if bytes.pop() != Some(0) {
            return Err(Stop::Writing);
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Waits for the rows of a `COPY` to be taken, all of them. `psql` before version 16 calls one that failed among its rows
    /// a success, so the number of rows decides.
    pub(super) fn answer_to_rows(&mut self, sent: u64) -> Result<Option<String>, Stop> {
        self.errors.forget();
        let answer = self.answer()?;
        if answer.refused.is_some() || answer.rows == Some(sent) {
            return Ok(answer.refused);
        }
        let taken = answer.rows.unwrap_or_default();
        Ok(Some(self.errors.wait().unwrap_or_else(|| format!("the server took {taken} of {sent} rows"))))
    }

    /// What stands between the two words.
    fn verdict(&mut self) -> Result<(Option<String>, Option<u64>), Stop> {
        let end = format!(" {}\n", self.word).into_bytes();
        let mut said = Vec::new();
        while !said.ends_with(&end) {
            if self.stdout.read_until(b'\n', &mut said).map_err(|_| Stop::Writing)? == 0 {
                return Err(Stop::Writing);
            }
        }
        let said = String::from_utf8_lossy(&said[..said.len() - end.len()]).into_owned();
        let mut words = said.trim_start().splitn(3, ' ');
        let (failed, rows) = (words.next() != Some("false"), words.next().and_then(|rows| rows.parse().ok()));
        let reason = words.next().unwrap_or("no reason given").to_owned();
        Ok((failed.then_some(reason), rows))
    }
}
