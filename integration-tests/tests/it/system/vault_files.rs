//! A `file://` vault as the file system sees it: who may read it, in which order it becomes durable, what comes last.
//!
//! Does not own: what the files hold.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use packhorse_testkit::{Binary, hermetic_command, run_checked};

use super::site::Site;

fn site() -> Site {
    let site = Site::new();
    let uploads = site.folder("uploads");
    fs::write(uploads.join("file"), "content").expect("write file");
    let config = format!(
        "[vault]\nurl = '{}'\n[agent_service]\ngitaly_manifests = 'latest'\n{}[[directory]]\nname = 'uploads'\npath = '{}'\n",
        site.vault_url(),
        site.storage_section("default", "storage"),
        uploads.display()
    );
    site.write("packhorse.toml", &config);
    site.repo("storage/small.git").fill("main", 5);
    let large = site.repo("storage/large.git");
    large.commit("main", &[("noise", super::site::noise(1, 10 << 20))]);
    large.repack();
    site
}

/// Everything below a folder, itself too, with its metadata.
fn entries(folder: &Path) -> BTreeMap<PathBuf, fs::Metadata> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        found.insert(folder.clone(), fs::metadata(&folder).expect("metadata"));
        for entry in fs::read_dir(&folder).expect("read folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), fs::metadata(&path).expect("metadata"));
            }
        }
    }
    found
}

#[test]
fn only_its_owner_reads_a_vault_and_the_record_comes_last() {
    let site = site();
    site.ctl("packhorse.toml", ["create", "--backup-id=0001"]).run().expect_success();
    let entries = entries(&site.path("vault"));
    for (path, meta) in &entries {
        let expected = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(meta.permissions().mode() & 0o7777, expected, "{}", path.display());
    }
    let time = |name: &str| entries[&site.path("vault").join(name)].modified().expect("a time");
    let newest = |filter: &dyn Fn(&str) -> bool| {
        let files = entries.iter().filter(|(path, meta)| meta.is_file() && filter(&path.to_string_lossy()));
        files.map(|(_, meta)| meta.modified().expect("a time")).max().unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let (report, marker) = (time("backups/0001/report.json"), time("backup_ids/0001"));
    let record = time("backups/0001/backup_information.json");
    let last = ["report.json", "backup_information.json", "backup_ids/0001"];
    assert!(newest(&|name| !last.iter().any(|other| name.ends_with(other))) <= report);
    assert!(report <= marker && marker <= record);
}

/// The system calls of a backup that name files or make them durable, in order, as far as they succeeded.
fn trace(site: &Site) -> Option<Vec<String>> {
    let log = site.path("trace");
    let mut strace = hermetic_command("strace");
    strace.args([
        "-f",
        "-y",
        "-s",
        "400",
        "-e",
        "trace=rename,renameat,renameat2,link,linkat,fsync,syncfs",
        "-o",
    ]);
    strace.arg(&log).arg(Binary::Backupctl.path()).arg("--no-progress").arg("--config");
    strace.arg(site.path("packhorse.toml")).args(["create", "--backup-id=0001"]);
    let mut probe = hermetic_command("strace");
    if !probe.args(["-o", "/dev/null", "true"]).output().is_ok_and(|output| output.status.success()) {
        packhorse_testkit::skipped("strace may not trace here");
        return None;
    }
    run_checked(&mut strace);
    let text = fs::read_to_string(&log).expect("read trace");
    // A call that another thread interrupts is told in two pieces; it counts when it ends, under its own name.
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let (thread, rest) = line.split_once(' ').expect("a thread");
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, start);
        } else if rest.starts_with("<... ") {
            let end = rest.split_once("resumed>").expect("an end").1;
            calls.push(format!("{}{end}", begun.remove(thread).expect("begun")));
        } else {
            calls.push(rest.to_owned());
        }
    }
    Some(calls.into_iter().filter(|call| call.ends_with("= 0")).map(|call| with_whole_paths(&call)).collect())
}

/// A call in which a name below an open folder, `18</vault/backups>, "0001"`, is its whole path,
/// `"/vault/backups/0001"`.
fn with_whole_paths(call: &str) -> String {
    let mut parts = call.split(">, \"");
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match told.rfind('<') {
            Some(folder) if !part.starts_with('/') => {
                let number = told[..folder].trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
                told = format!("{}\"{}/{part}", &told[..number], &told[folder + 1..]);
            }
            _ => told = format!("{told}>, \"{part}"),
        }
    }
    told
}

#[test]
fn a_name_below_an_open_folder_is_told_as_its_whole_path() {
    let nameless =
        r#"linkat(AT_FDCWD</work>, "/proc/self/fd/19", 18</vault/backups>, "0001", AT_SYMLINK_FOLLOW) = 0"#;
    let expected =
        r#"linkat(AT_FDCWD</work>, "/proc/self/fd/19", "/vault/backups/0001", AT_SYMLINK_FOLLOW) = 0"#;
    assert_eq!(with_whole_paths(nameless), expected);
    assert_eq!(with_whole_paths(r#"rename("/a", "/b") = 0"#), r#"rename("/a", "/b") = 0"#);
}

#[test]
fn what_is_named_is_durable_before_what_names_it() {
    let site = site();
    let Some(calls) = trace(&site) else { return };
    let find = |from: usize, needles: [&str; 2]| {
        let found = calls[from..].iter().position(|call| needles.iter().all(|needle| call.contains(needle)));
        found.map(|at| from + at).unwrap_or_else(|| panic!("no {needles:?} after {from} in {calls:#?}"))
    };
    for repository in ["small.git", "large.git"] {
        let data = ["001.bundle\"", "001.refs\""].map(|name| {
            let file = format!("default/{repository}/0001/{name}");
            find(0, ["", &file])
        });
        let synced = find(*data.iter().max().expect("two"), ["syncfs(", ""]);
        let manifest = find(0, ["", &format!("manifests/default/{repository}/0001.toml\"")]);
        assert!(synced < manifest, "{repository}: a manifest before its data is durable: {calls:#?}");
        let latest = find(manifest, ["rename", &format!("{repository}/+latest.toml\"")]);
        assert!(
            find(manifest, ["syncfs(", ""]) < latest,
            "{repository}: +latest before the manifest: {calls:#?}"
        );
    }
    let last_latest = calls.iter().rposition(|call| call.contains("+latest.toml\")")).expect("a rename");
    let catalogue = find(last_latest, ["", "repositories/default.jsonl.zst\""]);
    let catalogue_synced = find(catalogue, ["syncfs(", ""]);
    let report = find(catalogue_synced, ["", "backups/0001/report.json\""]);
    // Single files are synced before they have their names, their folders after that.
    let marker = find(report, ["", "backup_ids/0001\""]);
    let record = find(marker, ["", "backup_information.json\""]);
    for (from, to) in [(report, marker), (marker, record), (record, calls.len())] {
        let synced = calls[from..to].iter().any(|call| call.starts_with("fsync("));
        assert!(synced, "nothing was synced between {from} and {to}: {calls:#?}");
    }
    let before = calls[..record].iter().rposition(|call| call.starts_with("fsync(")).expect("synced");
    let is_nameless = calls[before].contains("/backups/0001/#") && calls[before].contains("(deleted)");
    assert!(is_nameless || calls[before].contains("backup_information.json#"), "{}", calls[before]);
}
