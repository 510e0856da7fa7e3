//! Packs that come with their index, small packs, and what is made good when an index is not to be used.

use std::fs;

use packhorse_model::ErrorKind;
use packhorse_testkit::{GitRepo, RepoState};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{
    desk::{self, Desk, Ran},
    writer::{Writer, index_of},
};

/// A git that cannot be run: whoever asks it for something fails.
const NO_GIT: &str = "/nonexistent/git";

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A repository whose full step takes this many bytes and more, and a step on top of it.
fn written(bytes: usize, options: &[&str]) -> (TempDir, GitRepo, Writer) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let repo = GitRepo::init_with(folder.path().join("source.git"), options);
    let file = folder.path().join("noise");
    fs::write(&file, noise(7, bytes)).expect("write noise");
    let blob = repo.run(&["hash-object", "-w", file.to_str().expect("plain path")]);
    repo.update_ref("refs/tags/noise", &blob);
    repo.fill("main", 40);
    repo.tag_annotated("v1", "main");
    repo.repack();
    let mut writer = Writer::new(true);
    writer.step(&repo, "a/b.git");
    (folder, repo, writer)
}

async fn restore_with(desk: &Desk, writer: &mut Writer, git: &str) -> Ran {
    let mut job = desk.job(writer.catalogue().await);
    job.git = git.into();
    desk::run(&writer.vault, job, CancellationToken::new()).await
}

/// The repository comes back; what was remarked about it.
async fn comes_back(repo: &GitRepo, writer: &mut Writer, git: &str) -> (Desk, Vec<String>) {
    let desk = Desk::new();
    let ran = restore_with(&desk, writer, git).await;
    assert_eq!(ran.failures, []);
    let result = ran.result.expect("restore");
    assert_eq!(result.restored, 1);
    RepoState::assert_same(&repo.state(), &desk.repo("a/b.git").state());
    desk.assert_tidy();
    (desk, result.remarks.iter().map(ToString::to_string).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_and_its_index_are_written_as_they_are() {
    // Below and above what is written beside reading, and with both hashes.
    for (bytes, format) in [(3 << 20, "sha1"), (9 << 20, "sha1"), (3 << 20, "sha256")] {
        let (_folder, repo, mut writer) = written(bytes, &[&format!("--object-format={format}")]);
        let key = writer.index("a/b.git", |index| index);
        let (desk, remarks) = comes_back(&repo, &mut writer, NO_GIT).await;
        assert_eq!(remarks, [""; 0]);
        let pack = writer.pack(&key.replace(".idx", ".bundle"));
        let hash = &pack[pack.len() - if format == "sha1" { 20 } else { 32 }..];
        let name: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let place = desk.path("a/b.git/objects/pack");
        let read =
            |suffix: &str| fs::read(place.join(format!("pack-{name}.{suffix}"))).expect("has the file");
        assert!(read("pack") == pack && read("idx") == fs::read(writer.file(&key)).expect("read index"));
        assert_eq!(fs::read_dir(&place).expect("read folder").count(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_build_on_a_copied_pack_and_need_no_git() {
    let (_folder, repo, mut writer) = written(3 << 20, &[]);
    writer.index("a/b.git", |index| index);
    // Each version is a small delta on the one before, which an earlier step has; with bitmaps git makes none.
    for file in fs::read_dir(repo.path().join("objects/pack")).expect("read folder") {
        let path = file.expect("read folder").path();
        if path.extension().is_some_and(|suffix| suffix == "bitmap") {
            fs::remove_file(path).expect("remove bitmap");
        }
    }
    let text: String = noise(1, 6000).iter().map(|byte| format!("{byte}\n")).collect();
    for version in 1..4 {
        repo.commit("main", &[("file", format!("{version}\n{text}"))]);
        writer.step(&repo, "a/b.git");
    }
    let sizes = writer.manifest("a/b.git").steps.iter().map(|step| writer.pack(&step.bundle_path).len());
    let sizes: Vec<usize> = sizes.collect();
    assert!(sizes[2] < 2000 && sizes[3] < 2000, "not thin: {sizes:?}");
    let (_desk, remarks) = comes_back(&repo, &mut writer, NO_GIT).await;
    assert_eq!(remarks, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_packs_need_no_git_and_get_what_git_makes_of_them() {
    // The last one comes in several pieces.
    for (bytes, format) in [(1000, "sha1"), (1000, "sha256"), (700_000, "sha1")] {
        let (_folder, repo, mut writer) = written(bytes, &[&format!("--object-format={format}")]);
        let (desk, _) = comes_back(&repo, &mut writer, NO_GIT).await;
        let pack = writer.pack(&writer.manifest("a/b.git").steps[0].bundle_path);
        let folder = fs::read_dir(desk.path("a/b.git/objects/pack")).expect("read folder");
        let ours = folder.map(|entry| entry.expect("read folder").path());
        let ours = ours.filter(|path| path.extension().is_some_and(|suffix| suffix == "idx"));
        let ours: Vec<Vec<u8>> = ours.map(|path| fs::read(path).expect("read index")).collect();
        assert!(ours == [index_of(&pack, format, "2")], "not the index that git makes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_bundle_that_unfolds_to_much_comes_back_too() {
    let (folder, repo, mut writer) = written(1000, &[]);
    let file = folder.path().join("zeros");
    fs::write(&file, vec![0; 20 << 20]).expect("write zeros");
    let blob = repo.run(&["hash-object", "-w", file.to_str().expect("plain path")]);
    repo.update_ref("refs/tags/zeros", &blob);
    writer.step(&repo, "a/b.git");
    comes_back(&repo, &mut writer, "git").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_made_again_and_remarked() {
    let (_folder, repo, mut writer) = written(3 << 20, &[]);
    let key = writer.index("a/b.git", |index| index);
    let file = writer.file(&key);
    let whole = fs::read(&file).expect("read index");
    let mut flipped = whole.clone();
    flipped[2000] ^= 4;
    let harms: [(&str, Option<&[u8]>); 5] = [
        ("flipped", Some(&flipped)),
        ("cut", Some(&whole[..whole.len() - 1])),
        ("lengthened", Some(&[&whole[..], b"x"].concat())),
        ("emptied", Some(b"")),
        ("removed", None),
    ];
    for (harm, bytes) in harms {
        match bytes {
            Some(bytes) => fs::write(&file, bytes).expect("write index"),
            None => fs::remove_file(&file).expect("remove index"),
        }
        let (_desk, remarks) = comes_back(&repo, &mut writer, "git").await;
        assert_eq!(remarks.len(), 1, "{harm}: {remarks:?}");
        assert!(remarks[0].contains(&key) && remarks[0].contains("a/b.git"), "{harm}: {remarks:?}");
    }
}

type Change = Box<dyn FnOnce(Vec<u8>) -> Vec<u8>>;

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_whole_but_not_this_packs_is_made_again_and_remarked() {
    let (_folder, repo, mut writer) = written(3 << 20, &[]);
    let (_others, other_repo, mut other) = written(2 << 20, &[]);
    other_repo.commit("main", &[("more", "objects")]);
    other.step(&other_repo, "c.git");
    let others = index_of(&other.pack(&other.manifest("c.git").steps[0].bundle_path), "sha1", "2");
    let pack = writer.pack(&writer.manifest("a/b.git").steps[0].bundle_path);
    let first = index_of(&pack, "sha1", "1");
    let changes: [(&str, Change); 6] = [
        ("of another pack", Box::new(move |_| others)),
        ("of version 1", Box::new(move |_| first)),
        ("with one object less", Box::new(with_count)),
        (
            "with another checksum of the pack",
            Box::new(|index| sealed(index, |body, end| body[end - 1] ^= 1)),
        ),
        (
            "with a wrong checksum of its own",
            Box::new(|mut index| {
                *index.last_mut().expect("has bytes") ^= 1;
                index
            }),
        ),
        ("with a table that falls", Box::new(|index| sealed(index, |body, _| body[8..12].fill(0xff)))),
    ];
    for (what, change) in changes {
        let key = writer.index("a/b.git", change);
        let (desk, remarks) = comes_back(&repo, &mut writer, "git").await;
        assert_eq!(remarks.len(), 1, "{what}: {remarks:?}");
        assert!(remarks[0].contains(&key), "{what}: {remarks:?}");
        let files = fs::read_dir(desk.path("a/b.git/objects/pack")).expect("read folder");
        let files: Vec<_> = files.map(|entry| entry.expect("read folder").file_name()).collect();
        let is_final = |name: &std::ffi::OsString| name.as_encoded_bytes().starts_with(b"pack-");
        assert!(files.iter().all(is_final), "{what}: {files:?}");
    }
}

/// An index changed before its own checksum, which is right again; `end` is where the checksum of the pack ends.
fn sealed(index: Vec<u8>, change: impl FnOnce(&mut Vec<u8>, usize)) -> Vec<u8> {
    let mut body = index[..index.len() - 20].to_vec();
    let end = body.len();
    change(&mut body, end);
    let mut hash = crate::packs::PackHash::new(packhorse_vault::ObjectFormat::Sha1);
    hash.update(&body);
    [body, hash.finish()].concat()
}

/// An index of one object less, as whole as it can be: the last name, checksum and offset are left out.
fn with_count(index: Vec<u8>) -> Vec<u8> {
    sealed(index, |body, _| {
        let count = u32::from_be_bytes(body[1028..1032].try_into().expect("4 bytes")) as usize;
        let tables = [1032 + count * 20, 1032 + count * 24, 1032 + count * 28];
        body.drain(tables[2] - 4..tables[2]);
        body.drain(tables[1] - 4..tables[1]);
        body.drain(tables[0] - 20..tables[0]);
        for first in 0..256 {
            let place = 8 + first * 4..12 + first * 4;
            let up_to = u32::from_be_bytes(body[place.clone()].try_into().expect("4 bytes"));
            body[place].copy_from_slice(&up_to.min(count as u32 - 1).to_be_bytes());
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_bundle_is_found_also_where_nothing_is_inflated() {
    for bytes in [3 << 20, 9 << 20] {
        let (_folder, _repo, mut writer) = written(bytes, &[]);
        let key = writer.index("a/b.git", |index| index).replace(".idx", ".bundle");
        let whole = fs::read(writer.file(&key)).expect("read bundle");
        let len = whole.len();
        for at in [20, len - bytes, len / 2, len - 21, len - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 16;
            fs::write(writer.file(&key), flipped).expect("write bundle");
            assert_found(&mut writer, &format!("flipped at {at} of {len}")).await;
        }
        for len in [0, 100, len / 2, len - 1] {
            fs::write(writer.file(&key), &whole[..len]).expect("write bundle");
            assert_found(&mut writer, &format!("cut at {len}")).await;
        }
        fs::write(writer.file(&key), [&whole[..], b"x"].concat()).expect("write bundle");
        assert_found(&mut writer, "lengthened").await;
    }
}

async fn assert_found(writer: &mut Writer, what: &str) {
    let desk = Desk::new();
    let ran = desk.restore(writer).await;
    let [failure] = ran.failures.as_slice() else { panic!("{what}: {:?} {:?}", ran.result, ran.failures) };
    assert_eq!(failure.problem.kind, ErrorKind::Corrupt, "{what}: {failure}");
    desk.assert_untouched();
}

#[tokio::test(flavor = "multi_thread")]
async fn optimised_repositories_have_what_git_serves_them_by() {
    let (_folder, repo, mut writer) = written(3 << 20, &[]);
    writer.index("a/b.git", |index| index);
    repo.fill("main", 3);
    writer.step(&repo, "a/b.git");
    let desk = Desk::new();
    let mut job = desk.job(writer.catalogue().await);
    job.optimise = true;
    let ran = desk::run(&writer.vault, job.clone(), CancellationToken::new()).await;
    assert_eq!((ran.failures, ran.result.expect("restore").remarks), (Vec::new(), Vec::new()));
    RepoState::assert_same(&repo.state(), &desk.repo("a/b.git").state());
    let names = fs::read_dir(desk.path("a/b.git/objects/pack")).expect("read folder");
    let names: Vec<String> =
        names.map(|entry| entry.expect("read folder").file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().any(|name| name == "multi-pack-index"), "{names:?}");
    assert!(names.iter().any(|name| name.ends_with(".bitmap")), "{names:?}");
    assert!(desk.path("a/b.git/objects/info/commit-graph").exists());
    let refs = fs::read_to_string(desk.path("a/b.git/packed-refs")).expect("read refs");
    assert!(refs.starts_with("# pack-refs with: peeled fully-peeled sorted"), "{refs}");
    // Without a git that can do it, it is whole all the same, and that is remarked.
    let desk = Desk::new();
    (job.root, job.git) = (desk.folder.path().to_owned(), NO_GIT.into());
    let ran = desk::run(&writer.vault, job, CancellationToken::new()).await;
    let remarks = ran.result.expect("restore").remarks;
    assert_eq!((ran.failures, remarks.len()), (Vec::new(), 3), "{remarks:?}");
    RepoState::assert_same(&repo.state(), &desk.repo("a/b.git").state());
}
