//! New objects for one round, written by one `git fast-import`, which makes fixtures cheap.
//!
//! Does not own: the refs that will point to them. It leaves refs of its own, which it tells.

use std::{collections::BTreeMap, fmt::Write, fs};

use packhorse_testkit::GitRepo;

use crate::histories::{names::Target, random::Random};

const SCRATCH: &str = "refs/scratch/stream";

/// A stream in the making.
#[derive(Default)]
pub struct Stream {
    text: String,
    marks: usize,
    made: Vec<String>,
}

/// What a stream left in the repository.
#[derive(Default)]
pub struct Written {
    /// Ids by mark.
    pub marks: BTreeMap<usize, String>,
    /// Refs that exist now and did not before.
    pub made: Vec<String>,
}

impl Stream {
    /// Adds a commit on these parents, which exist or are commits of this stream.
    pub fn commit(&mut self, random: &mut Random, parents: &[Target]) -> Target {
        self.marks += 1;
        self.made.push(SCRATCH.to_owned());
        let (mark, time) = (self.marks, 1_600_000_000 + random.below(50_000_000));
        let message = format!("Commit {mark} of this round, {}\n", random.next());
        write!(
            self.text,
            "reset {SCRATCH}\ncommit {SCRATCH}\nmark :{mark}\n\
             committer Carl Committer <someone@packhorse.invalid> {time} +0000\ndata {}\n{message}",
            message.len(),
        )
        .expect("writing to a string");
        for (number, parent) in parents.iter().enumerate() {
            let word = if number == 0 { "from" } else { "merge" };
            writeln!(self.text, "{word} {}", reference(parent)).expect("writing to a string");
        }
        for _ in 0..1 + random.below(3) {
            let (folder, file) = (random.below(4), random.below(9));
            let body = format!("{} says\n", random.next()).repeat(1 + random.below(20));
            write!(self.text, "M 100644 inline d{folder}/f{file}\ndata {}\n{body}\n", body.len())
                .expect("writing to a string");
        }
        Target::Mark(mark)
    }

    /// Adds an annotated tag.
    pub fn tag(&mut self, name: &str, target: &Target) -> Target {
        self.marks += 1;
        self.made.push(format!("refs/tags/{name}"));
        let (mark, message) = (self.marks, format!("Tag {name}\n"));
        write!(
            self.text,
            "tag {name}\nmark :{mark}\nfrom {}\n\
             tagger Ada Author <someone@packhorse.invalid> 1600000000 +0000\ndata {}\n{message}",
            reference(target),
            message.len(),
        )
        .expect("writing to a string");
        Target::Mark(mark)
    }

    /// Writes everything.
    pub fn write(self, repo: &GitRepo) -> Written {
        if self.text.is_empty() {
            return Written::default();
        }
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("marks");
        let export = format!("--export-marks={}", file.display());
        let text = format!("{}done\n", self.text);
        repo.run_with_input(&["fast-import", "--quiet", "--done", "--force", &export], text.as_bytes());
        let text = fs::read_to_string(&file).expect("fast-import wrote its marks");
        let pairs = text.lines().filter_map(|line| line.strip_prefix(':')?.split_once(' '));
        let marks = pairs.map(|(mark, oid)| (mark.parse().expect("marks are numbers"), oid.to_owned()));
        Written { marks: marks.collect(), made: self.made }
    }
}

fn reference(target: &Target) -> String {
    match target {
        Target::Oid(oid) => oid.clone(),
        Target::Mark(mark) => format!(":{mark}"),
        Target::Ref(name) => panic!("a commit cannot be built on the symbolic ref {name}"),
    }
}
