//! Tools that only copy files, and know nothing of refs.

use std::path::{Path, PathBuf};

use crate::{
    loops::JOBS,
    meter::{Call, Script, Step},
};

/// Copies files, one after another in each of two loops, and waits until each is on the disk.
pub fn cat(files: &[PathBuf], out: &Path) -> Script {
    let task = |(number, path): (usize, &PathBuf)| {
        let copy = out.join(format!("{number:04}.pack"));
        vec![Call::new("cat").path(path).output(copy.clone()).step(), Step::Sync(copy)]
    };
    Script { at_once: JOBS, tasks: files.iter().enumerate().map(task).collect() }
}

/// The same with `cp`.
pub fn cp(files: &[PathBuf], out: &Path) -> Script {
    let task = |(number, path): (usize, &PathBuf)| {
        let copy = out.join(format!("{number:04}.pack"));
        vec![Call::new("cp").path(path).path(&copy).step(), Step::Sync(copy)]
    };
    Script { at_once: JOBS, tasks: files.iter().enumerate().map(task).collect() }
}

/// Copies a whole folder; nothing is synced.
pub fn cp_all(folder: &Path, target: &Path) -> Script {
    Script::one(Call::new("cp").arg("-a").path(&folder.join(".")).path(target))
}

/// Archives a folder through a compressor into a file.
pub fn tar(folder: &Path, compressor: &str, out: &Path) -> Script {
    let line = format!("tar -C {} -cf - . | {compressor} >{}", quoted(folder), quoted(&out.join("all.tar")));
    Script::one(Call::shell(line))
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_word_for_the_shell() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
