//! Who in a storage borrows objects from a repository that a forced restore replaces, and would lose them.
//!
//! Does not own: replacing (`place`), or what waits for what (`run`). The storage is walked once, when the first
//! repository is to be replaced, and what each repository uses of others (`lent`) is followed to its end, so whoever
//! borrows from a borrower counts too. A lender is known by its path and by device and inode, so no bind mount or link
//! hides it. What cannot be looked into may borrow: then nothing is replaced. Borrowers elsewhere cannot be known.
//! Whether a known one still borrows is asked again each time, because a restored repository borrows from nobody.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use packhorse_model::{ErrorKind, Problem, RepoPath, Subject};

use crate::{
    backup::{Shape, list},
    restore::lent::{Id, Market, id_of, ids_of, unknown},
};

/// Borrowers that a problem names.
const NAMED: usize = 5;
/// Where a file system keeps what it found without a name.
const LOST: &str = "lost+found";

/// The borrowers of one storage. All of this type is blocking.
pub(super) struct Borrowers {
    root: PathBuf,
    known: OnceLock<Result<Known, Problem>>,
}

/// What a walk found, as paths below the storage.
#[derive(Default)]
struct Known {
    /// By every folder in which something lies that is lent: who borrows it.
    by_path: HashMap<PathBuf, BTreeSet<PathBuf>>,
    /// The same by what that folder, or a file, is.
    by_id: HashMap<Id, BTreeSet<PathBuf>>,
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
        let known = known.as_ref().map_err(Clone::clone)?;
        let (lender, dir) = (Path::new(path.as_str()), self.root.join(path.as_str()));
        // Where a link is, the link is replaced, and what it leads to stays.
        let ids = if known.by_id.is_empty() || dir.is_symlink() { HashSet::new() } else { ids_of(&dir)? };
        let borrowers = ids.iter().filter_map(|id| known.by_id.get(id)).chain(known.by_path.get(lender));
        let borrowers: BTreeSet<&PathBuf> = borrowers.flatten().collect();
        if borrowers.is_empty() {
            return Ok(BTreeSet::new());
        }
        let (market, itself) = (Market::new(&self.root)?, id_of(&dir));
        let mut still = BTreeSet::new();
        for borrower in borrowers.into_iter().filter(|borrower| !borrower.starts_with(lender)) {
            let lent = market.lent_to(borrower)?;
            let uses = lent.ids.iter().any(|id| ids.contains(id))
                || lent.paths.iter().any(|path| path.starts_with(lender));
            // One repository that has two names borrows nothing from itself.
            if uses && id_of(market.path(borrower)) != itself {
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
struct Walk {
    market: Market,
    known: Known,
    /// Folders to look into.
    todo: Vec<(PathBuf, Kind)>,
}

/// What a folder is, as far as not all that is in it is looked into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    /// Large files of a repository.
    Lfs,
    /// Objects, or large files, in folders that have two digits of their hash for a name.
    Objects,
}

impl Walk {
    fn new(root: &Path) -> Result<Self, Problem> {
        let todo = vec![(PathBuf::new(), Kind::Any)];
        Ok(Self { market: Market::new(root)?, known: Known::default(), todo })
    }

    fn run(mut self) -> Result<Known, Problem> {
        while let Some((folder, kind)) = self.todo.pop() {
            let dir = self.market.path(&folder);
            let entries = match list(&dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                // A folder of root's on many disks: who may not look into it has no repository there.
                Err(error)
                    if error.kind() == io::ErrorKind::PermissionDenied && folder == Path::new(LOST) =>
                {
                    continue;
                }
                entries => entries.map_err(|error| unknown(&dir, &error))?,
            };
            if entries.iter().any(|entry| entry.name == "objects" || entry.name == "commondir") {
                self.note(&folder)?;
            }
            let is_repository = Shape::of(&entries).is_enough();
            for entry in entries {
                let path = folder.join(&entry.name);
                if entry.is_link {
                    // A repository elsewhere that is served under this name. What cannot be read there is no part of the
                    // storage.
                    if self.market.leads_out(&path) {
                        let _ = self.note(&path);
                    }
                } else if entry.is_dir
                    && let Some(kind) = below(&folder, kind, is_repository, &entry.name)
                {
                    self.todo.push((path, kind));
                }
            }
        }
        Ok(self.known)
    }

    /// Notes what the repository in a folder, if it is one, borrows.
    fn note(&mut self, folder: &Path) -> Result<(), Problem> {
        let lent = self.market.lent_to(folder)?;
        if lent.is_nothing() {
            return Ok(());
        }
        self.known.borrowers.insert(folder.to_owned());
        for above in lent.paths.iter().flat_map(|path| path.ancestors()) {
            if !above.as_os_str().is_empty() {
                self.known.by_path.entry(above.to_owned()).or_default().insert(folder.to_owned());
            }
        }
        for id in lent.ids {
            self.known.by_id.entry(id).or_default().insert(folder.to_owned());
        }
        Ok(())
    }
}

/// Whether a folder in this one is looked into, and as what: all but our own, refs and their logs, which are many, and folders
/// of loose objects.
fn below(folder: &Path, kind: Kind, is_repository: bool, name: &OsStr) -> Option<Kind> {
    let at_top = folder.as_os_str().is_empty();
    let is_hash = || name.len() == 2 && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit);
    match (kind, name.to_str().unwrap_or_default()) {
        (_, "+packhorse") if at_top => None,
        (Kind::Any, "refs" | "logs" | "reftable") if is_repository => None,
        (Kind::Any, "objects") if is_repository => Some(Kind::Objects),
        (Kind::Any, "lfs") if is_repository => Some(Kind::Lfs),
        (Kind::Lfs, "objects") => Some(Kind::Objects),
        (Kind::Objects, _) if is_hash() => None,
        _ => Some(Kind::Any),
    }
}
