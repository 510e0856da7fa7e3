//! What git does: the commands that backupctl is compared with.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    loops::in_parallel,
    programs::{Git, checked},
};

/// The pack of everything, as for a clone.
pub const PACK_OBJECTS: [&str; 4] = ["pack-objects", "--all", "--stdout", "--delta-base-offset"];
/// The same, as `git bundle create` asks for it.
pub const PACK_OBJECTS_REVS: [&str; 4] = ["pack-objects", "--revs", "--all", "--stdout"];

/// Packs a repository for nobody.
pub fn pack_objects(git: &Git, repository: &Path, args: &[&str]) -> Result<()> {
    checked(git.command(repository).args(args).arg("-q"))
}

/// Packs a repository into a file.
pub fn pack_objects_to(git: &Git, repository: &Path, pack: &Path) -> Result<()> {
    let file = fs::File::create(pack).with_context(|| format!("create {}", pack.display()))?;
    checked(git.command(repository).args(PACK_OBJECTS).arg("-q").stdout(file))
}

/// Indexes a pack beside it.
pub fn index_pack(git: &Git, pack: &Path) -> Result<()> {
    let dir = pack.parent().context("a pack has a folder")?;
    checked(git.command(dir).args(["index-pack", "-o"]).arg(dir.join("peer.idx")).arg(pack))
}

/// Lists the refs of each repository and makes a bundle of it, as gitaly-backup does.
pub fn bundles(git: &Git, repositories: &[PathBuf]) -> Result<()> {
    in_parallel(repositories, |_, path| {
        checked(git.command(path).arg("for-each-ref"))?;
        let mut command = git.command(path);
        command.args(["bundle", "create", "--quiet", "-", "--stdin"]).stdin(Stdio::piped());
        let mut child = command.spawn().context("start git bundle")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(b"--all\n").context("write to git bundle")?;
        }
        let status = child.wait().context("wait for git bundle")?;
        ensure!(status.success(), "git bundle in {}: {status}", path.display());
        Ok(())
    })
}

/// Lists the refs of each repository.
pub fn refs(git: &Git, repositories: &[PathBuf]) -> Result<()> {
    in_parallel(repositories, |_, path| checked(git.command(path).arg("for-each-ref")))
}
