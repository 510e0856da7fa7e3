//! Streams of real programs through all steps, with a store that is held, that fails, and that is damaged.

use std::{
    fs,
    io::Read,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use packhorse_model::{BackupId, ErrorKind, ObjectDigest, Problem, VaultSettings};
use packhorse_testkit::{assert_stays, hermetic_command, run_checked, wait_until};
use packhorse_vault::{ObjectKey, Pace, PartSize, RunAttempt, Vault, digest_of};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{compress::Compressed, member::PIECE, *};

const SOON: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
/// More than the vault's own buffer below, and less than that and the room.
const BURST: u64 = 30 * MIB;
/// More than all buffers.
const FLOOD: u64 = 100 * MIB;

struct World {
    folder: tempfile::TempDir,
    vault: Vault,
    key: ObjectKey,
    cancel: CancellationToken,
    /// Plain bytes that were read from the program.
    read: Arc<AtomicU64>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir(folder.path().join("vault")).expect("create the vault's folder");
        let mut settings = VaultSettings::new(format!("file://{}/vault", folder.path().display()));
        settings.upload_memory_mib = 8;
        let vault = packhorse_vault::open(&settings).expect("vault opens");
        let key = ObjectKey::directory(&RunAttempt::first(id()), "uploads");
        Self { folder, vault, key, cancel: CancellationToken::new(), read: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn object(&self) -> PathBuf {
        self.path("vault").join(self.key.as_str())
    }

    /// Stores what a script says, at this pace.
    fn spawn(&self, script: &str, pace: &Pace) -> JoinHandle<Result<Compressed<()>, Problem>> {
        let environment =
            [("PATH", "/usr/bin:/bin".to_owned()), ("HERE", self.path("").display().to_string())];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        let mut child = Child::start("bash".as_ref(), ["-c", script], &environment).expect("bash starts");
        let writer = self.vault.paced(pace.clone()).writer(self.key.clone(), PartSize::SMALLEST);
        let (cancel, count) = (self.cancel.clone(), Arc::clone(&self.read));
        #[expect(clippy::disallowed_methods, reason = "every test waits for it")]
        tokio::spawn(async move {
            let inspect = move |(): &mut (), piece: &[u8]| {
                count.fetch_add(piece.len() as u64, Relaxed);
            };
            compress(&mut child, writer, &cancel, (), inspect).await?.1
        })
    }

    async fn stored(&self, script: &str) -> (ObjectDigest, u64) {
        let compressed = self.spawn(script, &Pace::default()).await.expect("joined").expect("compressed");
        let plain = compressed.plain;
        (compressed.finish().await.expect("finished"), plain)
    }

    /// Waits until the script has made a file.
    fn wait_for(&self, name: &str) {
        let path = self.path(name);
        wait_until(name, SOON, || if path.exists() { Ok(()) } else { Err(format!("{} bytes", self.read())) });
    }

    fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Reads the object as a restore does; the bytes, or the problem of reading or proving them.
    async fn read_back(&self, object: &ObjectDigest, plain: u64) -> Result<Vec<u8>, Problem> {
        let reader = PlainReader::open(&self.vault, &self.key, object, &self.cancel, |_| {}).await;
        let mut reader = reader.expect("opened");
        let read = spawn_blocking(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map_err(|error| reader.problem(&error))?;
            reader.prove(plain).map(|()| bytes)
        });
        joined(read.await)
    }
}

fn id() -> BackupId {
    "b1".parse().expect("literal ID")
}

/// Pieces that take long to compress before pieces that take no time, and half a piece.
fn bytes() -> Vec<u8> {
    let mut random = 1_u64;
    let mut noise = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'a' + (random >> 60) as u8
    };
    let pieces = (0..6).flat_map(|n| {
        let piece: Vec<u8> = if n % 2 == 0 { (0..PIECE).map(|_| noise()).collect() } else { vec![n; PIECE] };
        piece
    });
    pieces.chain(b"the end".repeat(1000)).collect()
}

fn members(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.chunks(PIECE).map(|piece| member::compress(piece).expect("compressed")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_the_members_of_its_pieces_in_order() {
    let (world, bytes) = (World::new(), bytes());
    fs::write(world.path("input"), &bytes).expect("write file");
    // In dribs and drabs, which do not decide where a piece ends.
    let (object, plain) =
        world.stored("head -c 100 $HERE/input; tail -c +101 $HERE/input | dd status=none bs=777").await;
    assert_eq!(plain, bytes.len() as u64);
    let stored = fs::read(world.object()).expect("read object");
    assert!(stored == members(&bytes).concat(), "not what one core makes of it");
    assert_eq!(object, digest_of(&world.key, &stored));
    assert!(world.read_back(&object, plain).await.expect("whole") == bytes);
    let by_gzip = run_checked(hermetic_command("gzip").arg("-cd").arg(world.object())).stdout;
    assert!(by_gzip == bytes, "gzip reads all members");
    let script = "import gzip, sys; sys.stdout.buffer.write(gzip.open(sys.argv[1]).read())";
    let by_python = run_checked(hermetic_command("python3").args(["-c", script]).arg(world.object())).stdout;
    assert!(by_python == bytes, "Python reads all members");
}

#[tokio::test]
async fn no_output_is_one_empty_member() {
    let world = World::new();
    let (object, plain) = world.stored("true").await;
    assert_eq!(plain, 0);
    assert_eq!(fs::read(world.object()).expect("read object"), member::compress(&[]).expect("compressed"));
    assert_eq!(world.read_back(&object, 0).await.expect("whole"), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_missing_added_swapped_or_cut_is_found() {
    let (world, bytes) = (World::new(), bytes());
    let good = members(&bytes);
    let object = digest_of(&world.key, &good.concat());
    fs::create_dir_all(world.object().parent().expect("in a folder")).expect("create folder");
    let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut members = good.clone();
        change(&mut members);
        members.concat()
    };
    fs::write(world.object(), good.concat()).expect("write object");
    assert!(world.read_back(&object, bytes.len() as u64).await.expect("whole") == bytes);
    let empty = member::compress(&[]).expect("compressed");
    for (damage, stored) in [
        ("cut between members", changed(&|members| members.truncate(4))),
        ("the last is missing", changed(&|members| drop(members.pop()))),
        ("one is missing", changed(&|members| drop(members.remove(1)))),
        ("one is there twice", changed(&|members| members.insert(2, members[2].clone()))),
        ("an empty one was added", changed(&|members| members.push(empty.clone()))),
        ("two are swapped", changed(&|members| members.swap(0, 2))),
        ("one takes another's place", changed(&|members| members[1] = members[3].clone())),
        ("cut in a member", changed(&|members| members[3].truncate(20))),
        ("cut in a header", changed(&|members| members[6].truncate(5))),
        ("garbage at the end", changed(&|members| members.push(b"garbage".to_vec()))),
        ("zeros at the end", changed(&|members| members.push(vec![0; 512]))),
        ("garbage between members", changed(&|members| members.insert(3, b"garbage".to_vec()))),
        ("nothing is left", Vec::new()),
    ] {
        fs::write(world.object(), stored).expect("write object");
        let problem = world.read_back(&object, bytes.len() as u64).await.expect_err(damage);
        assert_eq!(problem.kind, ErrorKind::Corrupt, "{damage}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_goes_on_while_the_store_takes_nothing() {
    let (world, pace) = (World::new(), Pace::new(1, 0));
    let store = pace.upload(0).await;
    let storing = world.spawn(&format!("head -c {BURST} /dev/urandom; touch $HERE/written"), &pace);
    world.wait_for("written");
    assert!(!world.object().exists());
    drop(store);
    let compressed = storing.await.expect("joined").expect("compressed");
    assert_eq!(compressed.plain, BURST);
    let object = compressed.finish().await.expect("finished");
    assert_eq!(world.read_back(&object, BURST).await.expect("whole").len() as u64, BURST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_nothing_for_good_holds_a_program_back() {
    let (world, pace) = (World::new(), Pace::new(1, 0));
    let store = pace.upload(0).await;
    let storing = world.spawn(&format!("head -c {FLOOD} /dev/urandom; touch $HERE/written"), &pace);
    wait_until("full buffers", SOON, || {
        if world.read() > BURST { Ok(()) } else { Err(world.read().to_string()) }
    });
    assert_stays("the buffers' bound", Duration::from_secs(1), || {
        // Half of the room, and what the vault and the pipe take.
        if world.read() > 48 * MIB { Err(format!("{} bytes", world.read())) } else { Ok(()) }
    });
    assert!(!world.path("written").exists());
    drop(store);
    assert_eq!(storing.await.expect("joined").expect("compressed").plain, FLOOD);
    world.wait_for("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_ends_a_program_that_has_nothing_to_say() {
    let world = World::new();
    fs::create_dir_all(world.path("vault")).expect("create folder");
    fs::write(world.path("vault/backups"), Bytes::new()).expect("a file where a folder must be");
    let storing = world.spawn("head -c 20000000 /dev/urandom; sleep 1000", &Pace::default());
    let problem = storing.await.expect("joined").map(drop).expect_err("the vault cannot be written");
    assert_eq!(problem.subject, packhorse_model::Subject::Vault, "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_writes_no_more_of_what_was_read() {
    let (world, pace) = (World::new(), Pace::new(1, 0));
    let store = pace.upload(0).await;
    let storing =
        world.spawn(&format!("head -c {BURST} /dev/urandom; touch $HERE/written; sleep 1000"), &pace);
    world.wait_for("written");
    world.cancel.cancel();
    drop(store);
    let problem = storing.await.expect("joined").map(drop).expect_err("cancelled");
    assert_eq!(problem.kind, ErrorKind::Cancelled, "{problem}");
    assert!(!world.object().exists());
}
