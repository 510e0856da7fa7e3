//! What each kind of run asks of an object store: a ledger of requests, checked in.
//!
//! Does not own: what happens when the store fails (`faults`). A fault store without faults counts, so a request of any
//! part of the program is seen, retries too. Where a change makes another number right, the test prints the new ledger;
//! `ledger/requests.txt` is then written by hand, so that nobody adds a request without looking at it.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use packhorse_testkit::{Backupctl, FaultyS3, GitRepo, LoggedRequest};

use super::site::{Site, noise};

/// Repositories of a few objects; there is one more, which is larger than a part of an upload.
const SMALL: usize = 20;

struct Ledger {
    site: Site,
    server: FaultyS3,
    seen: usize,
    text: String,
}

/// What a request is about, without names that differ between runs and repositories.
fn kind(request: &LoggedRequest) -> String {
    let key = request.key.split('#').next().unwrap_or_default();
    let key = key.strip_prefix("v/").unwrap_or(key);
    let kind = match key.split('/').collect::<Vec<_>>().as_slice() {
        ["manifests", .., "+latest.toml"] => "newest manifest",
        ["manifests", ..] => "manifest",
        ["default", .., ""] => "repository",
        ["default", .., name] => name.split_once('.').map_or(*name, |(_, suffix)| suffix),
        [""] => "(everything)",
        ["backups", ""] => "backups",
        ["backups", _, ""] => "files of a backup",
        ["backups", _, "repositories", _] => "catalogue",
        ["backups", .., name] => name,
        ["backup_ids", ..] => "marker",
        ["packhorse", "runs", _, name] => name,
        ["packhorse", "restores", _] => "restore record",
        ["packhorse", "runs"] => "runs",
        ["packhorse", name] => name,
        _ => key,
    };
    format!("{:?} {kind}", request.operation)
}

impl Ledger {
    fn new() -> Self {
        let (site, server) = (Site::new(), FaultyS3::start());
        for number in 0..SMALL {
            site.repo(&format!("storage/group/{number:02}.git")).fill("main", 3);
        }
        let large = site.repo("storage/large.git");
        large.commit("main", &[("noise", noise(1, 10 << 20))]);
        large.repack();
        let storage = site.storage_section("default", "storage");
        site.write("packhorse.toml", &format!("{}{storage}", server.vault_section("v")));
        Self { site, server, seen: 0, text: String::new() }
    }

    fn ctl<const N: usize>(&self, args: [&str; N]) -> Backupctl {
        self.site.ctl("packhorse.toml", args).envs(self.server.env("ctl"))
    }

    fn change(&self, repositories: usize) {
        for number in 0..repositories {
            let path = self.site.path(&format!("storage/group/{number:02}.git"));
            GitRepo::open(path).commit("main", &[("changed", noise(number as u64, 100))]);
        }
    }

    /// Runs a call, and notes nothing.
    fn pass(&mut self, call: Backupctl) {
        call.run().expect_success();
        self.seen = self.server.log().len();
    }

    /// Notes what a call asks for, and gives it.
    fn enter(&mut self, title: &str, call: Backupctl) -> BTreeMap<String, usize> {
        call.run().expect_success();
        let log = self.server.log();
        let mut counts = BTreeMap::new();
        // IDs are given, because one that was taken in the same second is looked for again. How many segments of the
        // journal there are depends on how long a run takes.
        for request in log[self.seen..].iter().filter(|request| !request.key.contains("/segments/")) {
            *counts.entry(kind(request)).or_default() += 1;
        }
        self.seen = log.len();
        let _ = writeln!(self.text, "{title}");
        for (kind, count) in &counts {
            let _ = writeln!(self.text, "{count:6}  {kind}");
        }
        counts
    }
}

fn puts(counts: &BTreeMap<String, usize>) -> usize {
    counts
        .iter()
        .filter(|(kind, _)| kind.starts_with("Create ") || kind.starts_with("Put"))
        .map(|(_, n)| n)
        .sum()
}

#[test]
fn requests_of_every_kind_of_run_are_as_they_were() {
    let mut ledger = Ledger::new();
    let first = ledger.enter(
        "full backup of 20 small repositories and a large one",
        ledger.ctl(["create", "--backup-id", "0001"]),
    );
    let nothing = ledger.enter("nothing changed", ledger.ctl(["create", "--backup-id", "0002"]));
    ledger.change(5);
    let changed = ledger.enter("5 of them changed", ledger.ctl(["create", "--backup-id", "0003"]));
    ledger.change(5);
    ledger.enter("the same 5 changed again", ledger.ctl(["create", "--backup-id", "0004"]));
    ledger.enter("full backup, with an earlier one", ledger.ctl(["create", "--backup-id", "0005", "--full"]));
    ledger.enter("list", ledger.ctl(["list"]));
    ledger.enter("show", ledger.ctl(["show", "latest"]));
    let target = |name: &str| format!("--storage=default={}", ledger.site.folder(name).display());
    let (whole, one) = (target("whole"), target("one"));
    let restore = ledger.ctl(["restore", "latest~1"]).arg(whole);
    ledger.enter("restore of the backup with chains of three steps", restore);
    let restore = ledger.ctl(["restore", "latest", "--repository=large.git"]).arg(one);
    ledger.enter("restore of the large repository", restore);

    for id in ["0006", "0007", "0008", "0009"] {
        ledger.change(5);
        ledger.pass(ledger.ctl(["create", "--backup-id", id]));
    }
    ledger.change(5);
    ledger.enter("5 chains of five steps go on", ledger.ctl(["create", "--backup-id", "0010"]));

    // What is promised: for a changed repository at most two writes beside its bundle, for an unchanged one nothing.
    let of_the_run = puts(&nothing);
    assert_eq!(puts(&changed) - of_the_run, 5 * 3, "bundle, refs list and manifest: {changed:#?}");
    assert_eq!(first.get("Create bundle"), Some(&SMALL));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/system/ledger/requests.txt");
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(ledger.text == expected, "{path} says\n{expected}\nbut it was\n{}", ledger.text);
}
