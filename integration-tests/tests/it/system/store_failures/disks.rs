//! `file://` vaults on a disk that is full, too small, or read-only.
//!
//! Does not own: object stores. The disk is a small file system in memory, which only root can mount; without that the
//! test says why it does nothing.

use std::path::PathBuf;

use packhorse_testkit::{GitRepo, hermetic_command, run_checked};

use super::super::site::{Site, assert_restored, listed, noise, objects};

/// A mounted file system of a few megabytes; unmounted when dropped.
pub struct Disk(PathBuf);

impl Disk {
    pub fn mount(folder: PathBuf, size: &str) -> Option<Self> {
        let options = format!("size={size},mode=700");
        let mut mount = hermetic_command("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "packhorse-test"]).arg(&folder);
        let output = mount.output().expect("mount starts");
        if !output.status.success() {
            packhorse_testkit::skipped(&format!(
                "no disk: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
            return None;
        }
        Some(Self(folder))
    }

    pub fn remount(&self, how: &str) {
        run_checked(hermetic_command("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, so that nothing that is still open can keep it.
        let _ = hermetic_command("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_vault_on_a_full_or_read_only_disk_commits_nothing_and_keeps_what_it_has() {
    let site = Site::new();
    let Some(disk) = Disk::mount(site.folder("vault"), "12m") else { return };
    let config =
        format!("[vault]\nurl = '{}'\n{}", site.vault_url(), site.storage_section("default", "storage"));
    site.write("packhorse.toml", &config);
    let small = site.repo("storage/small.git");
    small.fill("main", 5);
    let ctl = |args| site.ctl("packhorse.toml", args);
    ctl(["create", "--backup-id=0001"]).run().expect_success();
    let before = small.state();
    let restores = |place: &str| {
        let storage = format!("--storage=default={}", site.folder(place).display());
        site.ctl("packhorse.toml", ["restore", "0001", &storage]).run().expect_success();
        assert_restored(&before, site.path(place).join("small.git"));
    };

    // Too small for one repository: the run ends there, and nothing of that repository is left.
    let large = site.repo("storage/large.git");
    large.commit("main", &[("noise", noise(1, 20 << 20))]);
    small.fill("main", 1);
    let after = small.state();
    let output = ctl(["create", "--backup-id=0002"]).run().expect_code(13);
    for named in ["large.git", "No space left", "nothing was committed"] {
        assert!(output.stderr.contains(named), "{named}: {output:#?}");
    }
    let left = objects(&site.path("vault"));
    assert!(!left.keys().any(|key| key.contains("large.git")), "{:?}", left.keys());

    // Full to the last byte: nothing can be committed.
    let filler = site.path("vault/filler");
    let mut dd = hermetic_command("dd");
    let full = dd.arg("if=/dev/zero").arg(format!("of={}", filler.display())).arg("bs=64k").output();
    assert!(!full.expect("dd starts").status.success(), "the disk has no end");
    let before_run = objects(&site.path("vault"));
    let output = ctl(["create", "--backup-id=0003"]).run().expect_code(13);
    assert!(output.stderr.contains("No space left"), "{output:#?}");
    assert_eq!(listed(site.ctl("packhorse.toml", [])), ["0001"]);
    restores("full");
    std::fs::remove_file(&filler).expect("remove the filler");

    disk.remount("ro");
    let output = ctl(["create", "--backup-id=0004"]).run().expect_code(13);
    assert!(output.stderr.contains("Read-only file system"), "{output:#?}");
    restores("read-only");
    disk.remount("rw");

    // Nothing has to be cleaned up by hand: with space, the next run is whole.
    assert!(
        objects(&site.path("vault")).keys().all(|key| before_run.contains_key(key)),
        "something was left"
    );
    std::fs::remove_dir_all(site.path("storage/large.git")).expect("remove the large repository");
    ctl(["create", "--backup-id=0005"]).run().expect_success();
    assert_eq!(GitRepo::open(site.path("storage/small.git")).state(), after);
    let storage = format!("--storage=default={}", site.folder("last").display());
    site.ctl("packhorse.toml", ["restore", "0005", &storage]).run().expect_success();
    assert_restored(&after, site.path("last/small.git"));
}
