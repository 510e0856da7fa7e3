//! Copies of repositories made by real git, taken apart again by real git.

mod known;

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use gix::object::Kind;
use packhorse_testkit::GitRepo;
use packhorse_vault::{ObjectFormat, RefSnapshot, RefStorage};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{CopyError, Knowledge, PackCopy, Parts, Trust, prepare};
use crate::{
    backup::refs,
    packs::{PackHash, Unsuited, object_entry},
};

struct Desk {
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temp folder");
        Self { folder, runtime: tokio::runtime::Runtime::new().expect("runtime") }
    }

    fn repo(&self) -> GitRepo {
        GitRepo::init(self.folder.path().join("r.git"))
    }

    fn prepare(&self, repo: &GitRepo) -> Result<PackCopy, CopyError> {
        self.prepare_with(repo, &Trust::default()).map(|(copy, _)| copy)
    }

    fn prepare_with(&self, repo: &GitRepo, trust: &Trust) -> Result<(PackCopy, Knowledge), CopyError> {
        let object_format = format_of(repo);
        let ((head, refs, symrefs), left_out) = refs::read(repo.path(), object_format).expect("read refs");
        assert_eq!(left_out, []);
        let refs = RefSnapshot { object_format, ref_storage: RefStorage::Files, head, refs, symrefs };
        let _in_runtime = self.runtime.enter();
        prepare(repo.path(), &refs, trust, &CancellationToken::new())
    }

    /// Copies a repository and has git index the copy: the ids of all objects in it, each once.
    fn copy(&self, repo: &GitRepo) -> BTreeSet<String> {
        let copy = self.prepare(repo).unwrap_or_else(|reason| panic!("not copied: {reason}"));
        self.index(repo, copy)
    }

    /// Writes a copy with its index, and has git make the index, too.
    fn index(&self, repo: &GitRepo, copy: PackCopy) -> BTreeSet<String> {
        let (mut pack, mut index) = (Vec::new(), Vec::new());
        let written = copy.write(&mut pack, &CancellationToken::new()).expect("write copy");
        let size = written.index_size();
        written.write_index(&mut index).expect("write index");
        assert_eq!(size, index.len() as u64);
        let format = repo.run(&["rev-parse", "--show-object-format"]);
        let folder = tempfile::tempdir_in(self.folder.path()).expect("temp folder");
        let other = GitRepo::init_with(folder.path(), &[&format!("--object-format={format}")]);
        other.run_with_input(&["index-pack", "--stdin", "--strict"], &pack);
        assert!(
            fs::read(&files(&other, ".idx")[0]).expect("read index") == index,
            "git indexes it otherwise"
        );
        let list =
            other.run(&["cat-file", "--batch-all-objects", "--batch-check=%(objectname)", "--unordered"]);
        let ids: Vec<String> = list.lines().map(str::to_owned).collect();
        let unique: BTreeSet<String> = ids.iter().cloned().collect();
        let count = u32::from_be_bytes(pack[8..12].try_into().expect("four bytes"));
        assert_eq!((ids.len(), count as usize), (unique.len(), unique.len()), "an object is there twice");
        unique
    }

    #[track_caller]
    fn assert_exact(&self, repo: &GitRepo) {
        let list = repo.run(&["rev-list", "--objects", "--no-object-names", "--all", "HEAD"]);
        let reached: BTreeSet<String> = list.lines().map(str::to_owned).collect();
        let copied = self.copy(repo);
        let missing: Vec<_> = reached.difference(&copied).collect();
        let extra: Vec<_> = copied.difference(&reached).collect();
        assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, extra {extra:?}");
    }

    #[track_caller]
    fn assert_left_to_git(&self, repo: &GitRepo, why: &str) {
        match self.prepare(repo) {
            Ok(_) => panic!("copied, although it {why}"),
            Err(reason) => assert!(reason.to_string().contains(why), "{reason}"),
        }
    }
}

fn format_of(repo: &GitRepo) -> ObjectFormat {
    ObjectFormat::from_name(&repo.run(&["rev-parse", "--show-object-format"])).expect("a format of git")
}

/// Entries that are written out because their bases are not copied.
fn orphans(copy: &PackCopy) -> usize {
    match &copy.parts {
        Parts::File(..) => 0,
        Parts::Selection(selection) => selection.arrangement.orphans.iter().map(Vec::len).sum(),
    }
}

/// Bytes that no compression makes smaller, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn files(repo: &GitRepo, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repo.path().join("objects/pack")).expect("read packs");
    let paths = entries.map(|entry| entry.expect("entry").path());
    paths.filter(|path| path.to_string_lossy().ends_with(suffix)).collect()
}

/// Packs what is loose into a pack of its own.
fn pack_loose(repo: &GitRepo) {
    repo.run(&["repack", "-d", "-q"]);
}

#[test]
fn one_pack_is_copied_byte_for_byte() {
    let desk = Desk::new();
    let repo = desk.repo();
    repo.fill("main", 40);
    repo.tag_annotated("v1", "main");
    repo.repack();
    let copy = desk.prepare(&repo).expect("copied");
    let mut pack = Vec::new();
    copy.write(&mut pack, &CancellationToken::new()).expect("write copy");
    assert_eq!(pack, fs::read(&files(&repo, ".pack")[0]).expect("read pack"));
    desk.assert_exact(&repo);
}

#[test]
fn tips_of_every_kind() {
    for bitmap in [false, true] {
        let desk = Desk::new();
        let repo = desk.repo();
        let old = repo.fill("main", 150);
        let newer = repo.commit("main", &[("deep/er/file", "content")]);
        repo.update_ref("refs/heads/old", &old);
        let tree = repo.run(&["rev-parse", &format!("{newer}^{{tree}}")]);
        let blob = repo.blob("a blob that only a tag has");
        repo.update_ref("refs/tags/tree", &tree);
        repo.update_ref("refs/tags/blob", &blob);
        let tag = repo.tag_annotated("of-blob", &repo.blob("another blob"));
        repo.tag_annotated("of-tag", &tag);
        repo.tag_annotated("of-commit", &old);
        let alone = repo.commit_on(None, &[("only", "HEAD has this")]);
        repo.detach_head(&alone);
        desk.assert_exact(&repo);
        repo.run(&["repack", "-a", "-d", "-q", if bitmap { "-b" } else { "--no-write-bitmap-index" }]);
        desk.assert_exact(&repo);
        // Beyond what a bitmap knows.
        repo.commit("side", &[("new", "loose")]);
        repo.fill("main", 20);
        desk.assert_exact(&repo);
    }
}

#[test]
fn submodules_are_not_followed() {
    let desk = Desk::new();
    let repo = desk.repo();
    let elsewhere = "1234567890123456789012345678901234567890";
    let tree = repo
        .run_with_input(&["mktree", "--missing"], format!("160000 commit {elsewhere}\tmodule\n").as_bytes());
    let commit = repo.run(&["commit-tree", "-m", "with a module", &tree]);
    repo.update_ref("refs/heads/main", &commit);
    desk.assert_exact(&repo);
    repo.repack();
    desk.assert_exact(&repo);
}

/// A tree may name another tree and call it a file: what that tree holds is still followed where it is a folder.
#[test]
fn a_folder_that_is_called_a_file_is_followed_elsewhere() {
    for (wrong, right) in [("a", "b"), ("b", "a")] {
        let desk = Desk::new();
        let repo = desk.repo();
        let inner = repo.tree(None, &[("file", "only reached through the folder")]);
        let folder = repo.run_with_input(&["mktree"], format!("040000 tree {inner}\tfolder\n").as_bytes());
        let mut bytes = b"100644 folder\0".to_vec();
        bytes.extend((0..20).map(|at| u8::from_str_radix(&inner[at * 2..at * 2 + 2], 16).expect("hex")));
        let odd = repo.run_with_input(&["hash-object", "-t", "tree", "-w", "--stdin", "--literally"], &bytes);
        for (name, tree) in [(wrong, odd), (right, folder)] {
            let commit = repo.run(&["commit-tree", "-m", name, &tree]);
            repo.update_ref(format!("refs/heads/{name}"), &commit);
        }
        let blob = repo.run(&["rev-parse", &format!("{right}:folder/file")]);
        let names = repo.run(&["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
        let base = repo.path().join("objects/pack/pack");
        repo.run_with_input(&["pack-objects", "-q", base.to_str().expect("UTF-8")], names.as_bytes());
        repo.run(&["prune-packed"]);
        let copy = desk.prepare(&repo).expect("copied");
        let all = names.lines().count() as u32;
        assert_eq!(copy.objects, all, "{blob} is missing");
        assert!(matches!(copy.parts, Parts::File(..)), "taken from elsewhere");
    }
}

#[test]
fn objects_of_several_packs_are_taken_once() {
    let desk = Desk::new();
    let repo = desk.repo();
    repo.fill("main", 60);
    repo.repack();
    let kept = files(&repo, ".pack")[0].with_extension("keep");
    fs::write(&kept, "").expect("keep");
    repo.fill("main", 30);
    repo.commit("side", &[("a", "1")]);
    // Everything again in a second pack, and the first one kept.
    let names = repo.run(&["rev-list", "--objects", "--all", "--no-object-names"]);
    let base = repo.path().join("objects/pack/pack");
    repo.run_with_input(&["pack-objects", "-q", base.to_str().expect("UTF-8")], names.as_bytes());
    assert!(files(&repo, ".idx").len() >= 2);
    desk.assert_exact(&repo);
    fs::remove_file(kept).expect("keep no longer");
    repo.run(&["repack", "-d", "-q", "--geometric=2"]);
    desk.assert_exact(&repo);
}

#[test]
fn duplicates_as_bases_of_deltas() {
    // Each pack holds some objects of the others, as bases that a push completed it with.
    let desk = Desk::new();
    let repo = desk.repo();
    let sender = GitRepo::init(desk.folder.path().join("sender.git"));
    sender.fill("main", 80);
    let target = repo.path().to_str().expect("UTF-8").to_owned();
    repo.run(&["config", "receive.unpackLimit", "1"]);
    for _ in 0..6 {
        sender.fill("main", 12);
        sender.run(&["push", "-q", &target, "main"]);
    }
    assert!(files(&repo, ".idx").len() >= 6);
    let verbose: String = files(&repo, ".idx")
        .iter()
        .map(|index| repo.run(&["verify-pack", "-v", index.to_str().expect("UTF-8")]))
        .collect();
    assert!(verbose.contains("chain length"), "no deltas: {verbose}");
    desk.assert_exact(&repo);
    // The same with the middle of history no longer reached.
    let early = repo.run(&["rev-parse", "main~50"]);
    repo.update_ref("refs/heads/main", &early);
    match desk.prepare(&repo) {
        Ok(_) => desk.assert_exact(&repo),
        Err(reason) => assert!(reason.to_string().contains("deltas on what is not reached"), "{reason}"),
    }
}

#[test]
fn a_delta_on_what_is_not_reached_is_written_out() {
    let desk = Desk::new();
    let repo = desk.repo();
    repo.fill("main", 60);
    // The largest version of a file is the base of the others, and the only one that is dropped.
    let text = |lines: usize| (0..lines).map(|line| format!("line {line} of many\n")).collect::<String>();
    repo.commit("main", &[("file", text(800))]);
    let old = repo.commit("main", &[("file", text(900))]);
    repo.commit("main", &[("file", text(1000))]);
    repo.run(&["repack", "-a", "-d", "-f", "-q"]);
    repo.update_ref("refs/heads/main", &old);
    let copy = desk.prepare(&repo).unwrap_or_else(|reason| panic!("not copied: {reason}"));
    assert!(orphans(&copy) > 0, "nothing was written out");
    desk.assert_exact(&repo);
}

#[test]
fn a_large_delta_on_what_is_not_reached_is_left_to_git() {
    let desk = Desk::new();
    let repo = desk.repo();
    repo.fill("main", 60);
    let content = noise(1, 5 << 20);
    repo.commit("main", &[("file", &content)]);
    let old = repo.tip("refs/heads/main").expect("was committed");
    repo.commit("main", &[("file", [content.as_slice(), b"more"].concat())]);
    repo.run(&["repack", "-a", "-d", "-f", "-q"]);
    repo.update_ref("refs/heads/main", &old);
    let copy = desk.prepare(&repo).unwrap_or_else(|reason| panic!("not copied: {reason}"));
    assert!(orphans(&copy) > 0, "nothing has to be written out");
    let written = copy.write(&mut std::io::sink(), &CancellationToken::new()).map(|_| "written");
    assert!(
        matches!(&written, Err(CopyError::Unsuited(Unsuited(why))) if why.contains("large")),
        "{written:?}"
    );
}

/// Deltas that make a circle once one of the copies is left out.
#[test]
fn an_object_that_a_pack_holds_twice_is_left_to_git() {
    let desk = Desk::new();
    let repo = desk.repo();
    let commit = repo.commit("main", &[("file", "content")]);
    let tree = repo.run(&["rev-parse", &format!("{commit}^{{tree}}")]);
    let blob = repo.run(&["rev-parse", &format!("{commit}:file")]);
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x04".to_vec();
    for (oid, kind) in
        [(&commit, Kind::Commit), (&tree, Kind::Tree), (&blob, Kind::Blob), (&blob, Kind::Blob)]
    {
        let name = kind.to_string();
        let args = ["cat-file", name.as_str(), oid.as_str()];
        let data = packhorse_testkit::run_checked(repo.command().args(args)).stdout;
        pack.extend(object_entry(kind, &data).expect("to memory"));
    }
    let mut hash = PackHash::new(ObjectFormat::Sha1);
    hash.update(&pack);
    pack.extend(hash.finish());
    repo.run_with_input(&["index-pack", "--stdin"], &pack);
    desk.assert_left_to_git(&repo, "odd entries");
}

/// A bitmap that was made while history was cut off.
#[test]
fn a_bitmap_from_before_history_was_whole() {
    let desk = Desk::new();
    let source = GitRepo::init(desk.folder.path().join("source.git"));
    source.fill("main", 90);
    for limit in ["1", "1000"] {
        let path = desk.folder.path().join(format!("clone-{limit}.git"));
        let url = format!("file://{}", source.path().display());
        source.run(&["clone", "-q", "--bare", "--depth=3", &url, path.to_str().expect("UTF-8")]);
        let repo = GitRepo::open(path);
        repo.run(&["repack", "-a", "-d", "-q", "-b"]);
        assert_eq!(files(&repo, ".bitmap").len(), 1);
        repo.run(&["config", "fetch.unpackLimit", limit]);
        repo.run(&["fetch", "-q", "--unshallow", &url, "main"]);
        desk.assert_exact(&repo);
    }
}

#[test]
fn what_refs_do_not_reach_is_left_out() {
    for bitmap in ["-b", "--no-write-bitmap-index"] {
        let desk = Desk::new();
        let repo = desk.repo();
        repo.fill("main", 30);
        // An orphan with content of its own, so that nothing else is a delta on it.
        let dropped = repo.commit_on(None, &[("secret", noise(1, 5000))]);
        repo.update_ref("refs/heads/dropped", &dropped);
        repo.run(&["repack", "-a", "-d", "-q", bitmap]);
        repo.delete_ref("refs/heads/dropped");
        desk.assert_exact(&repo);
        // A pack that nothing reaches is passed over, and so is a loose object.
        repo.commit_on(None, &[("x", "unreachable")]);
        desk.assert_exact(&repo);
        pack_loose(&repo);
        desk.assert_exact(&repo);
    }
}

#[test]
fn a_large_pack_is_read_from_the_disk() {
    let desk = Desk::new();
    let repo = desk.repo();
    repo.commit("main", &[("large", noise(2, 3 << 20)), ("larger", noise(3, 5 << 20))]);
    let dropped = repo.commit_on(None, &[("dropped", noise(4, 2 << 20))]);
    repo.update_ref("refs/heads/dropped", &dropped);
    repo.fill("main", 50);
    repo.repack();
    desk.assert_exact(&repo);
    repo.delete_ref("refs/heads/dropped");
    desk.assert_exact(&repo);
    repo.fill("side", 50);
    desk.assert_exact(&repo);
}

#[test]
fn sha256_repositories() {
    let desk = Desk::new();
    let repo = GitRepo::init_with(desk.folder.path().join("r.git"), &["--object-format=sha256"]);
    repo.fill("main", 120);
    repo.run(&["repack", "-a", "-d", "-q", "-b"]);
    desk.assert_exact(&repo);
    repo.commit("main", &[("a", "1")]);
    desk.assert_exact(&repo);
}

#[test]
fn a_repository_of_another_kind_is_left_to_git() {
    let desk = Desk::new();
    let repo = desk.repo();
    repo.fill("main", 10);
    repo.repack();
    let pack = files(&repo, ".pack")[0].clone();

    let alternates = repo.path().join("objects/info/alternates");
    fs::write(&alternates, "/elsewhere\n").expect("write alternates");
    desk.assert_left_to_git(&repo, "borrows objects");
    fs::remove_file(alternates).expect("remove alternates");

    let promisor = pack.with_extension("promisor");
    fs::write(&promisor, "").expect("write marker");
    desk.assert_left_to_git(&repo, "another server");
    fs::remove_file(promisor).expect("remove marker");

    let mtimes = pack.with_extension("mtimes");
    fs::write(&mtimes, "").expect("write marker");
    desk.assert_left_to_git(&repo, "is in no pack and not loose");
    fs::remove_file(mtimes).expect("remove marker");
    desk.assert_exact(&repo);

    for number in 0..600 {
        repo.blob(format!("loose {number}"));
    }
    let names: Vec<String> = (0..600).map(|number| format!("f{number}")).collect();
    let many: Vec<(&str, String)> =
        names.iter().enumerate().map(|(number, name)| (name.as_str(), format!("loose {number}"))).collect();
    repo.commit("many", &many);
    desk.assert_left_to_git(&repo, "many loose objects");
}

#[test]
fn a_missing_object_is_noticed() {
    for bitmap in ["-b", "--no-write-bitmap-index"] {
        let desk = Desk::new();
        let repo = desk.repo();
        repo.fill("main", 30);
        repo.run(&["repack", "-a", "-d", "-q", bitmap]);
        let commit = repo.commit("main", &[("folder/lost", "a blob"), ("folder/other", "stays")]);
        let intact = desk.copy(&repo);
        for name in
            [format!("{commit}:folder/lost"), format!("{commit}:folder"), format!("{commit}^{{tree}}")]
        {
            let oid = repo.run(&["rev-parse", &name]);
            let path = repo.path().join("objects").join(&oid[..2]).join(&oid[2..]);
            let content = fs::read(&path).expect("loose object");
            fs::remove_file(&path).expect("remove object");
            desk.assert_left_to_git(&repo, &oid);
            fs::write(&path, content).expect("write object");
        }
        assert_eq!(desk.copy(&repo), intact);
    }
}

/// The same with a second cut, which the bitmap knows too, behind what was fetched.
#[test]
fn a_bitmap_with_two_cuts() {
    let desk = Desk::new();
    let source = GitRepo::init(desk.folder.path().join("source.git"));
    let mut commits = Vec::new();
    for number in 0..8 {
        commits.push(source.commit("main", &[("file", number.to_string())]));
    }
    source.update_ref("refs/heads/old", &commits[3]);
    let path = desk.folder.path().join("clone.git");
    let url = format!("file://{}", source.path().display());
    let to = path.to_str().expect("UTF-8");
    source.run(&["clone", "-q", "--bare", "--depth=1", "--no-single-branch", &url, to]);
    let repo = GitRepo::open(path);
    repo.run(&["repack", "-a", "-d", "-q", "-b"]);
    repo.delete_ref("refs/heads/old");
    repo.run(&["config", "fetch.unpackLimit", "1"]);
    repo.run(&["fetch", "-q", "--unshallow", &url, "main"]);
    assert_eq!((files(&repo, ".bitmap").len(), files(&repo, ".idx").len()), (1, 2));
    desk.assert_exact(&repo);
}

/// Whatever byte of a pack, an index or a bitmap is damaged: never is something else copied in silence.
#[test]
fn damage_is_noticed_wherever_it_is() {
    let desk = Desk::new();
    let repo = desk.repo();
    repo.fill("main", 40);
    let dropped = repo.commit_on(None, &[("dropped", "something of its own that is dropped")]);
    repo.update_ref("refs/heads/dropped", &dropped);
    repo.run(&["repack", "-a", "-d", "-q", "-b"]);
    for drop in [false, true] {
        if drop {
            repo.delete_ref("refs/heads/dropped");
        }
        let intact = desk.copy(&repo);
        for suffix in [".pack", ".idx", ".bitmap"] {
            let path = files(&repo, suffix)[0].clone();
            let content = fs::read(&path).expect("read file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
            for at in (0..content.len()).step_by(content.len() / 150 + 1) {
                let mut damaged = content.clone();
                damaged[at] ^= 0x21;
                fs::write(&path, damaged).expect("write file");
                let copy = desk.prepare(&repo);
                let written =
                    copy.ok().map(|copy| copy.write(&mut std::io::sink(), &CancellationToken::new()).is_ok());
                match (suffix, written) {
                    // A bitmap only saves time.
                    (".bitmap", Some(true)) => assert_eq!(desk.copy(&repo), intact),
                    (_, Some(true)) => panic!("byte {at} of {suffix} went unnoticed"),
                    _ => {}
                }
            }
            fs::write(&path, &content[..content.len() / 2]).expect("write file");
            let written = desk.prepare(&repo).ok();
            assert!(suffix == ".bitmap" || written.is_none(), "half of {suffix} was enough");
            fs::write(&path, content).expect("write file");
        }
    }
}

#[test]
fn a_receiver_that_fails_and_a_stop_end_the_copy() {
    let desk = Desk::new();
    let repo = desk.repo();
    repo.fill("main", 40);
    repo.repack();
    for loose in [false, true] {
        if loose {
            repo.commit("main", &[("a", "makes it no plain copy of a file")]);
        }
        let copy = || desk.prepare(&repo).expect("copied");
        let mut room = [0_u8; 1000];
        let failed = copy().write(&mut room.as_mut_slice(), &CancellationToken::new()).map(|_| "written");
        assert!(matches!(failed, Err(CopyError::Receiver(_))), "{failed:?}");
        let stop = CancellationToken::new();
        stop.cancel();
        let stopped = copy().write(&mut std::io::sink(), &stop).map(|_| "written");
        assert!(matches!(stopped, Err(CopyError::Cancelled)), "{stopped:?}");
    }
}
