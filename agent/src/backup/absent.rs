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

use super::discover::{PARTS, is_repository, missing_parts, restore_it};

/// What to do about what the agent's user may not read.
pub const LET_READ: &str =
    "let the agent's user read it: change owner or mode (chown, chmod), or run the agent as its owner";

/// What is at the place of a repository.
pub enum Left {
    /// No file or folder of the repository.
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
            Some(broken(path, answer, apart(root, &dir)))
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
        Left::Pieces(broken(path, "its folder is empty", restore_it(path.as_str())))
    } else if missing.is_empty() {
        Left::Whole
    } else if PARTS.into_iter().any(has) {
        Left::Pieces(broken(path, &format!("has no {}", missing.join(", ")), restore_it(path.as_str())))
    } else {
        Left::Nothing
    }
}

/// Whether the file system says that there is nothing.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What to do about a sound repository that lies in another one.
fn apart(root: &Path, dir: &Path) -> String {
    let above = dir.ancestors().skip(1).take_while(|above| above.starts_with(root));
    let outer = above.filter(|above| is_repository(above)).last().unwrap_or(root);
    format!(
        "keep it: it may be sound. {0} is a repository now; if somebody made that by mistake (`git init`), move HEAD, objects and \
         refs out of {0} itself, otherwise move this repository to a folder of its own",
        outer.display()
    )
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
        .next(format!("{LET_READ}; or check the disk and the mounts of the storage"))
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
        make("whole/group/x.git/objects");
        make("whole/group/x.git/refs");
        fs::write(root.join("whole/group/x.git/HEAD"), "ref: refs/heads/main\n").expect("write");
        std::os::unix::fs::symlink("whole", root.join("link")).expect("link");
        let cases = [
            ("never.git", None),
            ("gone/deep/x.git", None),
            ("file/x.git", None),
            ("group", None),
            ("empty.git", Some("its folder is empty")),
            ("headless", Some("has no HEAD")),
            ("whole/group/x.git", Some("inside another repository")),
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
        // What may be all that there is, is never to be removed.
        let next = |path: &str| {
            look_for(root, &path.parse().expect("a path"))
                .and_then(|problem| problem.next)
                .unwrap_or_default()
        };
        let apart = next("whole/group/x.git");
        let outer = root.join("whole").display().to_string();
        assert!(
            apart.starts_with("keep it") && apart.contains(&format!("{outer} is a repository now")),
            "{apart}"
        );
        for path in ["headless", "empty.git"] {
            let step = next(path);
            let way = format!("`backupctl restore ID --repository {path} --force` brings it back");
            assert!(step.contains(&way) && !step.contains("delete") && !step.contains("remove"), "{step}");
        }
    }
}
