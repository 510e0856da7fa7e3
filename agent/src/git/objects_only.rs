//! A git folder of our own in which git sees the objects of a repository, and nothing else of it.
//!
//! Does not own: what git is asked there. A damaged HEAD, `packed-refs`, `config`, `shallow` file, multi-pack index or
//! commit-graph stops git, or changes what it takes for history, although all objects may be there. Nothing is written to
//! the repository, and the folder is removed when this is dropped, or by the next one when this process was killed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use packhorse_service::ScratchFolder;
use packhorse_vault::ObjectFormat;

use super::Git;

/// The objects of a repository.
pub struct ObjectsOnly {
    folder: ScratchFolder,
    objects: PathBuf,
}

impl ObjectsOnly {
    /// Those of the repository at `dir`, with what it borrows.
    pub fn of(dir: &Path, format: ObjectFormat) -> io::Result<Self> {
        let folder = ScratchFolder::new_in(&std::env::temp_dir(), "packhorse-objects-")?;
        let path = folder.path();
        fs::write(path.join("HEAD"), "ref: refs/heads/main\n")?;
        fs::create_dir(path.join("refs"))?;
        let extensions = match format {
            ObjectFormat::Sha1 => String::new(),
            ObjectFormat::Sha256 => format!("[extensions]\n\tobjectFormat = {}\n", format.as_str()),
        };
        let config = format!("[core]\n\trepositoryFormatVersion = 1\n\tbare = true\n{extensions}");
        fs::write(path.join("config"), config)?;
        // Git reads it from another folder than the one that it is told of.
        let objects = std::path::absolute(dir.join("objects"))?;
        Ok(Self { folder, objects })
    }

    /// A command of git there.
    pub fn command(&self, git: &Git) -> Command {
        let mut command = git.command(self.folder.path());
        command.env("GIT_OBJECT_DIRECTORY", &self.objects);
        command
    }
}
