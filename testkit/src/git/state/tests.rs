//! The oracle must see every kind of difference, and none where there is none.

use std::path::Path;

use super::*;

fn fixture(path: &Path, options: &[&str]) -> GitRepo {
    let repo = GitRepo::init_with(path, options);
    let oid = repo.commit("main", &[("a", "1")]);
    repo.tag_annotated("v1", &oid);
    repo.update_ref("refs/tags/tree", &repo.run(&["rev-parse", "main^{tree}"]));
    repo.symbolic_ref("refs/heads/alias", "refs/heads/main");
    repo.set_hook("pre-receive.d/check", "#!/bin/sh\n", 0o755);
    std::os::unix::fs::symlink("pre-receive.d/check", repo.path().join("custom_hooks/link"))
        .expect("make a link");
    repo
}

fn reftable() -> &'static [&'static str] {
    if GitRepo::can_make_reftables() { &["--ref-format=reftable"] } else { &["--quiet"] }
}

#[test]
fn equal_content_in_other_storage_is_the_same() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let loose = fixture(&folder.path().join("loose.git"), &[]);
    let packed = fixture(&folder.path().join("packed.git"), reftable());
    packed.repack();
    packed.pack_refs();
    RepoState::assert_same(&loose.state(), &packed.state());
    assert_eq!(loose.state().head, Head::Symbolic("refs/heads/main".to_owned()));
    assert_eq!(loose.state().objects.oids().len(), 4);
}

#[test]
fn every_change_is_a_difference() {
    type Change = fn(&GitRepo);
    let changes: [(&str, Change); 8] = [
        ("HEAD: ", |repo| repo.set_head("refs/heads/nowhere")),
        ("HEAD: ", |repo| repo.detach_head(&repo.tip("main").expect("main exists"))),
        ("ref refs/tags/v1: missing", |repo| repo.delete_ref("refs/tags/v1")),
        ("ref refs/heads/main: ", |repo| drop(repo.commit("main", &[("a", "2")]))),
        ("ref refs/heads/alias: ", |repo| repo.symbolic_ref("refs/heads/alias", "refs/tags/v1")),
        ("object ", |repo| repo.update_ref("refs/tags/blob", &repo.blob("new"))),
        ("custom hook pre-receive.d/check: ", |repo| {
            repo.set_hook("pre-receive.d/check", "#!/bin/sh\n", 0o700)
        }),
        ("custom hook update: added", |repo| repo.set_hook("update", "", 0o755)),
    ];
    let folder = tempfile::tempdir().expect("temporary folder");
    let before = fixture(&folder.path().join("before.git"), &[]).state();
    for (number, (expected, change)) in changes.iter().enumerate() {
        let repo = fixture(&folder.path().join(format!("{number}.git")), &[]);
        change(&repo);
        let differences = before.differences(&repo.state());
        assert!(differences.iter().any(|line| line.starts_with(expected)), "{expected}: {differences:#?}");
    }
}

#[test]
fn an_empty_repository_is_unborn_and_sound() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for options in [&[], &["--object-format=sha256"][..], reftable()] {
        let repo = GitRepo::init_with(folder.path().join(options.concat()).join("empty.git"), options);
        let state = repo.state();
        assert_eq!(state.head, Head::Unborn("refs/heads/main".to_owned()));
        assert!(state.refs.is_empty() && state.objects.oids().is_empty() && state.custom_hooks.is_empty());
        repo.fsck();
    }
}
