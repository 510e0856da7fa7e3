//! Who in a storage borrows objects from a repository that a forced restore replaces, and would lose them.
//!
//! Does not own: replacing (`place`), or what waits for what (`run`). The storage is walked once, when the first repository
//! is to be replaced, and every `objects/info/alternates` is followed to its end, so whoever borrows from a borrower counts
//! too. What cannot be looked into may borrow: then nothing is replaced. Borrowers elsewhere cannot be known. Whether a known
//! one still borrows is asked again each time, because a restored repository borrows from nobody.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs, io,
    path::{Component, Path, PathBuf},
    sync::OnceLock,
};

use packhorse_model::{ErrorKind, Problem, RepoPath, Subject};

use crate::restore::io_problem::io_problem;

/// Borrowers that a problem names.
const NAMED: usize = 5;

/// The borrowers of one storage. All of this type is blocking.
pub(super) struct Borrowers {
    root: PathBuf,
    known: OnceLock<Result<Known, Problem>>,
}

/// What a walk found, as paths below the storage.
#[derive(Default)]
struct Known {
    /// By every folder in which something lies that is lent: who borrows it.
    by_lender: HashMap<PathBuf, BTreeSet<PathBuf>>,
    /// Whoever borrows.
    borrowers: HashSet<PathBuf>,
}

impl Borrowers {
    /// Those of the storage at `root`, which is walked when they are first asked for.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), known: OnceLock::new() }
    }

    /// Whether the repository that lies there borrowed when the storage was walked.
    pub(super) fn borrows(&self, path: &RepoPath) -> bool {
        let known = self.known.get().and_then(|known| known.as_ref().ok());
        known.is_some_and(|known| known.borrowers.contains(Path::new(path.as_str())))
    }

    /// Who borrows now from the repository that lies there.
    pub(super) fn of(&self, path: &RepoPath) -> Result<BTreeSet<PathBuf>, Problem> {
        let known = self.known.get_or_init(|| Walk::new(&self.root)?.run());
        let lender = Path::new(path.as_str());
        let Some(borrowers) = known.as_ref().map_err(Clone::clone)?.by_lender.get(lender) else {
            return Ok(BTreeSet::new());
        };
        let walk = Walk::new(&self.root)?;
        let mut still = BTreeSet::new();
        for borrower in borrowers.iter().filter(|borrower| !borrower.starts_with(lender)) {
            if walk.lent_to(borrower)?.iter().any(|lent| lent.starts_with(lender)) {
                still.insert(borrower.clone());
            }
        }
        Ok(still)
    }
}

/// Why the repository at `path` is not replaced.
pub(super) fn lends(path: &RepoPath, borrowers: &BTreeSet<PathBuf>) -> Problem {
    let mut named: Vec<String> =
        borrowers.iter().take(NAMED).map(|borrower| borrower.display().to_string()).collect();
    let more = borrowers.len().saturating_sub(named.len());
    if more > 0 {
        named.push(format!("{more} more"));
    }
    let verb = if borrowers.len() == 1 { "borrows" } else { "borrow" };
    Problem::new(ErrorKind::AlreadyExists, Subject::Repository, "replace repository")
        .on(path)
        .answered(format!("{} {verb} objects from it, and would lose them", named.join(", ")))
        .leaving("it was not touched")
        .next(
            "make the borrowers whole (git repack -a -d in each, then remove its objects/info/alternates), restore them in \
             the same restore, or restore to another storage",
        )
}

/// One walk of a storage.
struct Walk<'a> {
    root: &'a Path,
    /// The same without links.
    real: PathBuf,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Path) -> Result<Self, Problem> {
        let real = fs::canonicalize(root).map_err(|e| unknown(root, &e))?;
        Ok(Self { root, real })
    }

    fn run(&self) -> Result<Known, Problem> {
        let mut known = Known::default();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for lent in self.lent_to(&folder)? {
                known.borrowers.insert(folder.clone());
                for above in lent.ancestors().filter(|above| !above.as_os_str().is_empty()) {
                    known.by_lender.entry(above.to_owned()).or_default().insert(folder.clone());
                }
            }
            self.below(&folder, &mut folders)?;
        }
        Ok(known)
    }

    /// The folders in a folder; of a repository without those that git makes, none of which holds repositories.
    fn below(&self, folder: &Path, folders: &mut Vec<PathBuf>) -> Result<(), Problem> {
        let dir = self.root.join(folder);
        let failed = |e: io::Error| unknown(&dir, &e);
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        let (at_top, is_repository) = (folder.as_os_str().is_empty(), crate::backup::is_repository(&dir));
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let ours = at_top && (name == "+packhorse" || name == "lost+found");
            let of_git = is_repository && crate::backup::OWN_FOLDERS.iter().any(|own| name == *own);
            if !ours && !of_git && entry.file_type().map_err(failed)?.is_dir() {
                folders.push(folder.join(name));
            }
        }
        Ok(())
    }

    /// What lies in this storage of all that the repository in `folder` borrows, as paths below the storage.
    fn lent_to(&self, folder: &Path) -> Result<BTreeSet<PathBuf>, Problem> {
        let objects = self.root.join(folder).join("objects");
        let mut lent = BTreeSet::new();
        let mut seen = BTreeSet::new();
        // What a link leads to is borrowed like what alternates name.
        let mut folders: Vec<PathBuf> =
            fs::read_link(&objects).map_or_else(|_| alternates(&objects), |_| Ok(vec![objects.clone()]))?;
        while let Some(objects) = folders.pop() {
            let plain = normal(&objects);
            let real = fs::canonicalize(&objects).unwrap_or_else(|_| plain.clone());
            let below = |path: &Path| {
                let roots = [self.root, &self.real];
                roots.iter().find_map(|root| path.strip_prefix(root).ok().map(Path::to_owned))
            };
            lent.extend([&plain, &real].into_iter().filter_map(|path| below(path)));
            if seen.insert(real) {
                folders.extend(alternates(&objects)?);
            }
        }
        Ok(lent)
    }
}

/// The folders that the alternates of this folder of objects name.
fn alternates(objects: &Path) -> Result<Vec<PathBuf>, Problem> {
    let file = objects.join("info/alternates");
    let content = match fs::read(&file) {
        Ok(content) => content,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unknown(&file, &error)),
    };
    let named = gix::odb::alternate::parse(&content);
    let named = named.map_err(|e| unknown(&file, &io::Error::other(e.to_string())))?;
    Ok(named.into_iter().map(|folder| objects.join(folder)).collect())
}

/// The path without `.` and `..`, as its letters say; it may lead to nothing.
fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

fn unknown(path: &Path, error: &io::Error) -> Problem {
    io_problem("find who borrows objects", path.display(), error)
        .leaving("the repository was not replaced")
        .next("let the agent's user read it, or move it away")
}
