//! Objects of a damaged repository, read one after another by a `git cat-file` that may die of one.
//!
//! Does not own: which objects. Git looks for another copy where one is damaged, reads every format that it ever wrote, and
//! where a disk fails it is git that is killed and not this process. Content counts only when it has the object's name. A git
//! that dies has met an object that it cannot read, unless it cannot work there at all, which it is asked first.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{ChildStdin, ChildStdout},
};

use gix::{object::Kind, objs::encode::loose_header};
use packhorse_vault::{ObjectFormat, Oid};
use tokio_util::sync::CancellationToken;

use super::{Child, Git, ObjectsOnly};
use crate::packs::PackHash;

/// Objects that git may die of before that is taken for something else than damage.
const MOST_DEATHS: u32 = 10_000;
/// Bytes of the largest object that is kept; only blobs are larger.
const LARGEST: u64 = 256 << 20;
/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// What there is of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is there.
    There(Kind),
    /// Git has no such object, or none that it can read.
    Missing,
    /// It is there and damaged, with what is wrong.
    Damaged(String),
}

/// Reads objects.
pub struct ObjectReader<'a> {
    git: &'a Git,
    objects: &'a ObjectsOnly,
    format: ObjectFormat,
    cancel: &'a CancellationToken,
    running: Option<Running>,
    deaths: u32,
}

struct Running {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl<'a> ObjectReader<'a> {
    /// A reader of these objects.
    pub fn new(
        git: &'a Git,
        objects: &'a ObjectsOnly,
        format: ObjectFormat,
        cancel: &'a CancellationToken,
    ) -> Self {
        Self { git, objects, format, cancel, running: None, deaths: 0 }
    }

    /// Whether there is an object; its content is not read. An error says why nothing can be read at all. Blocking.
    pub fn look(&mut self, oid: Oid) -> Result<Answer, String> {
        self.answer(oid, |running, _| {
            running.ask("info", oid).map(|found| found.map_or(Answer::Missing, Answer::There))
        })
    }

    /// Reads an object into `data`, the content of a blob excepted, which is only looked at. Blocking.
    pub fn read(&mut self, oid: Oid, data: &mut Vec<u8>) -> Result<Answer, String> {
        self.answer(oid, |running, format| running.read(oid, format, data))
    }

    fn answer(
        &mut self,
        oid: Oid,
        mut ask: impl FnMut(&mut Running, ObjectFormat) -> io::Result<Answer>,
    ) -> Result<Answer, String> {
        if self.cancel.is_cancelled() {
            return Err("asked to stop".into());
        }
        let mut running = match self.running.take() {
            Some(running) => running,
            None => self.start()?,
        };
        match ask(&mut running, self.format) {
            Ok(answer) => {
                self.running = Some(running);
                Ok(answer)
            }
            Err(error) => self.died(running, oid, &error),
        }
    }

    /// Starts git, and has it answer a question about an object that nobody has.
    fn start(&self) -> Result<Running, String> {
        let mut command = self.objects.command(self.git);
        command.args(["cat-file", "--batch-command"]);
        let mut child = Child::spawn(command, self.cancel).map_err(|e| format!("start git: {e}"))?;
        let (Some(questions), Some(answers)) = (child.stdin(), child.stdout()) else {
            return Err("git has no pipes".into());
        };
        let mut running = Running { child, questions, answers: BufReader::with_capacity(CHUNK, answers) };
        match running.ask("info", Oid::null(self.format)) {
            Ok(_) => Ok(running),
            Err(error) => {
                let said = running.end().map_or_else(|e| e.to_string(), |finished| finished.stderr);
                Err(format!("git cat-file: {error}: {said}"))
            }
        }
    }

    /// What it says of an object that git died of it.
    fn died(&mut self, running: Running, oid: Oid, error: &io::Error) -> Result<Answer, String> {
        let finished = running.end().map_err(|e| format!("wait for git: {e}"))?;
        let stopped = finished.status.signal().is_some_and(|signal| {
            let by_others = [rustix::process::Signal::KILL, rustix::process::Signal::TERM];
            by_others.iter().any(|other| other.as_raw() == signal)
        });
        self.deaths += 1;
        let said = finished.stderr.lines().last().unwrap_or_default().to_owned();
        if stopped || self.cancel.is_cancelled() || self.deaths > MOST_DEATHS || said.contains("memory") {
            return Err(format!("git cat-file: {oid}: {error}: {}: {said}", finished.status));
        }
        Ok(Answer::Damaged(if said.is_empty() { finished.status.to_string() } else { said }))
    }
}

impl Running {
    /// The end of a git that reads no further question.
    fn end(self) -> io::Result<super::Finished> {
        let Self { child, questions, answers } = self;
        drop((questions, answers));
        child.finish()
    }

    /// Asks for an object, and gives its kind; none when git does not have it.
    fn ask(&mut self, what: &str, oid: Oid) -> io::Result<Option<Kind>> {
        self.ask_with_size(what, oid).map(|found| found.map(|(kind, _)| kind))
    }

    fn ask_with_size(&mut self, what: &str, oid: Oid) -> io::Result<Option<(Kind, u64)>> {
        self.questions.write_all(format!("{what} {oid}\n").as_bytes())?;
        self.questions.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let mut words = line.trim_end().split(' ').skip(1);
        match (words.next(), words.next()) {
            (Some("missing"), None) if line.ends_with('\n') => Ok(None),
            (Some(kind), Some(size)) if line.ends_with('\n') => {
                let kind = Kind::from_bytes(kind.as_bytes()).map_err(io::Error::other)?;
                Ok(Some((kind, size.parse().map_err(io::Error::other)?)))
            }
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn read(&mut self, oid: Oid, format: ObjectFormat, data: &mut Vec<u8>) -> io::Result<Answer> {
        data.clear();
        let Some((kind, size)) = self.ask_with_size("contents", oid)? else { return Ok(Answer::Missing) };
        let mut hash = PackHash::new(format);
        hash.update(&loose_header(kind, size));
        let keep = kind != Kind::Blob && size <= LARGEST;
        let (mut left, mut chunk) = (size, [0; 8192]);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            self.answers.read_exact(&mut chunk[..wanted])?;
            hash.update(&chunk[..wanted]);
            if keep {
                data.extend_from_slice(&chunk[..wanted]);
            }
            left -= wanted as u64;
        }
        self.answers.read_exact(&mut chunk[..1])?;
        if hash.finish() != oid.as_bytes() {
            return Ok(Answer::Damaged("its content has another name".into()));
        }
        if kind != Kind::Blob && !keep {
            return Ok(Answer::Damaged(format!("is a {kind} of {size} bytes")));
        }
        Ok(Answer::There(kind))
    }
}

#[cfg(test)]
mod tests {
    use packhorse_testkit::GitRepo;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn objects_that_git_dies_of_are_damaged_and_the_others_are_read() {
        let folder = tempfile::tempdir().expect("temp folder");
        let repo = GitRepo::init(folder.path().join("r.git"));
        let oid = |hex: String| Oid::from_hex(hex.trim().as_bytes()).expect("git prints ids");
        let [good, torn, other, empty] = ["good", "torn", "other", "empty"].map(|text| oid(repo.blob(text)));
        let file = |oid: Oid| {
            let (name, objects) = (oid.to_string(), repo.path().join("objects"));
            objects.join(&name[..2]).join(&name[2..])
        };
        for path in [file(torn), file(other), file(empty)] {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        }
        let bytes = std::fs::read(file(torn)).expect("loose object");
        std::fs::write(file(torn), &bytes[..bytes.len() - 5]).expect("tear");
        std::fs::copy(file(good), file(other)).expect("put another's content");
        std::fs::write(file(empty), "").expect("empty");
        // What makes git refuse the repository as a whole does not matter.
        std::fs::write(repo.path().join("HEAD"), "").expect("break HEAD");
        tokio::task::spawn_blocking({
            let dir = repo.path().to_owned();
            move || {
                let (git, cancel) = (Git::new("git"), CancellationToken::new());
                let objects = ObjectsOnly::of(&dir, ObjectFormat::Sha1).expect("git folder");
                let mut reader = ObjectReader::new(&git, &objects, ObjectFormat::Sha1, &cancel);
                let mut read = |oid| reader.read(oid, &mut Vec::new()).expect("git works");
                for _ in 0..2 {
                    assert_eq!(read(good), Answer::There(Kind::Blob));
                    for damaged in [torn, other, empty] {
                        assert!(!matches!(read(damaged), Answer::There(_)), "{damaged}");
                    }
                    assert_eq!(read(Oid::from_bytes(&[7; 20]).expect("20 bytes")), Answer::Missing);
                }
                assert_eq!(reader.look(good), Ok(Answer::There(Kind::Blob)));
            }
        })
        .await
        .expect("no panic");
    }
}
