//! Repositories that change while they are backed up: pushed to, repacked, pruned, removed and made again.
//!
//! Does not own: how fast that is. The noise and the backups run side by side until both have done a number of rounds.
//! What a backup holds must be sound, must be the same for every reader, and must be made of refs that existed.

mod noise;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use packhorse_model::RunSummary;
use packhorse_testkit::{GitRepo, RepoState};

use self::noise::{Log, during};
use crate::world::World;

/// Backups beside the noise.
const BACKUPS: usize = 6;

/// Restores a backup with whatever it has of `busy.git`, and holds it against the log.
#[track_caller]
fn assert_sound(world: &World, id: &str, code: i32, log: &Log) -> bool {
    let (folder, _) = world.restore_with(id, &[], code);
    let path = folder.join("busy.git");
    if !path.exists() {
        return false;
    }
    let restored = GitRepo::open(&path);
    restored.fsck();
    let state = restored.state();
    for (name, entry) in &state.refs {
        assert!(log.had(name, &entry.oid), "backup {id}: {} never was {}", name.escape_ascii(), entry.oid);
    }
    world.replay(id, "busy.git", &state);
    fs::remove_dir_all(folder).expect("remove what was restored");
    true
}

/// Backs up beside the noise; every run must be complete unless `may_fail`, and then must name the item.
#[track_caller]
fn survive(world: &World, log: &Log, may_fail: bool, noise: impl FnMut(u64) + Send) {
    let mut runs = Vec::new();
    during(noise, |rounds| {
        for number in 0..BACKUPS {
            rounds.wait_for_more();
            let (id, call) = world.create();
            let extra: &[&str] = if number % 2 == 1 { &["--full"] } else { &[] };
            let output = call.args(extra).arg("--json").run();
            assert!(output.code == 0 || (may_fail && output.code == 3), "{output:?}");
            let summary: RunSummary = serde_json::from_str(&output.stdout).expect("a run summary");
            let failed: Vec<&str> = summary.failures.iter().map(|failure| failure.item.as_str()).collect();
            let expected = if output.code == 3 { vec!["busy.git"] } else { vec![] };
            assert_eq!(failed, expected, "{:#?}", summary.failures);
            runs.push((id, output.code));
        }
    });
    let sound = runs.iter().filter(|(id, code)| assert_sound(world, id, *code, log)).count();
    eprintln!("{sound} of {} runs had the busy repository; codes {runs:?}", runs.len());
    assert!(may_fail || sound == runs.len());
    // When it is quiet again, nothing is missing.
    let last = world.backup(&[]);
    world.check(&[last]);
}

/// Not a failure: what is gone is not there to be backed up. It is counted and named.
#[test]
fn removed_while_it_is_packed() {
    let world = World::new();
    world.repo("quiet.git").commit("main", &[("a", "1")]);
    let repo = world.repo("busy.git");
    repo.fill("main", 10);
    world.backup(&[]);
    // So many commits are packed by git.
    repo.fill("main", GitRepo::COMMITS_FOR_GIT);
    let git = world.path("removing-git");
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *\" pack-objects \"*) rm -rf '{}'; echo gone >&2; exit 128;; esac\nexec git \"$@\"\n",
        repo.path().display()
    );
    fs::write(&git, script).expect("write script");
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).expect("chmod");
    let (id, summary) = world.run(&["--git", git.to_str().expect("UTF-8")], 0);
    let counts = summary.repositories;
    assert_eq!((counts.gone, counts.unchanged, counts.failed), (1, 1, 0));
    assert_eq!(summary.storages[0].gone, ["busy.git"]);
    let folder = world.restore(&id);
    assert!(folder.join("quiet.git/HEAD").exists() && !folder.join("busy.git").exists());
}

/// Whatever is left of a repository, it was not deleted.
#[test]
fn loses_its_head_while_it_is_packed() {
    let world = World::new();
    let repo = world.repo("busy.git");
    repo.fill("main", 10);
    let good = world.backup(&[]);
    repo.fill("main", GitRepo::COMMITS_FOR_GIT);
    let git = world.path("beheading-git");
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *\" pack-objects \"*) rm '{}/HEAD'; exit 128;; esac\nexec git \"$@\"\n",
        repo.path().display()
    );
    fs::write(&git, script).expect("write script");
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).expect("chmod");
    let (id, summary) = world.run(&["--git", git.to_str().expect("UTF-8")], 3);
    assert_eq!((summary.repositories.failed, summary.repositories.gone), (1, 0));
    let said = summary.failures[0].problem.to_string();
    assert!(said.contains("has no HEAD"), "{said}");
    let (folder, restored) = world.restore_with(&id, &[], 3);
    assert_eq!(restored.failures[0].item, "busy.git", "as it was last, and named");
    RepoState::assert_same(&good.states["busy.git"], &GitRepo::open(folder.join("busy.git")).state());
}

#[test]
fn pushed_to_and_committed_to() {
    let (world, log) = (World::new(), Log::default());
    let repo = world.repo("busy.git");
    let work = GitRepo::init(world.path("work.git"));
    log.commit(&repo, "refs/heads/main");
    survive(&world, &log, false, |round| {
        log.commit(&repo, "refs/heads/main");
        work.commit("pushed", &[("a", round.to_string())]);
        let topic = format!("refs/heads/topic-{}", round % 5);
        let tip = work.tip("refs/heads/pushed").expect("was committed");
        log.note(&topic, &tip);
        let refspec = format!("+{tip}:{topic}");
        work.run(&["push", "--quiet", repo.path().to_str().expect("UTF-8"), &refspec]);
    });
}

#[test]
fn repacked_and_pack_refs() {
    let (world, log) = (World::new(), Log::default());
    let repo = world.repo("busy.git");
    repo.fill("big", 60);
    log.note("refs/heads/big", &repo.tip("refs/heads/big").expect("was filled"));
    survive(&world, &log, false, |round| {
        log.commit(&repo, &format!("refs/heads/branch-{}", round % 7));
        repo.pack_refs();
        match round % 3 {
            0 => repo.repack(),
            1 => drop(repo.run(&["repack", "-d", "-q", "--geometric=2", "--write-midx"])),
            _ => repo.gc(),
        }
    });
}

#[test]
fn force_pushed_and_pruned_at_once() {
    let (world, log) = (World::new(), Log::default());
    let repo = world.repo("busy.git");
    let base = repo.fill("main", 20);
    log.note("refs/heads/main", &base);
    survive(&world, &log, true, |round| {
        let name = format!("refs/heads/rewritten-{}", round % 3);
        let tip = repo.commit_on(Some(&base), &[("again", round.to_string())]);
        log.note(&name, &tip);
        repo.update_ref(&name, &tip);
        repo.gc();
    });
}

#[test]
fn removed_and_made_again() {
    let (world, log) = (World::new(), Log::default());
    world.repo("quiet.git").commit("main", &[("a", "1")]);
    let template = GitRepo::init(world.path("template.git"));
    template.fill("main", 20);
    log.note("refs/heads/main", &template.tip("refs/heads/main").expect("was filled"));
    let (place, away) = (world.storage().join("busy.git"), world.path("away"));
    let clone_to = |path: &Path| {
        let path = path.to_str().expect("UTF-8");
        template.run(&["clone", "--quiet", "--bare", "--no-local", ".", path]);
    };
    survive(&world, &log, true, |round| {
        // Made aside and moved in, as an instance does it; every third time made in place.
        let aside = world.storage().join("+gitaly/tmp/new.git");
        if round % 3 != 0 {
            clone_to(&aside);
        }
        if place.exists() && round % 2 == 0 {
            fs::rename(&place, &away).expect("move away");
            fs::remove_dir_all(&away).expect("remove what was moved away");
        } else if place.exists() {
            fs::remove_dir_all(&place).expect("remove in place");
        }
        if round % 3 == 0 {
            clone_to(&place);
        } else {
            fs::rename(&aside, &place).expect("move in");
        }
    });
}
