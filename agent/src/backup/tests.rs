//! Tests of single steps of the backup pipeline against what real git says of the same repository.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use packhorse_model::{ObjectDigest, Outcome, RepoFilter, VaultSettings};
use packhorse_service::config::GitalyManifests;
use packhorse_testkit::GitRepo;
use packhorse_vault::{
    Attempt, CatalogueEntry, CatalogueReader, ObjectFormat, ObjectKey, Oid, RunAttempt, Vault,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    BackupEvent, BackupJob, Patience, Progress, Rules, Slots, StorageResult, back_up_storage, pack_proof,
    prerequisites, refs,
};
use crate::git::Objects;

/// Backs up a storage into a vault, which must succeed, and shows how far it came.
async fn back_up(
    vault: &Vault,
    root: &Path,
    id: &str,
    base: Option<ObjectDigest>,
) -> (StorageResult, Arc<Progress>) {
    run(vault, job(root, id, base)).await
}

pub(super) fn job(root: &Path, id: &str, base: Option<ObjectDigest>) -> BackupJob {
    BackupJob {
        attempt: RunAttempt::first(id.parse().expect("valid ID")),
        storage: "default".parse().expect("valid name"),
        root: root.to_owned(),
        base,
        gone_unconfirmed: false,
        filter: RepoFilter::default(),
        rules: Rules { max_chain: 64, full: false, prove_later: false, max_garbage: 0.0, index_from: 0 },
        manifests: GitalyManifests::Latest,
        dry_run: false,
        slots: Slots::alone(2),
        patience: Patience::default(),
        stopping: CancellationToken::new(),
        unfinished: Vec::new(),
        git: "git".into(),
    }
}

async fn run(vault: &Vault, job: BackupJob) -> (StorageResult, Arc<Progress>) {
    let (events, mut told) = mpsc::channel(64);
    let progress = Arc::new(Progress::default());
    let cancel = CancellationToken::new();
    let result = back_up_storage(vault.clone(), job, Arc::clone(&progress), events, cancel).await;
    if let Some(event) = told.recv().await {
        panic!("{event:?}");
    }
    (result.expect("backup"), progress)
}

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
        let found = prerequisites::of(&mut objects, &to_oids(&tips), &to_oids(&known)).prerequisites;
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
fn few_commits_on_tips_of_the_base_need_no_other_tips() {
    let folder = tempfile::tempdir().expect("temp folder");
    let repo = GitRepo::init(folder.path().join("r.git"));
    let old: Vec<String> = (0..80).map(|n| repo.commit("main", &[("file", n.to_string())])).collect();
    let side = repo.commit_on(Some(&old[70]), &[("side", "1")]);
    let first = repo.commit_on(Some(&old[79]), &[("file", "first")]);
    let tree = repo.run(&["rev-parse", &format!("{first}^{{tree}}")]);
    let merge = repo.run(&["commit-tree", &tree, "-p", &first, "-p", &side, "-m", "merge"]);
    let tag = repo.tag_annotated("new", &merge);
    let mut objects = Objects::open(repo.path(), ObjectFormat::Sha1).expect("open");
    let mut near = |tips: &[&String], known: &[&String]| {
        let known = known.iter().map(|hex| oid(hex)).collect();
        let tips: Vec<Oid> = tips.iter().map(|hex| oid(hex)).collect();
        prerequisites::near(&mut objects, &tips, &known).map(|edge| edge.prerequisites)
    };
    let edge = |known: &[&String]| {
        let known: Vec<String> = known.iter().map(|hex| (*hex).clone()).collect();
        Some(boundary_of_git(&repo, std::slice::from_ref(&merge), &known))
    };
    // Tips of the base that nothing new builds on are not named.
    let known = [&old[79], &side, &old[3]];
    assert_eq!(near(&[&tag], &known), edge(&known));
    assert_eq!(near(&[&merge], &known).map(|edge| edge.len()), Some(2));
    // A new name of an old tip.
    assert_eq!(near(&[&old[3]], &known), Some(vec![oid(&old[3])]));
    assert_eq!(near(&[], &known), Some(vec![]));
    // Old history met at its side, a root, a long way, and a tip that is gone.
    assert_eq!(near(&[&merge], &[&old[79]]).map(|edge| edge.len()), None);
    assert_eq!(near(&[&old[20]], &[&old[79]]), None);
    assert_eq!(near(&[&old[79]], &[&old[10]]), None);
    let gone = "1234567890123456789012345678901234567890".to_owned();
    assert_eq!(near(&[&gone], &[&gone]), None);
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
        // A file that is being rewritten may be seen empty, which leaves it out by name, but nothing is just not there.
        if let Ok(((_, list, _), left_out)) = refs::read(repo.path(), ObjectFormat::Sha1) {
            shortest = shortest.min(list.len() + left_out.len());
        }
    }
    stop.store(true, Relaxed);
    packing.join().expect("no panic");
    assert_eq!(shortest, 21);
}

#[test]
fn no_ref_is_lost_while_it_is_renamed() {
    let folder = tempfile::tempdir().expect("temp folder");
    let repo = GitRepo::init(folder.path().join("r.git"));
    let tip = repo.commit("main", &[("a", "1")]);
    // So many that a branch may move from the last of them to the first while they are read.
    for number in 0..500 {
        fs::write(repo.path().join(format!("refs/heads/b{number}")), format!("{tip}\n")).expect("write ref");
    }
    let names = ["refs/heads/aaa", "refs/tags/zzz"];
    repo.update_ref(names[0], &tip);
    let stop = Arc::new(AtomicBool::new(false));
    let renaming = std::thread::spawn({
        let (repo, stop, tip) = (GitRepo::open(repo.path()), Arc::clone(&stop), tip.clone());
        move || {
            let rename = |from: &str, to: &str| {
                let commands = format!("create {to} {tip}\ndelete {from}\n");
                repo.run_with_input(&["update-ref", "--stdin"], commands.as_bytes());
            };
            while !stop.load(Relaxed) {
                rename(names[0], names[1]);
                rename(names[1], names[0]);
            }
        }
    });
    let mut read = 0;
    for _ in 0..300 {
        // Refs that never stand still are no list at all.
        let Ok(((_, list, _), left_out)) = refs::read(repo.path(), ObjectFormat::Sha1) else { continue };
        read += 1;
        assert_eq!(left_out.len(), 0);
        let there = names.iter().filter(|name| list.get(name.as_bytes()).is_some()).count();
        if there == 0 || list.len() < 502 {
            stop.store(true, Relaxed);
            panic!("{there} of two names, {} refs, at the {read}th time", list.len());
        }
    }
    stop.store(true, Relaxed);
    renaming.join().expect("no panic");
    assert!(read > 0, "it was never read");
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_repositories_cost_no_request_however_many_there_are() {
    let folder = tempfile::tempdir().expect("temp folder");
    let vault = Vault::in_memory();
    let mut costs = Vec::new();
    for count in [3, 30] {
        let root = folder.path().join(count.to_string());
        for number in 0..count {
            GitRepo::init(root.join(format!("{number}.git"))).commit("main", &[("a", "1")]);
        }
        let (first, progress) = back_up(&vault, &root, &format!("first-{count}"), None).await;
        assert_eq!((first.counts.backed_up, first.failures), (count, 0));
        // Everything that was stored was seen on its way.
        assert_eq!(progress.snapshot().bytes, first.bytes_new);
        let before = vault.requests().total();
        let (second, progress) = back_up(&vault, &root, &format!("second-{count}"), first.catalogue).await;
        assert_eq!((second.counts.unchanged, second.bytes_new), (count, 0));
        assert_eq!((progress.snapshot().bytes, progress.snapshot().done), (0, count));
        costs.push(vault.requests().total() - before);
    }
    // The base catalogue is read, the new one written.
    assert_eq!(costs, [2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_attempt_wrote_is_told_as_it_was_then() {
    let folder = tempfile::tempdir().expect("temp folder");
    // In memory a vault is as far away as an object store.
    for vault in [Vault::in_memory(), open(&folder.path().join("vault"))] {
        let root = folder.path().join(if vault.local_folder().is_some() { "a" } else { "b" });
        let repo = GitRepo::init(root.join("r.git"));
        repo.fill("main", 2);
        let (first, _) = back_up(&vault, &root, "0001", None).await;
        let line = async |of: StorageResult| {
            let (digest, storage) =
                (of.catalogue.expect("a catalogue"), "default".parse().expect("valid name"));
            let mut lines = CatalogueReader::open(&vault, &digest, &storage).await.expect("open catalogue");
            lines.next().expect("a line").expect("a whole one")
        };
        let first = line(first).await;
        // The repository moves on before the second attempt, which finds the manifest, and no journal.
        repo.fill("later", 1);
        let mut again = job(&root, "0001", None);
        again.attempt.attempt = Attempt::again(jiff::Timestamp::now(), 7);
        again.unfinished = vec![again.attempt.id.clone()];
        let second = line(run(&vault, again).await.0).await;
        assert_eq!((first.refs, second.refs), (1, 1));
        assert_eq!((second.manifest, second.fingerprint), (first.manifest, first.fingerprint));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vault_has_lost_is_told_when_a_chain_would_go_on() {
    let folder = tempfile::tempdir().expect("temp folder");
    let (vault, root) = (open(&folder.path().join("vault")), folder.path().join("a"));
    let repos = ["a.git", "b.git", "c.git"].map(|name| GitRepo::init(root.join(name)));
    for repo in &repos {
        repo.fill("main", 2);
    }
    let (first, _) = back_up(&vault, &root, "0001", None).await;
    assert_eq!(first.remarks, []);
    let bundle = |name: &str| folder.path().join("vault/default").join(name).join("0001/001.bundle");
    fs::remove_file(bundle("a.git")).expect("remove bundle");
    fs::write(bundle("b.git"), "short").expect("damage bundle");
    for repo in &repos {
        repo.fill("more", 1);
    }
    let (second, _) = back_up(&vault, &root, "0002", first.catalogue).await;
    assert_eq!((second.counts.backed_up, second.failures, second.remarks.len()), (3, 0, 1));
    let said = second.remarks[0].problem.to_string();
    assert!(said.contains("objects of 2 repositories are gone or damaged: a.git, b.git"), "{said}");
    let (third, _) = back_up(&vault, &root, "0003", second.catalogue).await;
    assert_eq!((third.counts.unchanged, third.remarks), (3, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_cannot_be_read_to_its_end_costs_increments_and_no_backup() {
    let folder = tempfile::tempdir().expect("temp folder");
    let (vault, root) = (Vault::in_memory(), folder.path().join("a"));
    for name in ["a.git", "b.git", "c.git"] {
        GitRepo::init(root.join(name)).commit("main", &[("a", "1")]);
    }
    let (first, _) = back_up(&vault, &root, "0001", None).await;
    let storage = "default".parse().expect("valid name");
    let lines = CatalogueReader::open(&vault, &first.catalogue.expect("a catalogue"), &storage).await;
    let lines: Vec<String> = lines
        .expect("open")
        .map(|line| serde_json::to_string(&line.expect("a line")).expect("JSON"))
        .collect();
    let odd = [
        lines[1].replace("b.git\",", "../b.git\","),
        lines[1].replace("backed_up", "hacked"),
        lines[0].clone(),
        String::new(),
        " ".repeat(20 << 20),
    ];
    for (number, odd) in odd.into_iter().enumerate() {
        let text = [lines[0].as_str(), &odd, &lines[2]].join("\n") + "\n";
        let bytes = zstd::encode_all(text.as_bytes(), 3).expect("compress");
        let key = ObjectKey::from_stored(&format!("backups/0001/repositories/odd{number}")).expect("a key");
        let base = vault.create(&key, bytes.into()).await.expect("create");
        let (result, _) = back_up(&vault, &root, &format!("01{number:02}"), Some(base)).await;
        assert_eq!(
            (result.counts.unchanged, result.counts.backed_up, result.failures),
            (1, 2, 0),
            "{number}"
        );
        let said = result.remarks[0].problem.to_string();
        assert!(result.remarks.len() == 1 && said.contains("read base catalogue"), "{said}");
    }
}

/// A storage of which the last repository moves to the front while the walk is between the two, and what is told of it.
async fn moved_behind_the_walk(
    vault: &Vault,
    root: &Path,
    id: &str,
    base: Option<ObjectDigest>,
) -> Vec<String> {
    let folder = root.parent().expect("a folder");
    let (last, front) = (root.join("zz.git"), root.join("0.git"));
    // Both readers wait for git, and the walk soon for the readers: it is far from the last one then.
    let git = folder.join(format!("git-{id}"));
    let script =
        format!("#!/bin/sh\nmv -n {} {} 2>/dev/null\nexec git \"$@\"\n", last.display(), front.display());
    fs::write(&git, script).expect("write script");
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).expect("chmod");
    let mut job = job(root, id, base);
    job.slots = Slots::alone(1);
    job.git = git;
    let (events, mut told) = mpsc::channel(64);
    let (progress, cancel) = (Arc::new(Progress::default()), CancellationToken::new());
    let result = back_up_storage(vault.clone(), job, progress, events, cancel).await.expect("backup");
    let mut failures = Vec::new();
    while let Some(BackupEvent::Failed(failure)) = told.recv().await {
        failures.push(failure.item);
    }
    assert_eq!(result.failures, failures.len() as u64);
    assert!(front.exists() && !last.exists());
    failures
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_moves_behind_the_walk_is_named() {
    if !GitRepo::can_make_reftables() {
        return packhorse_testkit::skipped("this git makes no reftables");
    }
    let folder = tempfile::tempdir().expect("temp folder");
    let (vault, root) = (Vault::in_memory(), folder.path().join("a"));
    for name in ["a.git", "b.git"] {
        GitRepo::init_with(root.join(name), &["--ref-format=reftable"]).commit("main", &[("a", "1")]);
    }
    // More than the readers and the channel between them and the walk take.
    for number in 0..600 {
        let dir = root.join(format!("c{number}.git"));
        for part in ["objects", "refs"] {
            fs::create_dir_all(dir.join(part)).expect("create");
        }
        fs::write(dir.join("HEAD"), "ref: refs/heads/main\n").expect("write");
    }
    GitRepo::init(root.join("zz.git")).commit("main", &[("a", "1")]);
    let (first, _) = back_up(&vault, &root, "0001", None).await;
    assert_eq!(first.counts.backed_up, 3);
    // With a base the old path is gone. Without one nothing says that it ever was.
    assert_eq!(moved_behind_the_walk(&vault, &root, "0002", first.catalogue.clone()).await, ["0.git"]);
    fs::rename(root.join("0.git"), root.join("zz.git")).expect("move back");
    assert_eq!(moved_behind_the_walk(&vault, &root, "0003", None).await, ["0.git"]);
    // Where it stands still it is backed up, and one made since is no failure of anybody.
    let (after, _) = back_up(&vault, &root, "0004", first.catalogue).await;
    assert_eq!((after.counts.backed_up, after.counts.gone, after.failures), (1, 1, 0));
}

/// Backs up a storage whose only repository is damaged, and gives its line.
async fn damaged(vault: &Vault, job: BackupJob) -> CatalogueEntry {
    let (events, mut told) = mpsc::channel(64);
    let (progress, cancel) = (Arc::new(Progress::default()), CancellationToken::new());
    let result = back_up_storage(vault.clone(), job, progress, events, cancel).await.expect("backup");
    let Some(BackupEvent::Failed(failure)) = told.recv().await else { panic!("nothing is told") };
    assert_eq!((result.counts.damaged, result.failures, failure.item.as_str()), (1, 1, "r.git"));
    let (digest, storage) = (result.catalogue.expect("a catalogue"), "default".parse().expect("valid name"));
    let mut lines = CatalogueReader::open(vault, &digest, &storage).await.expect("open catalogue");
    let line = lines.next().expect("a line").expect("a whole one");
    assert_eq!(line.error, Some(failure.problem));
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_adopts_a_step_tells_what_is_left_out_of_it() {
    let folder = tempfile::tempdir().expect("temp folder");
    let (vault, root) = (Vault::in_memory(), folder.path().join("a"));
    let repo = GitRepo::init(root.join("r.git"));
    repo.fill("main", 2);
    let lost = repo.commit("side", &[("a", "1")]);
    fs::remove_file(repo.path().join("objects").join(&lost[..2]).join(&lost[2..])).expect("remove object");
    let first = damaged(&vault, job(&root, "0001", None)).await;
    assert_eq!((first.outcome, first.refs), (Outcome::Damaged, 1));
    // Neither another attempt nor another run has the catalogue of the first, and both find its manifest.
    let (mut again, mut next) = (job(&root, "0001", None), job(&root, "0002", None));
    again.attempt.attempt = Attempt::again(jiff::Timestamp::now(), 7);
    for mut other in [again, next.clone()] {
        other.unfinished = vec!["0001".parse().expect("valid ID")];
        let line = damaged(&vault, other).await;
        assert_eq!((&line.manifest, &line.damage), (&first.manifest, &first.damage));
        assert_eq!((line.refs, line.outcome), (1, Outcome::Damaged));
    }
    next.dry_run = true;
    next.unfinished = vec!["0001".parse().expect("valid ID")];
    let (events, _told) = mpsc::channel(64);
    let looked = back_up_storage(vault, next, Arc::default(), events, CancellationToken::new()).await;
    assert_eq!(looked.expect("dry run").counts.damaged, 1);
}

pub(super) fn open(folder: &Path) -> Vault {
    std::fs::create_dir_all(folder).expect("create the vault's folder");
    packhorse_vault::open(&VaultSettings::new(format!("file://{}", folder.display()))).expect("open vault")
}

#[test]
fn every_pack_that_git_may_copy_from_is_proven() {
    let folder = tempfile::tempdir().expect("temp folder");
    let pool = GitRepo::init(folder.path().join("pool.git"));
    pool.fill("main", 40);
    pool.repack();
    let fork = GitRepo::init(folder.path().join("fork.git"));
    fs::write(fork.path().join("objects/info/alternates"), "../../pool.git/objects\n")
        .expect("write alternates");
    fork.fill("main", 40);
    fork.repack();
    let prove = || pack_proof::prove(fork.path(), ObjectFormat::Sha1, &CancellationToken::new());
    assert_eq!(prove(), Ok(()));
    for repo in [&pool, &fork] {
        let packs = fs::read_dir(repo.path().join("objects/pack")).expect("read packs");
        let mut packs = packs.map(|entry| entry.expect("entry").path());
        let pack = packs.find(|path| path.extension().is_some_and(|found| found == "pack")).expect("a pack");
        let intact = fs::read(&pack).expect("read pack");
        fs::set_permissions(&pack, fs::Permissions::from_mode(0o644)).expect("chmod");
        for at in [20, intact.len() / 2, intact.len() - 1] {
            let mut damaged = intact.clone();
            damaged[at] ^= 1;
            fs::write(&pack, damaged).expect("write pack");
            let finding = prove().expect_err("damaged");
            assert!(finding.contains(&*pack.file_name().expect("a name").to_string_lossy()), "{finding}");
        }
        fs::write(&pack, intact).expect("write pack");
    }
}
