//! Removing a tree: a replaced repository, what was not finished, and what dead restores left.
//!
//! Does not own: whether it may go. No link is followed, and nothing that is mounted in the tree is entered, be it a folder
//! of the same disk: the removal ends there, and says where. What was removed before that is gone.

use std::{
    fs::File,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use packhorse_service::descent::{Descent, entries};
use rustix::{
    fs::{AtFlags, unlinkat},
    io::Errno,
};

/// Removes a folder with everything in it. Blocking.
pub(super) fn remove_tree(folder: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut descent = Descent::new(File::open(parent)?.into());
    descent.down(name.as_bytes()).map_err(|error| failed(folder.to_owned(), error))?;
    let at = |descent: &Descent, name: &[u8]| -> PathBuf {
        parent.join(std::ffi::OsStr::from_bytes(&descent.path(name)))
    };
    let mut todo = vec![entries(descent.here())?];
    while let Some(names) = todo.last_mut() {
        let (name, flags) = match names.pop() {
            Some((name, true)) => {
                descent.down(&name).map_err(|error| failed(at(&descent, &name), error))?;
                todo.push(entries(descent.here())?);
                continue;
            }
            Some((name, false)) => (name, AtFlags::empty()),
            None => {
                todo.pop();
                let Some((_, name)) = descent.up()? else { break };
                (name, AtFlags::REMOVEDIR)
            }
        };
        match unlinkat(descent.here(), name.as_slice(), flags) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed(at(&descent, &name), error)),
        }
    }
    Ok(())
}

fn failed(path: PathBuf, error: Errno) -> io::Error {
    let path = path.display();
    match error {
        // A folder or a file on which something is mounted.
        Errno::XDEV | Errno::BUSY => io::Error::new(
            io::ErrorKind::CrossesDevices,
            format!("a file system is mounted at {path}, and nothing of that was removed"),
        ),
        error => {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("{path}: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use packhorse_testkit::BindMount;

    use super::*;

    #[test]
    fn a_tree_goes_and_what_its_links_lead_to_stays() {
        let folder = tempfile::tempdir().expect("folder");
        let (tree, outside) = (folder.path().join("tree"), folder.path().join("outside"));
        fs::create_dir_all(tree.join(vec!["a"; 40].join("/"))).expect("create");
        fs::create_dir(&outside).expect("create");
        fs::write(outside.join("file"), "").expect("write");
        fs::write(tree.join("a/file"), "").expect("write");
        fs::set_permissions(tree.join("a/file"), fs::Permissions::from_mode(0o400)).expect("change mode");
        symlink(&outside, tree.join("a/link")).expect("link");
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists() && outside.join("file").exists());
        symlink(&outside, &tree).expect("link");
        remove_tree(&tree).expect_err("a link");
        assert!(outside.join("file").exists());
    }

    #[test]
    fn nothing_that_is_mounted_is_removed() {
        let folder = tempfile::tempdir().expect("folder");
        let (tree, outside) = (folder.path().join("tree"), folder.path().join("outside"));
        let one = folder.path().join("one");
        fs::create_dir(&outside).expect("create");
        for (from, to) in [(&outside, "a/b"), (&one, "a/file")] {
            fs::create_dir_all(tree.join("a/b")).expect("create");
            for file in [outside.join("file"), tree.join("a/file"), one.clone()] {
                fs::write(file, "kept").expect("write");
            }
            let Some(_mount) = BindMount::new(from, tree.join(to)) else { return };
            let refused = remove_tree(&tree).expect_err("mounted");
            assert_eq!(refused.kind(), io::ErrorKind::CrossesDevices);
            let place = format!("mounted at {}", tree.join(to).display());
            assert!(refused.to_string().contains(&place), "{refused}");
            assert_eq!(fs::read(outside.join("file")).expect("kept"), b"kept");
            assert_eq!(fs::read(&one).expect("kept"), b"kept");
        }
        remove_tree(&tree).expect("nothing is mounted any more");
    }
}
