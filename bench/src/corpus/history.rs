//! A history in the making: commits, merges and tags, given to one `git fast-import`.

use std::{
    io::{BufWriter, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::programs::Git;

/// A commit of this history.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Commit(u32);

/// A changed or new file.
pub struct Change {
    /// Its path.
    pub path: String,
    /// All it holds.
    pub content: Vec<u8>,
}

/// The open end of a history.
pub struct History {
    importer: Child,
    to_git: BufWriter<ChildStdin>,
    commits: u32,
    repository: PathBuf,
}

impl History {
    /// Starts one in a new bare repository.
    pub fn create(git: &Git, repository: &Path) -> Result<Self> {
        let parent = repository.parent().context("a repository has a parent folder")?;
        std::fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        let path = repository.to_str().context("the work folder's path is UTF-8")?;
        git.run(parent, &["init", "--quiet", "--bare", "--template=", "--initial-branch=main", path])?;
        let mut importer = git
            .command(repository)
            // Always a pack, however few objects there are.
            .args(["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet", "--done"])
            .arg(format!("--export-marks={path}/marks"))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start git fast-import")?;
        let stdin = importer.stdin.take().context("git fast-import has a stdin")?;
        Ok(Self { importer, to_git: BufWriter::new(stdin), commits: 0, repository: repository.to_owned() })
    }

    /// Adds a commit to a branch, whose tip becomes it.
    pub fn commit(&mut self, branch: &str, parents: &[Commit], changes: &[Change]) -> Result<Commit> {
        self.commits += 1;
        let number = self.commits;
        let time = 1_500_000_000 + u64::from(number) * 1800;
        let message = format!("Change {} files of {branch}\n\nThis is change {number}.\n", changes.len());
        write!(
            self.to_git,
            "commit refs/heads/{branch}\nmark :{number}\ncommitter Bench <bench@example.com> {time} +0000\n\
             data {}\n{message}",
            message.len()
        )?;
        for (at, parent) in parents.iter().enumerate() {
            writeln!(self.to_git, "{} :{}", if at == 0 { "from" } else { "merge" }, parent.0)?;
        }
        for change in changes {
            write!(self.to_git, "M 100644 inline {}\ndata {}\n", change.path, change.content.len())?;
            self.to_git.write_all(&change.content)?;
            writeln!(self.to_git)?;
        }
        Ok(Commit(number))
    }

    /// An annotated tag.
    pub fn tag(&mut self, name: &str, commit: Commit) -> Result<()> {
        let message = format!("Release {name}\n");
        write!(
            self.to_git,
            "tag {name}\nfrom :{}\ntagger Bench <bench@example.com> 1600000000 +0000\ndata {}\n{message}\n",
            commit.0,
            message.len()
        )?;
        Ok(())
    }

    /// Makes a ref of any name.
    pub fn point(&mut self, name: &str, commit: Commit) -> Result<()> {
        writeln!(self.to_git, "reset {name}\nfrom :{}\n", commit.0)?;
        Ok(())
    }

    /// Ends the import; what git calls the commits, in order.
    pub fn finish(self) -> Result<Vec<String>> {
        let Self { mut importer, mut to_git, repository, .. } = self;
        // When git has ended already, its own words say more than the broken pipe.
        let written = writeln!(to_git, "done").and_then(|()| to_git.flush());
        drop(to_git);
        let mut said = String::new();
        if let Some(mut stderr) = importer.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        let status = importer.wait().context("wait for git fast-import")?;
        ensure!(status.success(), "git fast-import: {status}: {}", said.trim());
        written.context("write to git fast-import")?;
        let marks = repository.join("marks");
        let text = std::fs::read_to_string(&marks).context("read the commits' names")?;
        std::fs::remove_file(&marks)?;
        let mut named: Vec<(u32, String)> = Vec::new();
        for line in text.lines() {
            let (mark, id) = line.split_once(' ').context("a line of marks is a mark and a name")?;
            named.push((mark.trim_start_matches(':').parse()?, id.to_owned()));
        }
        named.sort();
        Ok(named.into_iter().map(|(_, id)| id).collect())
    }
}
