//! Reading the refs of a `reftable` repository, through git: gix cannot read that format.
//!
//! Does not own: `files` repositories (`refs`). One `git for-each-ref` gives one consistent table stack; only an unborn
//! HEAD, which it does not list, costs a second child. What git passes over with a warning is left out by name.

use std::{io::Read as _, path::Path};

use packhorse_vault::{Head, Oid, RefList, Symref};
use tokio_util::sync::CancellationToken;

use super::{damage::LeftOut, refs::Refs};
use crate::git::{Child, Git};

/// Reads HEAD and all refs under `refs/`; the error is git's.
pub fn read(git: &Git, dir: &Path, cancel: &CancellationToken) -> Result<(Refs, Vec<LeftOut>), String> {
    let format = "--format=%(refname)%00%(objectname)%00%(symref)";
    let (output, warnings) = run(git, dir, &["for-each-ref", "--include-root-refs", format], cancel)?;
    let (mut head, mut refs, mut symbolic) = (None, Vec::new(), Vec::new());
    for line in output.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let mut fields = line.split(|&byte| byte == 0);
        let (Some(name), Some(oid), Some(target)) = (fields.next(), fields.next(), fields.next()) else {
            return Err("git for-each-ref printed a line of another form".into());
        };
        let oid = Oid::from_hex(oid).ok_or("git for-each-ref printed no object id")?;
        if name == b"HEAD" {
            head = Some(match target {
                b"" => Head::Detached(oid),
                target => Head::Symbolic(target.to_vec()),
            });
        } else if name.starts_with(b"refs/") {
            if !target.is_empty() {
                symbolic.push(Symref { name: name.to_vec(), target: target.to_vec() });
            }
            refs.push((name.to_vec(), oid));
        }
    }
    let head = match head {
        Some(head) => head,
        None => {
            let (target, _) = run(git, dir, &["symbolic-ref", "HEAD"], cancel)?;
            Head::Symbolic(target.trim_ascii().to_vec())
        }
    };
    symbolic.sort();
    Ok(((head, RefList::from_unsorted(refs), symbolic), passed_over(&warnings)))
}

fn passed_over(warnings: &str) -> Vec<LeftOut> {
    let names = warnings.lines().filter_map(|line| line.strip_prefix("warning: ignoring broken ref "));
    names.map(|name| LeftOut::new(name.as_bytes(), "git calls it broken")).collect()
}

/// What git prints, and what it says beside that.
fn run(
    git: &Git,
    dir: &Path,
    args: &[&str],
    cancel: &CancellationToken,
) -> Result<(Vec<u8>, String), String> {
    let mut command = git.command(dir);
    command.args(args);
    let mut child = Child::spawn(command, cancel).map_err(|e| e.to_string())?;
    let mut output = Vec::new();
    if let Some(mut stdout) = child.stdout() {
        stdout.read_to_end(&mut output).map_err(|e| e.to_string())?;
    }
    let finished = child.finish().map_err(|e| e.to_string())?;
    if finished.status.success() {
        return Ok((output, finished.stderr));
    }
    Err(format!("git {}: {}: {}", args[0], finished.status, finished.stderr))
}
