//! Synthetic repositories: very many, or very large ones, made in moments.
//!
//! Does not own: what is measured with them. The many are hard links to the files of a few real ones, so each is a
//! repository like any other, and 100,000 of them take no room.

use std::{fs, io::Write as _, path::PathBuf, process::Stdio};

use packhorse_testkit::{GitRepo, hermetic_command};

use crate::system::site::{Site, noise};

/// Hard links to one file, of which ext4 has 65,000.
const LINKS: usize = 50_000;

/// A repository whose files the others share.
fn template(site: &Site, number: usize) -> PathBuf {
    let repo = GitRepo::init(site.path(&format!("template-{number}.git")));
    repo.fill("main", 2);
    repo.run(&["repack", "-adq"]);
    repo.run(&["pack-refs", "--all"]);
    repo.path().to_owned()
}

/// Makes a storage of this many repositories.
pub fn synthesise(site: &Site, storage: &str, count: usize) {
    let root = site.folder(storage);
    let mut shared = PathBuf::new();
    for number in 0..count {
        if number % LINKS == 0 {
            shared = template(site, number / LINKS);
        }
        let repo = root.join(format!("{:03}/{:02}/{number:06}.git", number / 1000, number / 100 % 10));
        fs::create_dir_all(repo.join("objects/pack")).expect("make folders");
        fs::create_dir(repo.join("refs")).expect("make folder");
        for name in ["HEAD", "packed-refs"] {
            fs::hard_link(shared.join(name), repo.join(name)).expect("link");
        }
        for entry in fs::read_dir(shared.join("objects/pack")).expect("packs") {
            let entry = entry.expect("pack");
            fs::hard_link(entry.path(), repo.join("objects/pack").join(entry.file_name())).expect("link");
        }
    }
}

/// Makes a repository of this many MiB that do not compress, in files of 16 MiB.
pub fn enlarge(repo: &GitRepo, mib: usize) {
    const FILE: usize = 16 << 20;
    let mut import = hermetic_command("git");
    import.args([
        "-c",
        "core.compression=0",
        "-c",
        "fastimport.unpackLimit=1",
        "-c",
        "core.bigFileThreshold=1m",
        "fast-import",
        "--quiet",
        "--done",
    ]);
    let mut import = import.current_dir(repo.path()).stdin(Stdio::piped()).spawn().expect("start git");
    let mut input = import.stdin.take().expect("a pipe");
    let files = mib.div_ceil(FILE >> 20);
    for number in 0..files {
        write!(input, "blob\nmark :{}\ndata {FILE}\n", number + 1).expect("write");
        input.write_all(&noise(number as u64, FILE)).expect("write");
    }
    write!(input, "commit refs/heads/main\ncommitter a <a@b> 1700000000 +0000\ndata 1\nx\n").expect("write");
    for number in 0..files {
        writeln!(input, "M 100644 :{} file-{number}", number + 1).expect("write");
    }
    write!(input, "\ndone\n").expect("write");
    drop(input);
    assert!(import.wait().expect("wait for git").success());
}
