//! What a side runs, as data: tasks beside each other, each of them steps in order.
//!
//! Does not own: running it (`carry_out`). It is written to a file and read by another process, so paths are UTF-8.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// All that a side does while the clock runs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Script {
    /// Tasks worked on beside each other.
    pub at_once: usize,
    /// Usually one for each repository.
    pub tasks: Vec<Vec<Step>>,
}

/// One thing to do.
#[derive(Debug, Serialize, Deserialize)]
pub enum Step {
    /// A program, to its end.
    Run(Call),
    /// A file or folder that has to be on the disk.
    Sync(PathBuf),
}

/// A program with all that it needs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Call {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables beside those of every program.
    pub env: Vec<(String, String)>,
    /// Where it runs.
    pub dir: Option<PathBuf>,
    /// The file that it reads.
    pub input: Option<PathBuf>,
    /// A few words that it reads instead.
    pub words: Option<String>,
    /// The file that it writes; none where nobody wants it.
    pub output: Option<PathBuf>,
    /// Whether it may fail, as git does when there is nothing to put into a bundle.
    pub may_fail: bool,
    /// Whether its own memory is watched, without its children.
    pub watched: bool,
}

impl Script {
    /// One program.
    pub fn one(call: Call) -> Self {
        Self { at_once: 1, tasks: vec![vec![Step::Run(call)]] }
    }
}

impl Call {
    /// A program without arguments.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), ..Self::default() }
    }

    /// A line of the shell, in which any part may fail the whole.
    pub fn shell(line: String) -> Self {
        Self::new("bash").args(["-o", "pipefail", "-c"]).arg(line)
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// More arguments.
    pub fn args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// A path as an argument.
    pub fn path(self, path: &Path) -> Self {
        self.arg(path.display().to_string())
    }

    /// One more variable.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Where it runs.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// What it reads.
    pub fn input(mut self, file: PathBuf) -> Self {
        self.input = Some(file);
        self
    }

    /// The words that it reads.
    pub fn words(mut self, words: &str) -> Self {
        self.words = Some(words.to_owned());
        self
    }

    /// What it writes.
    pub fn output(mut self, file: PathBuf) -> Self {
        self.output = Some(file);
        self
    }

    /// It may fail.
    pub fn may_fail(mut self) -> Self {
        self.may_fail = true;
        self
    }

    /// Its memory is watched.
    pub fn watched(mut self) -> Self {
        self.watched = true;
        self
    }

    /// As a step.
    pub fn step(self) -> Step {
        Step::Run(self)
    }
}
