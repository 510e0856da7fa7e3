//! Measures time and memory on a large pack of the caller's, beside `git index-pack`. Run by hand, in release mode:
//! `PACKHORSE_PACK=/path/to/complete.pack [PACKHORSE_COPIES=4] cargo test --release -p packhorse-agent measure -- --ignored --nocapture`

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use packhorse_testkit::GitRepo;
use packhorse_vault::{BundleHeader, ObjectFormat, Oid};
use tokio_util::sync::CancellationToken;

use super::{
    desk::{Desk, run},
    writer::Writer,
};

fn anonymous_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[expect(clippy::print_stderr, reason = "measurements are for a person to read")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a large pack"]
async fn measure_a_large_pack() {
    let pack = std::env::var("PACKHORSE_PACK").expect("PACKHORSE_PACK names a pack without missing bases");
    let folder = tempfile::tempdir_in("/tmp").expect("temporary folder");
    let source = GitRepo::init(folder.path().join("source.git"));
    let started = Instant::now();
    source.run_with_input(&["index-pack", "--stdin", "--threads=2"], &fs::read(&pack).expect("read pack"));
    let git = started.elapsed();
    let objects = source.run(&[
        "cat-file",
        "--batch-all-objects",
        "--unordered",
        "--batch-check=%(objecttype) %(objectname)",
    ]);
    let commit = objects.lines().find_map(|line| line.strip_prefix("commit "));
    let commit = commit.expect("has a commit").to_owned();
    source.update_ref("refs/heads/main", &commit);
    let mut writer = Writer::new(true);
    let header = BundleHeader {
        object_format: ObjectFormat::Sha1,
        prerequisites: Vec::new(),
        refs: vec![(b"refs/heads/main".to_vec(), Oid::from_hex(commit.as_bytes()).expect("an id"))],
    };
    let bytes = [header.to_bytes(), fs::read(&pack).expect("read pack")].concat();
    let copies: usize =
        std::env::var("PACKHORSE_COPIES").map_or(1, |copies| copies.parse().expect("a number"));
    for copy in 0..copies {
        let path = format!("a/{copy}.git");
        let bundle = writer.step(&source, &path).steps[0].bundle_path.clone();
        writer.replace(&bundle, &bytes, &path);
    }
    drop((bytes, objects));
    let (stop, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watch = std::thread::spawn({
        let (stop, peak) = (Arc::clone(&stop), Arc::clone(&peak));
        move || {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_kib(), Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    });
    let (desk, before) = (Desk::new(), anonymous_kib());
    let started = Instant::now();
    let mut job = desk.job(writer.catalogue().await);
    job.jobs = 4;
    let ran = run(&writer.vault, job, CancellationToken::new()).await;
    let ours = started.elapsed();
    stop.store(true, Ordering::Relaxed);
    watch.join().expect("no panic");
    assert_eq!(ran.failures, []);
    eprintln!("git index-pack {git:?}, restore {ours:?}: {:.2}", ours.as_secs_f64() / git.as_secs_f64());
    eprintln!("RssAnon before {before} KiB, peak {} KiB", peak.load(Ordering::Relaxed));
}
