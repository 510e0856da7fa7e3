//! Objects and history: blobs, commits, tags, and many commits at once.
//!
//! Does not own: refs other than the branch that a commit moves. Works without a worktree and in every object format:
//! each tree is built in an index file of its own, so calls may run side by side.

use std::fmt::Write;

use crate::{
    command::{run_checked, run_with_input, stdout_text},
    git::GitRepo,
};

impl GitRepo {
    /// New commits whose increment is not packed in process, but by git.
    pub const COMMITS_FOR_GIT: usize = 80;

    /// Writes a blob and gives its id.
    pub fn blob(&self, contents: impl AsRef<[u8]>) -> String {
        self.run_with_input(&["hash-object", "-w", "--stdin"], contents.as_ref())
    }

    /// Commits these files over the branch's tip, or as its first commit, and moves the branch.
    pub fn commit<C: AsRef<[u8]>>(&self, branch: &str, files: &[(&str, C)]) -> String {
        let name = format!("refs/heads/{branch}");
        let oid = self.commit_on(self.tip(&name).as_deref(), files);
        self.update_ref(&name, &oid);
        oid
    }

    /// Commits these files over a parent's files, or alone, without moving any ref.
    pub fn commit_on<C: AsRef<[u8]>>(&self, parent: Option<&str>, files: &[(&str, C)]) -> String {
        let tree = self.tree(parent, files);
        let time = self.tick();
        let message = format!("Commit at {time}\n");
        let parents: Vec<&str> = parent.iter().flat_map(|parent| ["-p", parent]).collect();
        self.run_with_input(&[&["commit-tree", &tree], parents.as_slice()].concat(), message.as_bytes())
    }

    /// Writes the tree of a commit's files with these files added or replaced, and gives its id.
    pub fn tree<C: AsRef<[u8]>>(&self, base: Option<&str>, files: &[(&str, C)]) -> String {
        let folder = tempfile::tempdir().expect("temporary folder for an index");
        let index = folder.path().join("index");
        if let Some(base) = base {
            run_checked(self.command().env("GIT_INDEX_FILE", &index).args(["read-tree", base]));
        }
        let mut lines = String::new();
        for (path, contents) in files {
            writeln!(lines, "100644 {}\t{path}", self.blob(contents)).expect("writing to a string");
        }
        let mut update = self.command();
        update.env("GIT_INDEX_FILE", &index).args(["update-index", "--add", "--index-info"]);
        run_with_input(&mut update, lines.as_bytes());
        stdout_text(run_checked(self.command().env("GIT_INDEX_FILE", &index).arg("write-tree")))
    }

    /// Makes an annotated tag of any object and gives the tag object's id.
    pub fn tag_annotated(&self, name: &str, target: &str) -> String {
        self.tick();
        self.run(&["tag", "-a", "-m", &format!("Tag {name}"), name, target]);
        self.run(&["rev-parse", "--verify", &format!("refs/tags/{name}")])
    }

    /// Puts this many commits on a branch through one process, and gives the last one's id.
    pub fn fill(&self, branch: &str, commits: usize) -> String {
        let name = format!("refs/heads/{branch}");
        let mut stream = String::new();
        for number in 0..commits {
            let time = self.tick();
            let message = format!("Filling commit at {time}\n");
            let body = filling(time);
            write!(
                stream,
                "commit {name}\ncommitter Carl Committer <someone@packhorse.invalid> {time} +0000\n\
                 data {}\n{message}",
                message.len(),
            )
            .expect("writing to a string");
            if number == 0 && self.tip(&name).is_some() {
                writeln!(stream, "from {name}^0").expect("writing to a string");
            }
            let (folder, file) = (time % 7, time % 61);
            write!(stream, "M 100644 inline folder-{folder}/file-{file}\ndata {}\n{body}\n", body.len())
                .expect("writing to a string");
        }
        self.run_with_input(&["fast-import", "--quiet", "--done"], format!("{stream}done\n").as_bytes());
        self.run(&["rev-parse", "--verify", &name])
    }

    /// The object that a ref points to, when there is such a ref.
    pub fn tip(&self, name: &str) -> Option<String> {
        let output = self.try_run(&["rev-parse", "--verify", "--quiet", name]);
        output.status.success().then(|| stdout_text(output))
    }
}

/// About a kilobyte of lines that differ from commit to commit and compress like text.
fn filling(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = format!("seed {seed}\n");
    for line in 0..40 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        writeln!(text, "line {line} says {:x}", state >> 24).expect("writing to a string");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [&[&str]; 4] = [
        &["--object-format=sha1"],
        &["--object-format=sha256"],
        &["--ref-format=reftable"],
        &["--ref-format=reftable", "--object-format=sha256"],
    ];

    #[test]
    fn every_format_takes_commits_tags_and_filling() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let possible = if GitRepo::can_make_reftables() { &FORMATS[..] } else { &FORMATS[..2] };
        for (number, options) in possible.iter().enumerate() {
            let repo = GitRepo::init_with(folder.path().join(format!("{number}.git")), options);
            let first = repo.commit("main", &[("a/b", "1"), ("c", "2")]);
            let second = repo.commit("main", &[("c", "3")]);
            assert_eq!(repo.run(&["rev-list", "main"]), format!("{second}\n{first}"));
            assert_eq!(repo.run(&["show", "main:a/b"]), "1");
            assert_eq!(repo.run(&["show", "main:c"]), "3");
            let tag = repo.tag_annotated("v1", &repo.blob("a blob"));
            assert_eq!(repo.run(&["cat-file", "-t", &tag]), "tag");
            let last = repo.fill("main", 30);
            assert_eq!(repo.run(&["rev-list", "--count", &last]), "32");
            repo.gc();
            repo.fsck();
        }
    }

    #[test]
    fn the_same_calls_give_the_same_ids() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let make = |name: &str| {
            let repo = GitRepo::init(folder.path().join(name));
            repo.fill("main", 5);
            let commit = repo.commit("main", &[("a", "x")]);
            (commit, repo.tag_annotated("v1", "main"))
        };
        assert_eq!(make("a.git"), make("b.git"));
    }
}
