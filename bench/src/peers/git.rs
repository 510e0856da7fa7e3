//! Git, as gitaly-backup runs it, and by itself.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    loops::{JOBS, in_parallel},
    meter::{Call, Script, Step},
    programs::Git,
};

/// What Gitaly sets for every git; the threads are those of two processors.
const GITALY: [&str; 10] = [
    "-c",
    "pack.threads=1",
    "-c",
    "pack.windowMemory=100m",
    "-c",
    "core.bigFileThreshold=50m",
    "-c",
    "pack.allowPackReuse=multi",
    "-c",
    "core.useReplaceRefs=false",
];

/// A task for each repository, so many at once.
fn each(at_once: usize, repositories: &[PathBuf], task: impl Fn(usize, &Path) -> Vec<Step>) -> Script {
    let tasks = repositories.iter().enumerate().map(|(number, path)| task(number, path)).collect();
    Script { at_once, tasks }
}

fn file(folder: &Path, number: usize, extension: &str) -> PathBuf {
    folder.join(format!("{number:04}.{extension}"))
}

/// As the lines of a refs file. Like Gitaly's own format, this one needs no object.
fn list_refs(git: &Git, path: &Path) -> Call {
    git.call(path).args(["for-each-ref", "--format=%(objectname) %(refname)"])
}

fn gitaly(git: &Git, path: &Path) -> Call {
    git.call(path).args(GITALY)
}

/// Lists the refs of each repository and makes a bundle of it, as gitaly-backup does.
pub fn bundles(git: &Git, repositories: &[PathBuf], out: &Path) -> Script {
    each(JOBS, repositories, |number, path| {
        let bundle = gitaly(git, path).args(["bundle", "create", "--quiet", "-", "--stdin"]).words("--all\n");
        let refs = list_refs(git, path).output(file(out, number, "refs"));
        vec![refs.step(), bundle.output(file(out, number, "bundle")).step()]
    })
}

/// The same on what `write_known` left: only what is new. Git refuses where nothing is.
pub fn increments(git: &Git, repositories: &[PathBuf], known: &Path, out: &Path) -> Script {
    each(JOBS, repositories, |number, path| {
        let bundle = gitaly(git, path)
            .args(["bundle", "create", "--quiet", "-", "--ignore-missing", "--stdin"])
            .input(file(known, number, "all"))
            .may_fail();
        let refs = list_refs(git, path).output(file(out, number, "refs"));
        vec![refs.step(), bundle.output(file(out, number, "bundle")).step()]
    })
}

/// Git's own smallest pack of what is new, and the refs, of the repositories of these numbers.
pub fn thin_packs(
    git: &Git,
    repositories: &[PathBuf],
    numbers: &[usize],
    known: &Path,
    out: &Path,
) -> Script {
    let task = |number: &usize| {
        let path = &repositories[*number];
        let pack = git.call(path).args(["pack-objects", "--thin", "--stdout", "--delta-base-offset", "-q"]);
        let pack = pack.args(["--revs", "--all"]).input(file(known, *number, "not"));
        let refs = list_refs(git, path).output(file(out, *number, "refs"));
        vec![refs.step(), pack.output(file(out, *number, "pack")).step()]
    };
    Script { at_once: JOBS, tasks: numbers.iter().map(task).collect() }
}

/// Writes what the next increment has to leave out, of the repositories of these numbers.
pub fn write_known(git: &Git, repositories: &[PathBuf], numbers: &[usize], known: &Path) -> Result<()> {
    in_parallel(JOBS, numbers, |_, number| {
        let listed = git.output(&repositories[*number], &["show-ref", "--head"])?;
        let write = |extension, start: &[u8]| -> Result<()> {
            let mut file = BufWriter::new(File::create(file(known, *number, extension))?);
            file.write_all(start)?;
            for line in listed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
                file.write_all(b"^")?;
                file.write_all(&line[..end])?;
                file.write_all(b"\n")?;
            }
            file.flush().context("write what is known")
        };
        write("all", b"--all\n")?;
        write("not", b"")
    })
}

/// Makes an empty repository of each bundle, fetches it and points HEAD, as gitaly-backup restores.
///
/// Gitaly then resets all refs; after a fetch into an empty repository none is left to reset but HEAD.
pub fn fetches(git: &Git, repositories: &[PathBuf], bundles: &Path, target: &Path) -> Script {
    each(JOBS, repositories, |number, _| {
        let path = file(target, number, "git");
        let init = git.call(target).args(["init", "--quiet", "--bare", "--template="]).path(&path);
        let fetch = git
            .call(&path)
            .args(["-c", "transfer.fsckObjects=false", "fetch", "--quiet", "--atomic"])
            .arg("--no-write-fetch-head")
            .path(&file(bundles, number, "bundle"))
            .arg("+refs/*:refs/*");
        let refs = list_refs(git, &path);
        let head = git.call(&path).args(["symbolic-ref", "HEAD", "refs/heads/main"]);
        vec![init.step(), fetch.step(), refs.step(), head.step()]
    })
}

/// Lists the names of each repository's refs and what they point to, as gitaly-backup does.
pub fn refs(git: &Git, repositories: &[PathBuf], at_once: usize) -> Script {
    each(at_once, repositories, |_, path| vec![list_refs(git, path).step()])
}

/// The same as git does by itself, which also reads every object for its type.
pub fn refs_with_types(git: &Git, repositories: &[PathBuf], at_once: usize) -> Script {
    each(at_once, repositories, |_, path| vec![git.call(path).arg("for-each-ref").step()])
}

/// The pack of everything, of each repository.
pub fn packs(git: &Git, repositories: &[PathBuf], out: &Path) -> Script {
    each(JOBS, repositories, |number, path| {
        let pack = git.call(path).args(["pack-objects", "--all", "--stdout", "--delta-base-offset", "-q"]);
        vec![pack.output(file(out, number, "pack")).step()]
    })
}

/// One bundle of everything, without a list of refs.
pub fn bundle_all(git: &Git, repository: &Path, out: &Path) -> Script {
    let bundle = git.call(repository).args(["bundle", "create", "--quiet"]).path(&out.join("all.bundle"));
    Script::one(bundle.arg("--all"))
}
