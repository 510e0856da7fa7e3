//! Looks for a repository that the base has and the walk did not meet, or that was met and cannot be read a moment later:
//! was it deleted, or is it still there in pieces?
//!
//! Does not own: how many may be gone (the coordinator decides). A repository counts as deleted only where the file system
//! says that nothing of it is there. What cannot be read, lies behind a symbolic link or lacks a part is broken, and its
//! last good state stays in the backup. Follows no link.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use packhorse_model::{ErrorKind, Problem, RepoPath, Subject};

use super::discover::{PARTS, missing_parts};

/// What is at the place of a repository.
pub enum Left {
    /// Nothing of it.
    Nothing,
    /// What cannot be backed up.
    Pieces(Problem),
    /// All that makes a repository.
    Whole,
}

/// What is at the place of a repository that was there when its storage was walked. Blocking.
pub fn left_of(path: &RepoPath, dir: &Path) -> Left {
    match fs::symlink_metadata(dir) {
        Ok(found) if found.is_symlink() => Left::Pieces(is_link(path, dir)),
        Ok(found) if found.is_dir() => left_in(path, dir),
        Ok(_) => Left::Nothing,
        Err(error) if is_gone(&error) => Left::Nothing,
        Err(error) => Left::Pieces(unreadable(path, dir, &error)),
    }
}

/// Why the repository is not deleted, but cannot be backed up; none when it was deleted. Blocking.
pub fn look_for(root: &Path, path: &RepoPath) -> Option<Problem> {
    let mut dir = root.to_owned();
    for component in path.as_str().split('/') {
        dir.push(component);
        match fs::symlink_metadata(&dir) {
            Ok(found) if found.is_symlink() => return Some(is_link(path, &dir)),
            Ok(found) if found.is_dir() => {}
            // A file at its place, or at that of a folder above it.
            Ok(_) => return None,
            Err(error) if is_gone(&error) => return None,
            Err(error) => return Some(unreadable(path, &dir, &error)),
        }
    }
    match left_in(path, &dir) {
        Left::Nothing => None,
        Left::Pieces(problem) => Some(problem),
        Left::Whole => {
            let answer = "it lies inside another repository, where repositories are not looked for";
            Some(broken(path, answer, repair(&dir)))
        }
    }
}

/// A folder is at the repository's place: is it what is left of it, or something else?
fn left_in(path: &RepoPath, dir: &Path) -> Left {
    let names = match names_in(dir) {
        Err(error) if is_gone(&error) => return Left::Nothing,
        Err(error) => return Left::Pieces(unreadable(path, dir, &error)),
        Ok(names) => names,
    };
    let has = |name: &str| names.iter().any(|found| found == Path::new(name));
    let missing = missing_parts(has);
    if names.is_empty() {
        Left::Pieces(broken(path, "its folder is empty", repair(dir)))
    } else if missing.is_empty() {
        Left::Whole
    } else if PARTS.into_iter().any(has) {
        Left::Pieces(broken(path, &format!("has no {}", missing.join(", ")), repair(dir)))
    } else {
        Left::Nothing
    }
}

/// Whether the file system says that there is nothing.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn repair(dir: &Path) -> String {
    format!("repair or restore {}, or delete the folder", dir.display())
}

fn is_link(path: &RepoPath, dir: &Path) -> Problem {
    broken(
        path,
        "a symbolic link is at its place, which a backup does not follow",
        format!("name the folder that {} leads to as a storage of its own", dir.display()),
    )
}

fn names_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into())).collect()
}

fn broken(path: &RepoPath, answer: &str, next: String) -> Problem {
    Problem::new(ErrorKind::Corrupt, Subject::Repository, "open repository")
        .on(path)
        .answered(answer)
        .leaving("the last good backup of this repository stays in the vault")
        .next(next)
}

fn unreadable(path: &RepoPath, dir: &Path, error: &io::Error) -> Problem {
    Problem::new(ErrorKind::Denied, Subject::Repository, "open repository")
        .on(path)
        .answered(format!("{}: {error}", dir.display()))
        .leaving("the last good backup of this repository stays in the vault")
        .next("let the agent's user read it, and check the disk and the mounts of the storage")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(root: &Path, path: &str) -> Option<String> {
        look_for(root, &path.parse().expect("a path")).map(|problem| problem.to_string())
    }

    #[test]
    fn only_what_is_not_there_at_all_was_deleted() {
        let root = tempfile::tempdir().expect("temp folder");
        let root = root.path();
        let make = |path: &str| fs::create_dir_all(root.join(path)).expect("create");
        make("empty.git");
        make("headless/objects");
        make("headless/refs");
        make("whole/objects");
        make("whole/refs");
        fs::write(root.join("whole/HEAD"), "ref: refs/heads/main\n").expect("write");
        make("group/other.git");
        fs::write(root.join("file"), "").expect("write");
        std::os::unix::fs::symlink("whole", root.join("link")).expect("link");
        let cases = [
            ("never.git", None),
            ("gone/deep/x.git", None),
            ("file/x.git", None),
            ("group", None),
            ("empty.git", Some("its folder is empty")),
            ("headless", Some("has no HEAD")),
            ("whole", Some("inside another repository")),
            ("link", Some("symbolic link")),
            ("link/x.git", Some("symbolic link")),
        ];
        for (path, expected) in cases {
            let found = answer(root, path);
            match expected {
                None => assert_eq!(found, None, "{path}"),
                Some(part) => {
                    assert!(found.as_ref().is_some_and(|text| text.contains(part)), "{path}: {found:?}")
                }
            }
        }
    }
}
