//! The largest repository goes first, wherever it lies.
//!
//! Does not own: the queue (`agent::backup::queue`). The only slot is held by a git that waits until the agent has looked
//! at everything, so that what comes next is a choice, however fast the machine is. The large one has a FIFO for its packed
//! refs at first, so that it is known when it is looked at.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
};

use packhorse_testkit::{Listing, Operation, hermetic_command, run_checked};

use super::{
    super::{daemons::SOON, site::noise},
    Post,
    counted_git::CountedGit,
};

/// Small repositories, all of which come before the large one by name.
const SMALL: usize = 150;
/// How many may go before it: the one that is held, and some more while it goes from whoever looked at it to the queue,
/// which takes its time on a busy machine. In the order of names it would come after all of them.
const AT_MOST: usize = SMALL / 2;

/// Puts a FIFO in place of the repository's packed refs.
fn pack_refs_into_fifo(repo: &Path) {
    run_checked(hermetic_command("mkfifo").arg(repo.join("packed-refs")));
}

/// Waits until the FIFO is read, from which nothing comes, takes it away, and waits until the last look, at the objects.
fn wait_until_looked_at(repo: &Path) {
    let objects = Listing::of(&repo.join("objects"));
    let fifo = repo.join("packed-refs");
    // Opening waits for the other side.
    let mut end = OpenOptions::new().write(true).open(&fifo).expect("somebody reads it");
    fs::remove_file(fifo).expect("take it away");
    end.write_all(b"# pack-refs with: peeled fully-peeled sorted \n").expect("it is still read");
    drop(end);
    objects.wait(SOON);
}

#[test]
fn the_largest_repository_does_not_wait_for_all_that_come_before_it() {
    let git = CountedGit::new();
    let post = Post::started(&[&["only"]], &format!("jobs = 1\n{}", git.line()), "");
    for number in 0..SMALL {
        post.site.repo(&format!("only/a/{number:03}.git")).fill("main", 1);
    }
    // One that borrows is packed by git.
    let lender = format!("{}\n", post.site.folder("lender").display());
    fs::write(post.site.path("only/a/000.git/objects/info/alternates"), lender).expect("write alternates");
    post.site.repo("only/z.git").commit("main", &[("noise", noise(7, 2_000_000))]);
    let large = post.site.path("only/z.git");
    pack_refs_into_fifo(&large);
    git.close("a/000.git");
    let mut run = post.ctl(["create", "--backup-id", "0001"]).spawn();
    git.wait_for(1);
    wait_until_looked_at(&large);
    git.open();
    assert_eq!(run.wait(SOON), 0, "{}", run.lines().join("\n"));
    let log = post.store.log();
    let written = log.iter().filter(|r| r.operation != Operation::Get && r.key.ends_with("/001.bundle"));
    let order: Vec<&str> = written.map(|request| request.key.as_str()).collect();
    assert_eq!(order.len(), SMALL + 1, "{order:#?}");
    let place = order.iter().position(|key| key.contains("/z.git/")).expect("it is backed up");
    assert!(place <= AT_MOST, "the largest came {place} places after the first");
}
