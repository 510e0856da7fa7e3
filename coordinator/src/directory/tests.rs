//! Archives and restores of real folders; what is about owners and mounts has nothing to do without root.

use std::{
    ffi::OsStr,
    fs::{self, File, FileTimes, Permissions},
    io::Read,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, chown, lchown, symlink},
        net::UnixListener,
    },
    time::{Duration, SystemTime},
};

use packhorse_model::ObjectDigest;
use packhorse_model::VaultSettings;
use packhorse_testkit::{Kind, TreeState, hermetic_command, run_checked};
use tar::{EntryType, Header};

use super::*;
use std::path::Path;

mod bringing;
mod dying;
mod keeping;
mod reading;

struct World {
    folder: tempfile::TempDir,
    vault: Vault,
    run: RunAttempt,
    cancel: CancellationToken,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("open folder");
        fs::create_dir(folder.path().join("vault")).expect("create the vault's folder");
        let vault =
            packhorse_vault::open(&VaultSettings::new(format!("file://{}/vault", folder.path().display())));
        fs::create_dir(folder.path().join("src")).expect("create folder");
        let run = RunAttempt::first("b1".parse().expect("literal ID"));
        Self { folder, vault: vault.expect("vault opens"), run, cancel: CancellationToken::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn directory(&self, exclude: &[&str]) -> Directory {
        let exclude = exclude.iter().map(ToString::to_string).collect();
        let config = DirectoryConfig { name: "uploads".into(), path: self.path("src"), exclude };
        Directory::from_config(&config, &BTreeMap::new()).expect("valid")
    }

    /// The directory with a script in place of tar; `$@` are tar's arguments.
    fn scripted(&self, script: &str) -> Directory {
        let path = self.path("tar.sh");
        fs::write(&path, format!("#!/bin/bash\n{script}\n")).expect("write script");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("make executable");
        Directory { tar: path.into(), ..self.directory(&[]) }
    }

    async fn back_up(&self, directory: &Directory) -> Result<(DirectorySummary, Vec<ItemFailure>), Problem> {
        back_up(&self.vault, &self.run, directory, &self.cancel, |_, _| {}).await
    }

    async fn backed_up(&self, exclude: &[&str]) -> DirectorySummary {
        let (summary, failures) = self.back_up(&self.directory(exclude)).await.expect("archived");
        let noted = summary.changed_while_read.len() + summary.removed_while_read.len();
        assert_eq!((failures, noted), (vec![], 0));
        summary
    }

    async fn not_stored(&self, directory: &Directory) -> Problem {
        let problem = self.back_up(directory).await.expect_err("not archived");
        assert!(!self.object().exists());
        assert!(format!("{problem:?}").contains("nothing of this archive"), "{problem:?}");
        problem
    }

    async fn restore(
        &self,
        target: &Path,
        summary: &DirectorySummary,
        force: bool,
    ) -> Result<RestoredItem, Problem> {
        let target = Target { force, ..to(target) };
        let restored =
            restore_one(&self.vault, &self.run.id, target, summary, &self.cancel, |_, _| {}).await?;
        assert_eq!((restored.leftovers, restored.missing), (None, vec![]));
        Ok(restored.item)
    }

    fn object(&self) -> PathBuf {
        self.path("vault").join(ObjectKey::directory(&self.run, "uploads").as_str())
    }

    /// Stores an archive of the test's own making.
    fn store(&self, archive: &[u8]) -> DirectorySummary {
        use std::io::Write;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(archive).expect("compress");
        let bytes = gzip.finish().expect("compress");
        fs::create_dir_all(self.object().parent().expect("in a folder")).expect("create folder");
        fs::write(self.object(), &bytes).expect("write object");
        let object: ObjectDigest =
            packhorse_vault::digest_of(&ObjectKey::directory(&self.run, "uploads"), &bytes);
        let bytes_plain = archive.len() as u64;
        DirectorySummary {
            name: "uploads".into(),
            object,
            bytes_plain,
            empty: Some(false),
            emptied_unconfirmed: false,
            files: None,
            changed_while_read: vec![],
            removed_while_read: vec![],
            fewer_files: 0,
            exclude: vec![],
        }
    }

    fn assert_no_leftovers(&self) {
        let names =
            fs::read_dir(self.folder.path()).expect("list").map(|entry| entry.expect("entry").file_name());
        let left: Vec<_> = names.filter(|name| name.as_bytes().starts_with(b".")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A folder as a target that nothing else is near.
fn to(path: &Path) -> Target {
    let (exclude, others, unread) = (vec![], vec![], vec![]);
    Target { path: path.to_owned(), exclude, others, unread, numeric_owner: false, force: true }
}

fn excluding(path: &Path, patterns: &[&str]) -> Target {
    Target { exclude: patterns.iter().map(ToString::to_string).collect(), ..to(path) }
}

impl World {
    async fn replace(&self, target: Target, summary: &DirectorySummary) -> Result<Option<Problem>, Problem> {
        let restored = self.restore_in_part(target, summary).await?;
        assert_eq!(restored.missing, []);
        Ok(restored.leftovers)
    }

    async fn restore_in_part(&self, target: Target, summary: &DirectorySummary) -> Result<Restored, Problem> {
        restore_one(&self.vault, &self.run.id, target, summary, &self.cancel, |_, _| {}).await
    }
}

fn fill(path: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let file = path.join(name);
        fs::create_dir_all(file.parent().expect("in a folder")).expect("create folder");
        fs::write(file, text).expect("write file");
    }
}

fn odd_name(prefix: &str) -> PathBuf {
    let mut name = prefix.as_bytes().to_vec();
    name.extend_from_slice(b"\xff\xfe \n\\n'\"*");
    name.extend(std::iter::repeat_n(b'x', 150));
    PathBuf::from(OsStr::from_bytes(&name))
}

/// Every kind of entry that a folder of blobs can hold.
fn furnish(src: &Path) {
    fill(
        src,
        &[
            ("plain", "text"),
            ("sub/deep/file", "more"),
            ("setuid", "#!/bin/sh"),
            ("secret", "s"),
            ("old", "o"),
        ],
    );
    let mut deep = src.to_owned();
    for _ in 0..5 {
        deep.push("d".repeat(120));
    }
    fs::create_dir_all(&deep).expect("create folders");
    fs::write(deep.join("deep"), "far down").expect("write file");
    fs::write(src.join(odd_name("file")), "odd").expect("write file");
    fs::create_dir(src.join(odd_name("folder"))).expect("create folder");
    symlink(odd_name("target"), src.join(odd_name("link"))).expect("make link");
    fs::hard_link(src.join(odd_name("file")), src.join(odd_name("hard"))).expect("link");
    fs::create_dir(src.join("empty")).expect("create folder");
    fs::create_dir(src.join("closed")).expect("create folder");
    fs::write(src.join("closed/inside"), "x").expect("write file");
    symlink("plain", src.join("link")).expect("make link");
    symlink("/nowhere/at/all", src.join("dangling")).expect("make link");
    fs::hard_link(src.join("plain"), src.join("sub/hard")).expect("link");
    let holes = File::create(src.join("holes")).expect("create file");
    holes.set_len(1 << 30).expect("make sparse");
    for at in [0, 300_000_001, 700_000_000] {
        holes.write_all_at(b"some data", at).expect("write");
    }
    run_checked(hermetic_command("mkfifo").arg(src.join("pipe")));
    lchown(src.join("dangling"), Some(77), Some(88)).expect("give away");
    chown(src.join("sub"), Some(1234), Some(5678)).expect("give away");
    chown(src.join("setuid"), Some(3_000_000), Some(4_000_000)).expect("give away");
    for (name, mode) in [
        ("setuid", 0o6755),
        ("secret", 0o000),
        ("empty", 0o3777),
        ("closed", 0o555),
        ("pipe", 0o640),
        ("", 0o1750),
    ] {
        fs::set_permissions(src.join(name), Permissions::from_mode(mode)).expect("set mode");
    }
    let old = SystemTime::UNIX_EPOCH - Duration::new(5, 250_000_000);
    let times = FileTimes::new().set_modified(old);
    File::open(src.join("old")).and_then(|file| file.set_times(times)).expect("set time");
}

/// Whether files can be given away; says so when they cannot.
fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        packhorse_testkit::skipped("only root gives files away");
    }
    is_root
}

#[tokio::test]
async fn every_kind_of_entry_comes_back_as_it_was() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let src = world.path("src");
    furnish(&src);
    let summary = world.backed_up(&[]).await;
    assert_eq!(summary.object.path, "backups/b1/uploads.tar.gz");
    assert!(summary.bytes_plain < 1 << 20, "holes are not stored: {}", summary.bytes_plain);
    let before = TreeState::of(&src);
    let restored = world.restore(&world.path("out"), &summary, false).await.expect("restored");
    assert_eq!((restored.items, restored.bytes), (1, summary.object.size));
    let after = TreeState::of(world.path("out"));
    TreeState::assert_same(&before, &after);
    assert!(after.allocated("holes") < 1 << 20);
    let metadata = |path: &str| fs::symlink_metadata(world.path(path)).expect("metadata");
    for name in ["plain", "dangling", "sub", "old", "pipe", ""] {
        let nanoseconds = |root: &str| metadata(&format!("{root}/{name}")).mtime_nsec();
        assert_eq!(nanoseconds("src"), nanoseconds("out"), "{name}");
    }
    assert_eq!((metadata("out/old").mtime(), metadata("out/old").mtime_nsec()), (-6, 750_000_000));
    assert_eq!(metadata("out/plain").ino(), metadata("out/sub/hard").ino());
    world.assert_no_leftovers();

    // GNU tar reads it too.
    let by_tar = world.path("by-tar");
    fs::create_dir(&by_tar).expect("create folder");
    run_checked(hermetic_command("tar").arg("-xpzf").arg(world.object()).arg("-C").arg(&by_tar));
    TreeState::assert_same(&before, &TreeState::of(&by_tar));
    let piped = "gzip -cd \"$1\" | tar -t | head -1";
    let listing = run_checked(hermetic_command("sh").args(["-c", piped, "sh"]).arg(world.object()));
    assert_eq!(listing.stdout, b"./\n");
}

#[tokio::test]
async fn sockets_lost_and_found_and_excluded_paths_are_left_out() {
    let world = World::new();
    let src = world.path("src");
    fill(&src, &[("keep", "1"), ("tmp/a", "2"), ("sub/tmp", "3"), ("a.bak", "4"), ("sub/b.bak", "5")]);
    fill(&src, &[("lost+found/x", "6"), (".packhorse-restore-b0/new/x", "7"), ("sub/@pages.tmp", "8")]);
    let _socket = UnixListener::bind(src.join("socket")).expect("bind");
    let summary = world.backed_up(&["tmp", "./sub/@*", "*.bak"]).await;
    world.restore(&world.path("out"), &summary, false).await.expect("restored");
    let state = TreeState::of(world.path("out"));
    let names: Vec<_> = state.entries.keys().map(|path| path.display().to_string()).collect();
    assert_eq!(names, ["", "keep", "sub", "sub/tmp"]);
}

#[tokio::test]
async fn files_that_change_while_they_are_read_are_named_and_break_nothing() {
    let world = World::new();
    let src = world.path("src");
    for name in ["a-grows", "b-shrinks"] {
        fs::write(src.join(name), vec![b'x'; 32 << 20]).expect("write file");
    }
    fill(&src, &[("c-vanishes", "x"), ("d/vanishes", "x"), ("e", "stays")]);
    // Tar itself calls at every 100 records of 10 KiB, and waits: in the middle of the first file, and of the second.
    let change = world.path("change.sh");
    let script = format!(
        "#!/bin/bash\ncd '{}'\ncase $TAR_CHECKPOINT in\n\
         100) echo more >>a-grows; rm -r c-vanishes d ;;\n3400) truncate -s 2M b-shrinks ;;\nesac\n",
        src.display()
    );
    fs::write(&change, script).expect("write script");
    fs::set_permissions(&change, Permissions::from_mode(0o755)).expect("make executable");
    let tar = format!("exec tar --checkpoint=100 --checkpoint-action=exec='{}' \"$@\"", change.display());
    let (summary, failures) = world.back_up(&world.scripted(&tar)).await.expect("archived");
    assert_eq!(failures, []);
    let changed = summary.changed_while_read.join("\n");
    for said in ["a-grows: file changed", "b-shrinks: File shrank by"] {
        assert!(changed.contains(said), "{said}: {changed}");
    }
    assert!(!changed.contains("vanishes"), "{changed}");
    assert_eq!(
        (summary.files, &summary.removed_while_read[..]),
        (Some(3), &["c-vanishes".into(), "d".into()][..])
    );
    world.restore(&world.path("out"), &summary, false).await.expect("restored");
    assert_eq!(fs::read(world.path("out/e")).expect("read"), b"stays");
    assert_eq!(fs::metadata(world.path("out/b-shrinks")).expect("metadata").len(), 32 << 20);
    assert!(!world.path("out/c-vanishes").exists());
}

#[tokio::test]
async fn files_that_cannot_be_read_are_failures_beside_the_archive() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let src = world.path("src");
    fill(&src, &[("good", "1"), ("bad", "2"), ("closed/x", "3")]);
    for name in ["bad", "closed"] {
        fs::set_permissions(src.join(name), Permissions::from_mode(0o000)).expect("close");
    }
    let directory = world.scripted("exec setpriv --reuid=65534 --regid=65534 --clear-groups tar \"$@\"");
    let (summary, failures) = world.back_up(&directory).await.expect("archived");
    let mut items: Vec<&str> = failures.iter().map(|failure| failure.item.as_str()).collect();
    items.sort_unstable();
    assert_eq!(items, ["bad", "closed"]);
    assert_eq!(failures[0].component, Component::Directory("uploads".into()));
    assert!(failures[0].problem.to_string().contains("Permission denied"), "{}", failures[0].problem);
    world.restore(&world.path("out"), &summary, false).await.expect("restored");
    assert_eq!(fs::read(world.path("out/good")).expect("read"), b"1");
}

#[tokio::test]
async fn an_archive_that_is_not_whole_is_not_stored() {
    let world = World::new();
    fill(&world.path("src"), &[("a", "1"), ("b", "2")]);
    fs::write(world.path("src/big"), vec![b'x'; 1 << 20]).expect("write file");
    for (script, said) in [
        ("tar \"$@\"; exit 2", "exit status: 2"),
        ("tar \"$@\"; kill -KILL $$", "signal: 9"),
        ("tar \"$@\"; echo 'tar: ./a: something new' >&2", "something new"),
        ("tar \"$@\"; echo 'tar: ./a: Cannot open: No such file or directory' >&2; exit 1", "Cannot open"),
        ("tar \"$@\" | head -c 900000", "no end mark"),
        ("tar \"$@\" | head -c 900000; exit 1", "no end mark"),
    ] {
        let problem = world.not_stored(&world.scripted(script)).await;
        assert!(problem.to_string().contains(said), "{script}: {problem}");
        assert_eq!(problem.subject, Subject::Directory);
    }
    // Large enough that parts of it were sent.
    let mut random = vec![0; 24 << 20];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).expect("random bytes");
    fs::write(world.path("src/big"), random).expect("write file");
    world.not_stored(&world.scripted("tar \"$@\" | head -c 20000000; exit 2")).await;
    while run_checked(hermetic_command("find").arg(world.path("vault")).args(["-type", "f"])).stdout != b"" {
        // The abort runs beside us on this runtime.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let missing = Directory { path: world.path("missing"), ..world.directory(&[]) };
    assert_eq!(world.not_stored(&missing).await.kind, ErrorKind::NotFound);
    let file = Directory { path: world.path("src/a"), ..world.directory(&[]) };
    assert_eq!(world.not_stored(&file).await.kind, ErrorKind::NotFound);
    let cancel = world.cancel.clone();
    let slow = world.scripted("tar \"$@\"; sleep 1000");
    let cancelled =
        back_up(&world.vault, &world.run, &slow, &world.cancel, move |_, _| cancel.cancel()).await;
    assert_eq!(cancelled.expect_err("cancelled").kind, ErrorKind::Cancelled);
    assert!(!world.object().exists());
}

#[tokio::test]
async fn a_directory_needs_a_name_of_its_own() {
    for name in ["db", "repositories", "a/b", "", "manifests"] {
        let config = DirectoryConfig { name: name.into(), path: "/x".into(), exclude: vec![] };
        let problem = Directory::from_config(&config, &BTreeMap::new()).expect_err(name);
        assert_eq!((problem.kind, problem.subject), (ErrorKind::Invalid, Subject::Configuration));
    }
}

/// A member with any path and target, which the `tar` crate's own builder would refuse.
fn member(kind: EntryType, path: &str, link: &str, contents: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(contents.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(contents);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = member(EntryType::Directory, "./", "", b"");
    bytes.extend(members.concat());
    bytes.extend([0; 1024]);
    bytes
}

#[tokio::test]
async fn members_that_would_escape_cost_themselves_and_nothing_outside_changes() {
    use EntryType as T;
    let world = World::new();
    let (outside, target) = (world.path("outside"), world.path("target"));
    fill(&outside, &[("victim", "safe"), ("sub/x", "safe")]);
    fill(&target, &[("mine", "as it was")]);
    let before_outside = TreeState::of(&outside);
    let out = outside.display().to_string();
    let pax_escape = b"20 path=../../evil2\n";
    assert_eq!(pax_escape.len(), 20);
    let cases: [(&str, Vec<Vec<u8>>); 13] = [
        ("..", vec![member(T::Regular, "../evil", "", b"x")]),
        (
            ".. inside",
            vec![member(T::Directory, "./a", "", b""), member(T::Regular, "./a/../../evil", "", b"x")],
        ),
        ("absolute", vec![member(T::Regular, &format!("{out}/evil"), "", b"x")]),
        ("pax ..", vec![member(T::XHeader, "x", "", pax_escape), member(T::Regular, "a", "", b"x")]),
        (
            "through a link",
            vec![member(T::Symlink, "./l", &out, b""), member(T::Regular, "./l/victim", "", b"x")],
        ),
        (
            "through two links",
            vec![
                member(T::Symlink, "./l", "m", b""),
                member(T::Symlink, "./m", &out, b""),
                member(T::Regular, "./l/victim", "", b"x"),
            ],
        ),
        (
            "folder on a link",
            vec![member(T::Symlink, "./l", &out, b""), member(T::Directory, "./l", "", b"")],
        ),
        (
            "folder in a link",
            vec![member(T::Symlink, "./l", &out, b""), member(T::Directory, "./l/new", "", b"")],
        ),
        ("hard link out", vec![member(T::Link, "./h", &format!("{out}/victim"), b"")]),
        ("hard link up", vec![member(T::Link, "./h", "../../outside/victim", b"")]),
        (
            "hard link through a link",
            vec![
                member(T::Symlink, "./l", &out, b""),
                member(T::Link, "./h", "./l/victim", b""),
                member(T::Regular, "./h", "", b"x"),
            ],
        ),
        ("the folder itself", vec![member(T::Symlink, "./", &out, b"")]),
        ("unknown", vec![member(T::new(b'Z'), "./z", "", b"")]),
    ];
    for (case, mut members) in cases {
        members.push(member(T::Regular, "./good", "", b"good"));
        let summary = world.store(&archive(&members));
        let restored = world.restore_in_part(to(&target), &summary).await.expect(case);
        let missing = restored.missing.first().expect(case);
        assert_eq!(missing.component, Component::Directory("uploads".into()));
        assert_eq!(fs::read_to_string(target.join("good")).expect(case), "good");
        TreeState::assert_same(&before_outside, &TreeState::of(&outside));
        assert!(!world.path("evil").exists() && !world.path("evil2").exists(), "{case}");
        world.assert_no_leftovers();
    }
    // A file in the place of a link replaces the link, not what it points to.
    let link_then_file =
        [member(T::Symlink, "./l", &format!("{out}/victim"), b""), member(T::Regular, "./l", "", b"new")];
    world.restore(&target, &world.store(&archive(&link_then_file)), true).await.expect("restored");
    assert_eq!(fs::read(target.join("l")).expect("read"), b"new");
    TreeState::assert_same(&before_outside, &TreeState::of(&outside));
}

#[tokio::test]
async fn a_damaged_archive_leaves_the_target_as_it_was() {
    let world = World::new();
    let target = world.path("target");
    fill(&world.path("src"), &[("a", "1"), ("sub/b", "2")]);
    fill(&target, &[("mine", "as it was")]);
    let before = TreeState::of(&target);
    let summary = world.backed_up(&[]).await;
    let good = fs::read(world.object()).expect("read object");
    let mut damaged: Vec<Vec<u8>> = [0, 20, good.len() / 2, good.len() - 6, good.len() - 1]
        .map(|position| {
            let mut bytes = good.clone();
            bytes[position] ^= 1;
            bytes
        })
        .to_vec();
    damaged.extend([
        vec![],
        good[..good.len() / 2].to_vec(),
        good[..good.len() - 1].to_vec(),
        [&good[..], &good].concat(),
    ]);
    for bytes in damaged {
        fs::write(world.object(), &bytes).expect("write object");
        let problem = world.restore(&target, &summary, true).await.expect_err("damaged");
        assert_eq!(problem.kind, ErrorKind::Corrupt, "{problem}");
        TreeState::assert_same(&before, &TreeState::of(&target));
    }
    fs::remove_file(world.object()).expect("remove object");
    assert_eq!(world.restore(&target, &summary, true).await.expect_err("gone").kind, ErrorKind::NotFound);
    // Right digests of wrong archives.
    let whole = archive(&[member(EntryType::Regular, "./a", "", b"x")]);
    for cut in [whole.len() - 1024, whole.len() - 512, 700, 512, 0] {
        let problem = world.restore(&target, &world.store(&whole[..cut]), true).await.expect_err("cut");
        assert_eq!(problem.kind, ErrorKind::Corrupt, "{cut}: {problem}");
    }
    let wrong_size = DirectorySummary { bytes_plain: 1, ..world.store(&whole) };
    assert_eq!(world.restore(&target, &wrong_size, true).await.expect_err("size").kind, ErrorKind::Corrupt);
    let summary = world.store(&whole);
    let cancel = world.cancel.clone();
    let cancelled =
        restore_one(&world.vault, &world.run.id, to(&target), &summary, &world.cancel, move |_, _| {
            cancel.cancel();
        });
    assert_eq!(cancelled.await.expect_err("cancelled").kind, ErrorKind::Cancelled);
    TreeState::assert_same(&before, &TreeState::of(&target));
    world.assert_no_leftovers();
}

#[tokio::test]
async fn what_is_there_is_replaced_only_by_force() {
    let world = World::new();
    fill(&world.path("src"), &[("a", "1")]);
    let summary = world.backed_up(&[]).await;
    let wanted = TreeState::of(world.path("src"));
    let target = world.path("target");
    fs::create_dir(&target).expect("create folder");
    world.restore(&target, &summary, false).await.expect("an empty folder is no obstacle");
    TreeState::assert_same(&wanted, &TreeState::of(&target));
    fill(&target, &[("b/c", "2")]);
    let full = TreeState::of(&target);
    let problem = world.restore(&target, &summary, false).await.expect_err("not empty");
    assert_eq!((problem.kind, problem.subject), (ErrorKind::AlreadyExists, Subject::Directory));
    TreeState::assert_same(&full, &TreeState::of(&target));
    let link = world.path("link");
    symlink(&target, &link).expect("make link");
    world.restore(&link, &summary, true).await.expect("restored");
    TreeState::assert_same(&wanted, &TreeState::of(&target));
    assert!(link.is_symlink());
    let nowhere = world.restore(&world.path("no/such/parent"), &summary, false).await.expect_err("no parent");
    assert_eq!(nowhere.kind, ErrorKind::NotFound);
    world.assert_no_leftovers();
}

#[tokio::test]
async fn what_dead_restores_left_is_removed_or_put_back() {
    let world = World::new();
    fill(&world.path("src"), &[("a", "1")]);
    let summary = world.backed_up(&[]).await;
    let target = world.path("target");
    fill(&world.path(".target.packhorse-restore-b0"), &[("new/half", "x")]);
    fill(&world.path(".target.packhorse-restore-b1"), &[("new/half", "x")]);
    // Died between the two renames: what was there is moved aside, and nothing is in its place.
    fill(&world.path(".target.packhorse-restore-b2"), &[("old/mine", "x"), ("new/half", "x")]);
    let problem = world.restore(&target, &summary, false).await.expect_err("put back, so not empty");
    assert_eq!(problem.kind, ErrorKind::AlreadyExists);
    assert!(target.join("mine").exists());
    world.assert_no_leftovers();
    world.restore(&target, &summary, true).await.expect("restored");

    let running = world.path(".target.packhorse-restore-b9");
    fs::create_dir(&running).expect("create folder");
    let lock = File::open(&running).expect("open");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("lock");
    let problem = world.restore(&target, &summary, true).await.expect_err("another is running");
    assert!(problem.to_string().contains("is running"), "{problem}");
    assert!(running.exists());
}

/// A small filesystem of its own at this folder; none where the container does not let us mount.
struct Mount(PathBuf);

impl Mount {
    fn new(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).expect("create folder");
        let mut mount = hermetic_command("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(path.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run_checked(hermetic_command("umount").arg(&self.0));
    }
}

#[tokio::test]
async fn a_mount_point_is_swapped_entry_by_entry() {
    let world = World::new();
    fill(&world.path("src"), &[("a", "1"), ("b/c", "2")]);
    fs::set_permissions(world.path("src"), Permissions::from_mode(0o2770)).expect("set mode");
    let summary = world.backed_up(&[]).await;
    let wanted = TreeState::of(world.path("src"));
    let target = world.path("mounted");
    let Some(mount) = Mount::new(&target) else {
        packhorse_testkit::skipped("nothing can be mounted");
        return;
    };
    world.restore(&target, &summary, false).await.expect("restored");
    TreeState::assert_same(&wanted, &TreeState::of(&target));
    fill(&target, &[("b/mine", "3"), ("lost+found/x", "4")]);
    let full = TreeState::of(&target);
    let problem = world.restore(&target, &summary, false).await.expect_err("not empty");
    assert_eq!(problem.kind, ErrorKind::AlreadyExists);

    fs::write(world.path("src/big"), vec![b'x'; 4 << 20]).expect("write file");
    let big = Directory { name: "big".into(), ..world.directory(&[]) };
    let (too_big, _) = world.back_up(&big).await.expect("archived");
    let problem = world.restore(&target, &too_big, true).await.expect_err("does not fit");
    assert!(format!("{problem:?}").contains("free space"), "{problem:?}");
    // The unpacking came and went in the folder itself, which shows when a second has passed.
    let mut after = TreeState::of(&target);
    after.entries.insert("".into(), full.entries[Path::new("")].clone());
    TreeState::assert_same(&full, &after);

    world.restore(&target, &summary, true).await.expect("restored");
    let mut after = TreeState::of(&target);
    assert!(after.entries.remove(Path::new("lost+found/x")).is_some());
    after.entries.remove(Path::new("lost+found"));
    TreeState::assert_same(&wanted, &after);

    // What is excluded stays where it is, or is carried over, also by the next restore.
    fill(&target, &[("tmp/x", "now"), ("b/tmp/y", "now"), ("b/newer", "x")]);
    world.replace(excluding(&target, &["tmp", "b/tmp"]), &summary).await.expect("restored");
    let read = |path: &str| fs::read_to_string(target.join(path)).ok();
    assert_eq!((read("tmp/x").as_deref(), read("b/tmp/y").as_deref()), (Some("now"), Some("now")));
    assert_eq!((read("b/newer"), read("b/c").as_deref()), (None, Some("2")));
    let working = target.join(".packhorse-restore-b0");
    fill(&working, &[("old/b/tmp/z", "precious"), ("old/b/newer", "x"), ("swapped", "")]);
    let kept = kept::Kept::new(vec!["b/tmp/z".into()], []);
    kept.record(&working, &working.join("old")).expect("recorded");
    world.replace(excluding(&target, &["tmp", "b/tmp"]), &summary).await.expect("restored");
    assert_eq!(read("b/tmp/z").as_deref(), Some("precious"));
    assert!(!working.exists());

    fill(&target.join(".packhorse-restore-b0"), &[("old/mine", "precious")]);
    let problem = world.restore(&target, &summary, true).await.expect_err("unfinished swap");
    assert!(problem.to_string().contains("died while it swapped"), "{problem}");
    assert!(target.join(".packhorse-restore-b0/old/mine").exists());
    let problem = world.restore(world.folder.path(), &summary, true).await.expect_err("mount below");
    assert!(problem.to_string().contains("mount point below"), "{problem}");
    drop(mount);
}

#[test]
fn a_swap_that_fails_half_way_is_rolled_back() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let target = folder.path().join("target");
    fill(&target, &[("a", "1"), ("b", "2")]);
    let before = TreeState::of(&target);
    let site = site::Site::find(&target, &[], true).expect("found");
    let id = "b1".parse().expect("literal ID");
    let mut staging = staging::Staging::create(folder.path(), &site.prefix, &id).expect("created");
    fill(&staging.new_tree(), &[("a", "new")]);
    let old = staging.old_tree();
    fs::create_dir(&old).expect("create folder");
    let out = [(target.join("a"), old.join("a")), (target.join("b"), old.join("b"))];
    let into = [
        (staging.new_tree().join("a"), target.join("a")),
        (staging.new_tree().join("gone"), target.join("b")),
    ];
    staging.keep = true;
    let (_, state) = swap::move_all(&out, &into, &mut staging).expect_err("the last move fails");
    assert!(state.contains("left as it was") && !staging.keep);
    let after = TreeState::of(&target);
    assert_eq!(before.entries[Path::new("a")], after.entries[Path::new("a")]);
    assert_eq!(after.entries[Path::new("b")].kind, before.entries[Path::new("b")].kind);
    assert!(matches!(after.entries[Path::new("a")].kind, Kind::File(1, _)));
    fs::remove_dir(&old).expect("all went back");
    swap::swap_in_two(&site, &mut staging).expect("swapped");
    assert_eq!(fs::read(target.join("a")).expect("read"), b"new");
}
