//! Step 3: an empty bare repository, laid out without running git where refs are files.
//!
//! Does not own: objects, refs, owner and modes (later steps). HEAD leads nowhere until the refs are written: git takes
//! no folder without it for a repository. A git that does not know reftables gets ref files
//! instead, with a warning: the refs are the same, only their storage is not.

use std::{fs, io, path::Path};

use packhorse_model::Problem;
use packhorse_vault::{ObjectFormat, RefStorage};

use crate::restore::{git_child::GitChild, io_problem::io_problem, remove::remove_tree};

/// Where HEAD leads until it is known, and where nothing says anything else.
pub(super) const MAIN: &[u8] = b"refs/heads/main";

/// Makes the repository and says how it stores refs. Blocking.
pub(super) fn build(
    repository: &Path,
    format: ObjectFormat,
    wanted: RefStorage,
    git: &GitChild,
) -> Result<RefStorage, Problem> {
    if wanted == RefStorage::Reftable {
        match init_reftable(repository, format, git) {
            Ok(()) => return Ok(RefStorage::Reftable),
            Err(problem) if git.is_stopped() => return Err(problem),
            Err(problem) => {
                tracing::warn!(%problem, "this git has no reftables; refs are restored as files");
                let _ = remove_tree(repository);
            }
        }
    }
    lay_out(repository, format).map_err(|e| io_problem("make repository", repository.display(), &e))?;
    Ok(RefStorage::Files)
}

fn init_reftable(repository: &Path, format: ObjectFormat, git: &GitChild) -> Result<(), Problem> {
    let mut init = git.command(None);
    init.args(["init", "--quiet", "--bare", "--template=", "--ref-format=reftable"]);
    init.arg(format!("--object-format={}", format.as_str())).arg(repository);
    git.run(init, "make repository with reftable", None).map(drop)
}

fn lay_out(repository: &Path, format: ObjectFormat) -> io::Result<()> {
    for folder in ["", "objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags"] {
        fs::create_dir(repository.join(folder))?;
    }
    let mut config = String::from("[core]\n\trepositoryformatversion = ");
    config.push_str(match format {
        ObjectFormat::Sha1 => "0\n\tfilemode = true\n\tbare = true\n",
        ObjectFormat::Sha256 => {
            "1\n\tfilemode = true\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n"
        }
    });
    fs::write(repository.join("config"), config)?;
    fs::write(repository.join("HEAD"), symbolic(MAIN))
}

/// A symbolic ref as a file.
pub(super) fn symbolic(target: &[u8]) -> Vec<u8> {
    [b"ref: ", target, b"\n"].concat()
}
