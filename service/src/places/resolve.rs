//! The real path of a folder that may not exist yet.
//!
//! Does not own: comparing. What exists is resolved by the kernel; what does not is taken as it would be made, `..`
//! and links that lead nowhere yet included.

use std::{
    ffi::OsString,
    fs,
    path::{Component, Path, PathBuf},
};

/// Links that are followed before the path is taken as it stands, as the kernel does it.
const LINKS: usize = 40;

/// The path without links, `.` and `..`; relative ones start at the working folder.
pub fn resolve(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut todo: Vec<OsString> = parts(&absolute).rev().collect();
    let (mut real, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = todo.pop() {
        if part == ".." {
            real.pop();
            continue;
        }
        real.push(&part);
        let Ok(target) = fs::read_link(&real) else { continue };
        links += 1;
        if links > LINKS {
            continue;
        }
        real.pop();
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        todo.extend(parts(&target).rev());
    }
    real
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_also_where_nothing_is_yet() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path().canonicalize().expect("real path");
        fs::create_dir_all(root.join("a/b")).expect("create folders");
        symlink("a/b", root.join("link")).expect("make link");
        symlink("later/on", root.join("dangling")).expect("make link");
        symlink("loop", root.join("loop")).expect("make link");
        for (path, real) in [
            ("a/b/", "a/b"),
            ("a/./b/../b", "a/b"),
            ("link/new", "a/b/new"),
            ("link/../c", "a/c"),
            ("dangling/x", "later/on/x"),
            ("no/../such", "such"),
            ("loop/x", "loop/x"),
        ] {
            assert_eq!(resolve(&root.join(path)), root.join(real), "{path}");
        }
        assert_eq!(resolve(Path::new("/../..")), Path::new("/"));
    }
}
