//! Tests of single steps of the backup pipeline against what real git says of the same repository.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use packhorse_testkit::GitRepo;
use packhorse_vault::{ObjectFormat, Oid};

use super::{prerequisites, refs};
use crate::git::Objects;

fn oid(hex: &str) -> Oid {
    Oid::from_hex(hex.trim().as_bytes()).expect("git prints object ids")
}

fn boundary_of_git(repo: &GitRepo, tips: &[String], known: &[String]) -> Vec<Oid> {
    let mut args = vec!["rev-list".to_owned(), "--boundary".into()];
    args.extend(tips.iter().cloned());
    args.extend(known.iter().map(|oid| format!("^{oid}")));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = repo.run(&args);
    let mut edge: Vec<Oid> = output.lines().filter_map(|line| line.strip_prefix('-')).map(oid).collect();
    edge.sort();
    edge
}

#[test]
fn prerequisites_are_the_boundary_that_git_finds() {
    let folder = tempfile::tempdir().expect("temp folder");
    let repo = GitRepo::init(folder.path().join("r.git"));
    // A history with forks and merges: every new commit picks parents among the last ones.
    let mut commits: Vec<String> = Vec::new();
    for number in 0_usize..60 {
        let content = number.to_string();
        let parent = commits.len().checked_sub(1 + number * 7 % 5).and_then(|at| commits.get(at)).cloned();
        let mut commit = repo.commit_on(parent.as_deref(), &[("file", content.as_str())]);
        if number % 4 == 3 {
            let tree = repo.run(&["rev-parse", &format!("{commit}^{{tree}}")]);
            let other = commits[number * 5 % commits.len()].clone();
            let args = ["commit-tree", tree.trim(), "-p", &commit, "-p", &other, "-m", "merge"];
            commit = repo.run(&args).trim().to_owned();
        }
        commits.push(commit);
    }
    let mut objects = Objects::open(repo.path(), ObjectFormat::Sha1).expect("open");
    for round in 0_usize..40 {
        let pick = |salt: usize, count: usize| -> Vec<String> {
            (0..count).map(|i| commits[(round * 13 + salt * 17 + i * 29) % commits.len()].clone()).collect()
        };
        let (tips, known) = (pick(1, 1 + round % 3), pick(2, 1 + round % 4));
        let to_oids = |list: &[String]| list.iter().map(|hex| oid(hex)).collect::<Vec<_>>();
        let found = prerequisites::of(&mut objects, &to_oids(&tips), &to_oids(&known));
        let edge = boundary_of_git(&repo, &tips, &known);
        // Beyond git's boundary only tips that are old themselves are named: the bundle lists them without their object.
        let listed_but_old = |oid: &Oid| {
            to_oids(&tips).contains(oid)
                && repo
                    .run(
                        &["rev-list", "-1", &oid.to_string(), &format!("^{}", known.join(" ^"))]
                            .join(" ")
                            .split(' ')
                            .collect::<Vec<_>>(),
                    )
                    .trim()
                    .is_empty()
        };
        assert!(
            edge.iter().all(|oid| found.contains(oid)),
            "round {round}: git has {edge:?}, found {found:?}"
        );
        let extra: Vec<_> = found.iter().filter(|oid| !edge.contains(oid)).collect();
        assert!(extra.iter().all(|oid| listed_but_old(oid)), "round {round}: {extra:?} are no boundary");
    }
}

#[test]
fn no_ref_is_lost_while_refs_are_packed() {
    let folder = tempfile::tempdir().expect("temp folder");
    let repo = GitRepo::init(folder.path().join("r.git"));
    let tip = repo.commit("main", &[("a", "1")]);
    for number in 0..20 {
        repo.update_ref(format!("refs/heads/b{number}").as_str(), &tip);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let packing = std::thread::spawn({
        let (repo, stop, tip) = (GitRepo::open(repo.path()), Arc::clone(&stop), tip.clone());
        move || {
            while !stop.load(Relaxed) {
                repo.pack_refs();
                for number in 0..20 {
                    let name = format!("refs/heads/b{number}");
                    std::fs::write(repo.path().join(&name), format!("{tip}\n")).expect("make it loose again");
                }
            }
        }
    });
    let mut shortest = usize::MAX;
    for _ in 0..3000 {
        // A file that is being rewritten may be seen empty, which is an error, but never a shorter list.
        if let Ok((_, list, _)) = refs::read(repo.path(), ObjectFormat::Sha1) {
            shortest = shortest.min(list.len());
        }
    }
    stop.store(true, Relaxed);
    packing.join().expect("no panic");
    assert_eq!(shortest, 21);
}
