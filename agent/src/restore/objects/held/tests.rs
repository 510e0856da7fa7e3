//! Packs that nobody would store: none is a reason to panic, to run out of memory, or to make objects up.

use std::fs;

use packhorse_testkit::GitRepo;
use packhorse_vault::ObjectFormat;

use super::resolve;
use crate::packs::PackHash;

const LIMIT: usize = 1 << 20;

/// A pack with commits, trees, blobs, a tag and deltas.
fn pack() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let repo = GitRepo::init(folder.path().join("source.git"));
    let text =
        |number: usize| (0..300).map(|line| format!("{}\n", line * 7 % (40 + number))).collect::<String>();
    (0..6).for_each(|number| {
        drop(repo.commit("main", &[("file", text(number)), ("other", number.to_string())]))
    });
    repo.tag_annotated("v1", "main");
    repo.repack();
    let mut files = fs::read_dir(repo.path().join("objects/pack")).expect("read folder");
    let file = files.find_map(|file| {
        let path = file.expect("read folder").path();
        path.extension().is_some_and(|suffix| suffix == "pack").then_some(path)
    });
    fs::read(file.expect("has a pack")).expect("read pack")
}

/// With a trailer that is right again.
fn sealed(mut pack: Vec<u8>) -> Vec<u8> {
    pack.truncate(pack.len() - 20);
    let mut hash = PackHash::new(ObjectFormat::Sha1);
    hash.update(&pack);
    [pack, hash.finish()].concat()
}

fn names(pack: &[u8], limit: usize) -> Option<Vec<String>> {
    let resolved = resolve(pack, ObjectFormat::Sha1, limit, None)?;
    Some(resolved.sorted().iter().map(|object| object.oid.to_string()).collect())
}

#[test]
fn every_flipped_bit_is_seen_by_the_trailer_and_survived_without_it() {
    let whole = pack();
    let right = names(&whole, LIMIT).expect("a whole pack");
    assert!(right.len() > 15, "{right:?}");
    let mut refused = 0;
    for at in 0..whole.len() - 20 {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        assert_eq!(names(&flipped, LIMIT), None, "flipped at {at}, and not seen by the trailer");
        // Some bits mean nothing, and some lead to other objects, which then have other names.
        refused += usize::from(names(&sealed(flipped), LIMIT).is_none());
    }
    assert!(refused > whole.len() * 19 / 20, "{refused} of {}", whole.len());
}

#[test]
fn every_cut_is_refused() {
    let whole = pack();
    for end in 0..whole.len() {
        assert_eq!(names(&whole[..end], LIMIT), None, "cut at {end}");
    }
    for end in 20..whole.len() {
        assert_eq!(names(&sealed(whole[..end].to_vec()), LIMIT), None, "cut at {end}");
    }
}

#[test]
fn what_unfolds_to_more_than_allowed_is_refused() {
    let whole = pack();
    assert!(names(&whole, LIMIT).is_some());
    assert_eq!(names(&whole, 2000), None);
}
