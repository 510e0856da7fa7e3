//! What a copy relies on, and what it learns: packs that are closed, garbage, proofs that are left for later.

use std::{collections::BTreeSet, fs};

use packhorse_testkit::GitRepo;
use packhorse_vault::{ClosedPack, Oid};

use super::{Desk, Knowledge, PackCopy, Parts, Trust, files, noise, pack_loose};

fn trust(known: &[ClosedPack]) -> Trust {
    Trust { known: known.to_vec(), ..Trust::default() }
}

/// The packs' names, as their files have them.
fn names(repo: &GitRepo) -> BTreeSet<String> {
    let name = |path: std::path::PathBuf| path.file_stem().expect("a name").to_string_lossy()[5..].to_owned();
    files(repo, ".pack").into_iter().map(name).collect()
}

fn closed(known: &Knowledge) -> BTreeSet<String> {
    known.closed.iter().map(|closed| closed.pack.to_string()).collect()
}

/// Leaves these objects, in one more pack without a bitmap, and those of kept packs.
fn pack(repo: &GitRepo, names: &str, keep: bool) {
    let old = files(repo, "");
    let base = repo.path().join("objects/pack/pack");
    repo.run_with_input(&["pack-objects", "-q", base.to_str().expect("UTF-8")], names.as_bytes());
    let old = old.into_iter().filter(|_| !keep);
    old.for_each(|path| fs::remove_file(path).expect("remove file"));
    repo.run(&["prune-packed"]);
}

fn reachable(repo: &GitRepo) -> String {
    repo.run(&["rev-list", "--objects", "--all", "--no-object-names"])
}

fn learn(desk: &Desk, repo: &GitRepo, trust: &Trust) -> Knowledge {
    desk.prepare_with(repo, trust).unwrap_or_else(|reason| panic!("not copied: {reason}")).1
}

fn is_file(copy: &PackCopy) -> bool {
    matches!(copy.parts, Parts::File(..))
}

/// A repository of one pack that lacks a blob, and that blob.
fn lacking(desk: &Desk) -> (GitRepo, String) {
    let repo = desk.repo();
    repo.fill("main", 10);
    let commit = repo.commit("main", &[("folder/lost", "a blob")]);
    let lost = repo.run(&["rev-parse", &format!("{commit}:folder/lost")]);
    let names = reachable(&repo);
    let names: Vec<&str> = names.lines().filter(|name| *name != lost).collect();
    pack(&repo, &names.join("\n"), false);
    fs::remove_file(repo.path().join("objects").join(&lost[..2]).join(&lost[2..])).expect("lose it");
    (repo, lost)
}

#[test]
fn what_is_known_to_be_closed_is_not_walked() {
    let desk = Desk::new();
    let (repo, lost) = lacking(&desk);
    let pack: Oid = Oid::from_hex(names(&repo).first().expect("a pack").as_bytes()).expect("a hash");
    let said = desk.prepare(&repo).err().expect("it is walked");
    assert!(said.to_string().contains(&lost), "{said}");
    // As far as anybody knows.
    let wrong = ClosedPack { pack, needs: vec![] };
    let (copy, knowledge) =
        desk.prepare_with(&repo, &trust(std::slice::from_ref(&wrong))).expect("not walked");
    assert!(is_file(&copy) && !knowledge.unproven);
    assert_eq!(knowledge.closed, [wrong]);
    // Not when anything that it needs is gone.
    let other = Oid::from_bytes(&[7; 20]).expect("20 bytes");
    let needy = ClosedPack { pack, needs: vec![other] };
    let said = desk.prepare_with(&repo, &trust(&[needy])).err().expect("it is walked");
    assert!(said.to_string().contains(&lost), "{said}");
    // What is not in a closed pack is walked until there.
    let add = |name: &str| {
        let commit = repo.commit_on(None, &[(name, name)]);
        repo.update_ref(format!("refs/heads/{name}"), &commit);
        repo.run(&["rev-parse", &format!("{commit}:{name}")])
    };
    add("new");
    let known = trust(&[ClosedPack { pack, needs: vec![] }]);
    assert!(desk.prepare_with(&repo, &known).is_ok());
    let other_lost = add("lost");
    fs::remove_file(repo.path().join("objects").join(&other_lost[..2]).join(&other_lost[2..]))
        .expect("lose it");
    let said = desk.prepare_with(&repo, &known).err().expect("it is walked");
    assert!(said.to_string().contains(&other_lost), "{said}");
}

#[test]
fn a_proof_that_is_left_for_later_is_said_to_be() {
    let desk = Desk::new();
    let (repo, _) = lacking(&desk);
    let later = Trust { later: true, ..Trust::default() };
    let (copy, knowledge) = desk.prepare_with(&repo, &later).expect("not walked");
    assert!(is_file(&copy) && knowledge.unproven && knowledge.closed.is_empty());
    // A ref to nothing is noticed all the same.
    let nothing = "1234567890123456789012345678901234567890";
    fs::write(repo.path().join("refs/heads/nothing"), format!("{nothing}\n")).expect("write ref");
    let said = desk.prepare_with(&repo, &later).err().expect("a tip is missing");
    assert!(said.to_string().contains(nothing), "{said}");
}

#[test]
fn a_proof_needs_no_later_where_all_is_known() {
    let desk = Desk::new();
    let repo = desk.repo();
    repo.fill("main", 30);
    pack(&repo, &reachable(&repo), false);
    let known = learn(&desk, &repo, &Trust::default()).closed;
    assert_eq!(known.len(), 1);
    repo.commit("main", &[("new", "loose")]);
    let later = Trust { later: true, ..trust(&known) };
    assert!(!learn(&desk, &repo, &later).unproven);
    pack_loose(&repo);
    assert!(learn(&desk, &repo, &later).unproven);
}

#[test]
fn packs_are_learnt_with_those_that_they_need() {
    let desk = Desk::new();
    let repo = desk.repo();
    repo.fill("main", 30);
    pack(&repo, &reachable(&repo), false);
    let first = learn(&desk, &repo, &Trust::default());
    assert_eq!((closed(&first), first.closed[0].needs.len()), (names(&repo), 0));
    repo.fill("main", 10);
    pack_loose(&repo);
    // Walked, or known in part: the same.
    let second = learn(&desk, &repo, &Trust::default());
    assert_eq!(closed(&second), names(&repo));
    let needs = |name: &ClosedPack| name.needs.clone();
    let young = second.closed.iter().find(|closed| closed.pack != first.closed[0].pack).expect("a second");
    assert_eq!(needs(young), [first.closed[0].pack]);
    let sorted = |knowledge: Knowledge| {
        let mut closed = knowledge.closed;
        closed.sort_by_key(|closed| closed.pack);
        closed
    };
    let in_part = learn(&desk, &repo, &trust(&first.closed));
    assert_eq!(sorted(in_part), sorted(second));
    // One that leads to a loose object is not closed.
    let loose = repo.commit("main", &[("new", "loose")]);
    let child = repo.commit("main", &[("new", "packed alone")]);
    let own = repo.run(&["rev-list", "--objects", "--no-object-names", &format!("{loose}..{child}")]);
    pack(&repo, &own, true);
    let third = learn(&desk, &repo, &Trust::default());
    assert_eq!((names(&repo).len(), closed(&third).len()), (3, 2));
    desk.assert_exact(&repo);
}

/// What a pack holds that another one has as well was followed there: so it needs that one.
#[test]
fn a_pack_needs_those_whose_objects_it_holds_as_well() {
    let desk = Desk::new();
    let repo = desk.repo();
    repo.fill("main", 30);
    pack(&repo, &reachable(&repo), false);
    let first = learn(&desk, &repo, &Trust::default()).closed;
    // An old commit once more, without anything that it leads to.
    pack(&repo, &repo.run(&["rev-parse", "main~10"]), true);
    let known = learn(&desk, &repo, &Trust::default()).closed;
    assert_eq!(known.len(), 2);
    let second = known.iter().find(|closed| closed.pack != first[0].pack).expect("a second");
    assert_eq!(second.needs, [first[0].pack]);
}

#[test]
fn a_little_garbage_is_copied_where_it_is_whole() {
    for lose in [false, true] {
        let desk = Desk::new();
        let repo = desk.repo();
        repo.fill("main", 60);
        let dropped = repo.commit_on(None, &[("dropped", noise(1, 5000)), ("lost", noise(2, 5000))]);
        repo.update_ref("refs/heads/dropped", &dropped);
        let lost = repo.run(&["rev-parse", &format!("{dropped}:lost")]);
        let names = reachable(&repo);
        let names: Vec<&str> = names.lines().filter(|name| !lose || *name != lost).collect();
        pack(&repo, &names.join("\n"), false);
        if lose {
            fs::remove_file(repo.path().join("objects").join(&lost[..2]).join(&lost[2..])).expect("lose it");
        }
        repo.delete_ref("refs/heads/dropped");
        for (max_garbage, is_copied) in [(0.5, !lose), (0.005, false), (0.0, false)] {
            let trust = Trust { max_garbage, ..Trust::default() };
            let (copy, knowledge) = desk.prepare_with(&repo, &trust).expect("copied");
            assert_eq!((is_file(&copy), knowledge.closed.len()), (is_copied, usize::from(is_copied)));
            assert_eq!(desk.index(&repo, copy).contains(&dropped), is_copied, "{max_garbage}");
        }
    }
}

#[test]
fn a_bitmap_tells_how_much_is_garbage() {
    let desk = Desk::new();
    let repo = desk.repo();
    repo.fill("main", 60);
    let dropped = repo.commit_on(None, &[("dropped", noise(1, 5000))]);
    repo.update_ref("refs/heads/dropped", &dropped);
    repo.run(&["repack", "-a", "-d", "-q", "-b"]);
    repo.delete_ref("refs/heads/dropped");
    for (max_garbage, is_copied) in [(0.5, true), (0.0, false)] {
        let (copy, knowledge) = desk
            .prepare_with(&repo, &Trust { max_garbage, later: true, ..Trust::default() })
            .expect("copied");
        assert_eq!((is_file(&copy), knowledge.unproven), (is_copied, is_copied));
        assert_eq!(desk.index(&repo, copy).contains(&dropped), is_copied);
    }
}

#[test]
fn a_damaged_closed_pack_is_noticed() {
    let desk = Desk::new();
    let repo = desk.repo();
    repo.fill("main", 30);
    pack(&repo, &reachable(&repo), false);
    let known = trust(&learn(&desk, &repo, &Trust::default()).closed);
    let path = files(&repo, ".pack")[0].clone();
    let mut content = fs::read(&path).expect("read pack");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::remove_file(&path).expect("remove pack");
    fs::write(&path, content).expect("write pack");
    let (copy, _) = desk.prepare_with(&repo, &known).expect("not walked");
    let written = copy.write(&mut std::io::sink(), &super::CancellationToken::new()).map(|_| "written");
    assert!(matches!(written, Err(super::CopyError::Pack(_))), "{written:?}");
}
