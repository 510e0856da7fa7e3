//! Real folders, links and bind mounts; without root there is nothing to be mounted.

use std::{fs, os::unix::fs::symlink, process::Command};

use super::*;

fn place(key: &str, path: PathBuf) -> Place {
    Place { key: key.to_owned(), path }
}

/// What is said of two paths below the same folder; none when they do not meet.
#[track_caller]
fn said(root: &Path, one: &str, other: &str) -> Option<String> {
    let places = [place("one", root.join(one)), place("other", root.join(other))];
    let said = check(&places).err().map(|problem| {
        assert_eq!((problem.kind, problem.subject), (ErrorKind::Invalid, Subject::Configuration));
        let on = problem.object.unwrap_or_default();
        let answer = problem.answer.unwrap_or_default();
        let key = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
        let how = if answer.ends_with("same folder") { "is" } else { "in" };
        format!("{} {how} {}", key(&answer), key(&on))
    });
    // The order in which they are named does not matter.
    let turned = [place("other", root.join(other)), place("one", root.join(one))];
    assert_eq!(check(&turned).is_err(), said.is_some(), "{one} {other}");
    said
}

#[test]
fn one_inside_another_is_found_through_links_and_before_it_exists() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    fs::create_dir_all(root.join("data/sub")).expect("create folders");
    fs::create_dir_all(root.join("database")).expect("create folder");
    symlink("data/sub", root.join("link")).expect("make link");
    for (one, other, expected) in [
        ("data", "database", None),
        ("data", "dat", None),
        ("data/a", "data/b", None),
        ("data", "data/sub", Some("other in one")),
        ("data/sub", "data", Some("one in other")),
        ("data", "data/", Some("other is one")),
        ("data", "data/sub/..", Some("other is one")),
        ("data", "link", Some("other in one")),
        ("link", "data/sub", Some("other is one")),
        ("data", "link/not/yet", Some("other in one")),
        ("not/yet", "not/yet/either", Some("other in one")),
        ("not/yet", "not/../not/yet", Some("other is one")),
    ] {
        assert_eq!(said(root, one, other).as_deref(), expected, "{one} {other}");
    }
    let same_key = [place("one", root.join("data")), place("one", root.join("data/sub"))];
    assert_eq!(check(&same_key), Ok(()));
    let within = [place("far", root.join("database")), place("near", root.join("link/x"))];
    let first = |folder: &str| first_within(&root.join(folder), &within).expect("looked up");
    assert_eq!(
        (first("data"), first("data/sub"), first("dat")),
        (Some("near".into()), Some("near".into()), None)
    );
}

/// A mount that ends with the test.
struct Bound(PathBuf);

impl Bound {
    fn new(from: &Path, to: &Path) -> Option<Self> {
        fs::create_dir_all(to).expect("create folder");
        let mounted = Command::new("mount").arg("--bind").args([from, to]).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(to.to_owned()))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}

#[test]
fn a_bind_mount_hides_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    fs::create_dir_all(root.join("data/sub/vault")).expect("create folders");
    fs::create_dir_all(root.join("far/deep")).expect("create folders");
    let Some(_sub) = Bound::new(&root.join("data/sub"), &root.join("elsewhere")) else {
        packhorse_testkit::skipped("nothing can be mounted");
        return;
    };
    let _below = Bound::new(&root.join("far"), &root.join("data/mounted")).expect("a second mount");
    for (one, other, expected) in [
        ("data", "elsewhere", Some("other in one")),
        ("data", "elsewhere/vault", Some("other in one")),
        ("data/sub/vault", "elsewhere/vault", Some("other is one")),
        ("data/sub/vault/x", "elsewhere", Some("one in other")),
        // What is mounted below a folder is archived with it.
        ("data", "far/deep", Some("other in one")),
        ("data/sub", "far/deep", None),
    ] {
        assert_eq!(said(root, one, other).as_deref(), expected, "{one} {other}");
    }
    // Another process of this kernel tells of its place by extents only.
    let told = place("told", root.join("elsewhere/vault")).locate().expect("located");
    let told = Location::told("told".into(), told.shown().into(), told.extents().to_vec());
    let own = place("own", root.join("data")).locate().expect("located");
    let problem = check_locations(&[own, told]).expect_err("nested");
    assert!(problem.to_string().contains("told") && problem.to_string().contains("own"), "{problem}");
}
