//! Step 4, bundle: our own header, then a pack of what the frozen tips reach.
//!
//! Does not own: the upload (`vault::ObjectWriter`) or which step it is (`plan`). A full step is copied from the
//! repository's packs (`copy`) where they are made for it; everything else is what `git pack-objects` writes. Linear in
//! the number of refs, on every git version, because git is only given object ids. Git's pack is taken as it streams; it
//! counts only when git exited with 0 and, as a whole, is proven: an increment by inflating every entry as it passes, a
//! full step by the checksums of the packs that its objects are copied from.

use std::{
    collections::{BTreeSet, HashSet},
    io::{self, BufReader, Read, Write},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use gix::odb::pack::data::input::{BytesToEntriesIter, EntryDataMode, Mode};
use packhorse_model::ObjectDigest;
use packhorse_vault::{BundleHeader, ObjectKey, ObjectWriter, Oid, RefSnapshot, VaultError, empty_pack};

use super::{
    copy::{self, CopyError, Knowledge, Trust},
    pack_proof,
    plan::Continuation,
    prerequisites,
    progress::Progress,
    watch::Watch,
};
use crate::git::{Child, Git, Objects, hash_kind};

/// Bytes moved from git to the upload at once.
const CHUNK: usize = 256 * 1024;
/// The same for a small repository, where clearing a larger buffer would cost more than it saves.
const SMALL_CHUNK: usize = 32 * 1024;
/// Repositories below this size are packed by one thread: starting more costs more than it saves.
const SMALL: u64 = 8 << 20;
/// Objects below which a walk takes less time than to remember what it proved.
const WORTH_KNOWING: u32 = 10_000;

/// Why there is no bundle.
#[derive(Debug)]
pub enum BundleError {
    /// The repository or git: may be gone on a second try, when the repository was being changed.
    Git(String),
    /// The vault.
    Vault(VaultError),
    /// A stop was asked for.
    Cancelled,
}

/// The repository that is bundled.
pub struct Source<'a> {
    /// Its folder.
    pub dir: &'a Path,
    /// Its frozen refs.
    pub refs: &'a RefSnapshot,
    /// Watches the work, and stops it.
    pub watch: &'a Watch,
}

/// A bundle that was written and is not completed yet.
pub struct Bundle {
    /// The bundle.
    pub object: ObjectWriter,
    /// The index of its pack.
    pub index: Option<ObjectWriter>,
    /// What is known of its completeness.
    pub knowledge: Knowledge,
}

impl Bundle {
    /// A bundle that git packed, which fails when anything is missing.
    fn by_git(writer: BundleWriter) -> Self {
        Self { object: writer.object, index: None, knowledge: Knowledge::default() }
    }

    /// Bytes written so far.
    pub fn bytes_written(&self) -> u64 {
        self.object.bytes_written() + self.index.as_ref().map_or(0, ObjectWriter::bytes_written)
    }

    /// Bytes that are held outside the vault's budget until it is completed.
    pub fn bytes_buffered(&self) -> usize {
        self.object.bytes_buffered() + self.index.as_ref().map_or(0, ObjectWriter::bytes_buffered)
    }

    /// Completes it together with other objects of the step, and gives their digests.
    pub async fn complete_with(
        self,
        others: Vec<(ObjectKey, Bytes)>,
    ) -> Result<(Vec<ObjectDigest>, Knowledge), VaultError> {
        let mut digests = self.object.complete_with(others).await?;
        if let Some(index) = self.index {
            digests.push(index.complete().await?);
        }
        Ok((digests, self.knowledge))
    }
}

/// The objects of a step that are written as streams.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// The bundle.
    Bundle,
    /// The index of its pack.
    Index,
}

impl Stream {
    /// How its key ends.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Index => "idx",
        }
    }
}

/// An object of a step on its way; what is written is progress.
pub struct BundleWriter {
    /// The object.
    pub object: ObjectWriter,
    /// Of the storage.
    pub progress: Arc<Progress>,
    /// Of this repository.
    pub watch: Arc<Watch>,
}

impl Write for BundleWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.watch.waiting(|| self.object.write(bytes))?;
        self.watch.moved(taken);
        self.progress.sent(taken as u64);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.object.flush()
    }
}

/// How the pack is proven undamaged.
enum Proof {
    /// By inflating every entry as it passes.
    Inflate,
    /// By the checksums of the repository's packs, elsewhere.
    Packs,
}

/// What a bundle holds and what it leaves out.
struct Range {
    header: BundleHeader,
    tips: Vec<Oid>,
    known: Vec<Oid>,
}

/// Writes the bundle of a full step, and the index of a pack of `index_from` bytes or more. Blocking.
pub fn write_full(
    source: &Source<'_>,
    (trust, index_from): (&Trust, u64),
    git: &Git,
    open: impl Fn(Stream, u64) -> BundleWriter,
) -> Result<Bundle, BundleError> {
    let listed = source.refs.refs.iter().map(|(name, oid)| (name.to_vec(), oid)).collect();
    let header = header(source.refs, listed, vec![]);
    match copy_full(source, &header, (trust, index_from), &open) {
        Ok(bundle) => Ok(bundle),
        Err(CopyError::Pack(finding)) => Err(BundleError::Git(finding)),
        Err(CopyError::Receiver(error)) => Err(vault_error(error)),
        Err(CopyError::Cancelled) => Err(BundleError::Cancelled),
        Err(CopyError::Unsuited(_)) if source.watch.cancel.is_cancelled() => Err(BundleError::Cancelled),
        Err(CopyError::Unsuited(reason)) => {
            tracing::debug!(repository = %source.dir.display(), %reason, "left to git pack-objects");
            pack_full(source, git, header, open).map(Bundle::by_git)
        }
    }
}

fn copy_full(
    source: &Source<'_>,
    header: &BundleHeader,
    (trust, index_from): (&Trust, u64),
    open: impl Fn(Stream, u64) -> BundleWriter,
) -> Result<Bundle, CopyError> {
    let (copy, mut knowledge) = copy::prepare(source.dir, source.refs, trust, &source.watch.cancel)?;
    let header = header.to_bytes();
    let size = copy.size();
    let mut writer = open(Stream::Bundle, size + header.len() as u64);
    writer.write_all(&header).map_err(CopyError::Receiver)?;
    let written = copy.write(&mut writer, &source.watch.cancel)?;
    if written.objects() < WORTH_KNOWING {
        knowledge.closed.clear();
    }
    // A small pack is indexed sooner than its index is asked for.
    let index = if size >= index_from {
        // Who holds a part of the upload budget must not wait for another; a small object takes none.
        if written.index_size() > ObjectWriter::UNBUDGETED as u64 {
            writer.object.seal().map_err(CopyError::Receiver)?;
        }
        let mut index = open(Stream::Index, written.index_size());
        written.write_index(&mut index).map_err(CopyError::Receiver)?;
        Some(index.object)
    } else {
        None
    };
    Ok(Bundle { object: writer.object, index, knowledge })
}

/// Has git pack everything, the packs' checksums being proven meanwhile.
fn pack_full(
    source: &Source<'_>,
    git: &Git,
    header: BundleHeader,
    open: impl Fn(Stream, u64) -> BundleWriter,
) -> Result<BundleWriter, BundleError> {
    let tips: BTreeSet<Oid> =
        source.refs.refs.iter().map(|(_, oid)| oid).chain(source.refs.head_oid()).collect();
    let range = Range { header, tips: tips.into_iter().collect(), known: vec![] };
    std::thread::scope(|scope| {
        let proof = scope.spawn(|| {
            source.watch.this_thread();
            pack_proof::prove(source.dir, source.refs.object_format, &source.watch.cancel)
        });
        let written = write(source, git, &range, Proof::Packs, open);
        let proof = proof.join().unwrap_or_else(|_| Err("the check of the packs ended by a defect".into()));
        // A damaged pack explains what git says of it, so it goes first.
        match (proof, written) {
            (_, Err(BundleError::Cancelled)) => Err(BundleError::Cancelled),
            (Err(_), _) if source.watch.cancel.is_cancelled() => Err(BundleError::Cancelled),
            (Err(damage), _) => Err(BundleError::Git(damage)),
            (Ok(()), written) => written,
        }
    })
}

/// Writes the bundle of an increment. Blocking.
pub fn write_increment(
    source: &Source<'_>,
    base: &Continuation,
    git: &Git,
    open: impl Fn(Stream, u64) -> BundleWriter,
) -> Result<Bundle, BundleError> {
    let mut objects = Objects::open(source.dir, source.refs.object_format).map_err(unreadable)?;
    // HEAD's own object is no base, because a reader that replays the chain does not keep it.
    let before: HashSet<Oid> = base.refs.iter().map(|(_, oid)| oid).collect();
    let moved = source.refs.refs.compare(&base.refs);
    let listed: Vec<(Vec<u8>, Oid)> = moved
        .filter(|(_, now, then)| now != then)
        .filter_map(|(name, now, _)| Some((name.to_vec(), now?)))
        .collect();
    let targets: BTreeSet<Oid> = listed.iter().map(|(_, oid)| *oid).chain(source.refs.head_oid()).collect();
    let targets: Vec<Oid> = targets.into_iter().collect();
    let many = before.len() > prerequisites::FEW_TIPS;
    let near = if many { prerequisites::near(&mut objects, &targets, &before) } else { None };
    let (tips, known, prerequisites) = match near {
        Some(edge) => {
            let tips = targets.into_iter().filter(|oid| !before.contains(oid)).collect();
            (tips, edge.clone(), edge)
        }
        None => {
            // Tips that were pruned cannot be given to git; then the increment only gets larger.
            let known: BTreeSet<Oid> = before.into_iter().filter(|oid| objects.exists(*oid)).collect();
            let now = source.refs.refs.iter().map(|(_, oid)| oid).chain(source.refs.head_oid());
            let tips: BTreeSet<Oid> = now.filter(|oid| !known.contains(oid)).collect();
            let known: Vec<Oid> = known.into_iter().collect();
            let prerequisites = prerequisites::of(&mut objects, &targets, &known);
            (tips.into_iter().collect(), known, prerequisites)
        }
    };
    drop(objects);
    let range = Range { header: header(source.refs, listed, prerequisites), tips, known };
    write(source, git, &range, Proof::Inflate, open).map(Bundle::by_git)
}

fn header(refs: &RefSnapshot, mut listed: Vec<(Vec<u8>, Oid)>, prerequisites: Vec<Oid>) -> BundleHeader {
    if let Some(oid) = refs.head_oid() {
        listed.push((b"HEAD".to_vec(), oid));
    }
    BundleHeader { object_format: refs.object_format, prerequisites, refs: listed }
}

fn write(
    source: &Source<'_>,
    git: &Git,
    range: &Range,
    proof: Proof,
    open: impl Fn(Stream, u64) -> BundleWriter,
) -> Result<BundleWriter, BundleError> {
    let header = range.header.to_bytes();
    if range.tips.is_empty() {
        let mut writer = open(Stream::Bundle, header.len() as u64);
        writer.write_all(&header).map_err(vault_error)?;
        writer.write_all(&empty_pack(source.refs.object_format)).map_err(vault_error)?;
        return Ok(writer);
    }
    let size_on_disk = pack_proof::size_on_disk(source.dir);
    let mut command = git.command(source.dir);
    command.args(["-c", "pack.windowMemory=100m", "-c", "core.useReplaceRefs=false"]);
    let small = size_on_disk < SMALL;
    if small {
        command.args(["-c", "pack.threads=1"]);
    }
    // A bitmap from before `git fetch --unshallow` has git leave out what was fetched, and exit with 0.
    command.args([
        "pack-objects",
        "--revs",
        "--stdout",
        "--delta-base-offset",
        "--no-use-bitmap-index",
        "-q",
    ]);
    if !range.known.is_empty() {
        command.arg("--thin");
    }
    let mut child = Child::spawn(command, &source.watch.cancel)
        .map_err(|e| BundleError::Git(format!("start git: {e}")))?;
    child.feed(revisions(range));
    let Some(stdout) = child.stdout() else { return Err(BundleError::Git("git has no output".into())) };
    let mut writer = open(Stream::Bundle, size_on_disk + header.len() as u64);
    writer.write_all(&header).map_err(vault_error)?;
    let copied = match proof {
        Proof::Inflate => copy_inflating(stdout, &mut writer, source.refs),
        Proof::Packs => copy_plain(stdout, &mut writer, if small { SMALL_CHUNK } else { CHUNK }),
    };
    let finished = match &copied {
        // The child may still be writing: its handle kills it.
        Err(Copied::Vault(_)) => None,
        _ => Some(child.finish().map_err(|e| BundleError::Git(format!("wait for git: {e}")))?),
    };
    if source.watch.cancel.is_cancelled() {
        return Err(BundleError::Cancelled);
    }
    if let Some(finished) = finished.filter(|finished| !finished.status.success()) {
        let said = if finished.stderr.is_empty() { "no message".into() } else { finished.stderr };
        return Err(BundleError::Git(format!("git pack-objects: {}: {said}", finished.status)));
    }
    match copied {
        Ok(()) => Ok(writer),
        Err(Copied::Vault(error)) => Err(vault_error(error)),
        Err(Copied::Pack(finding)) => {
            Err(BundleError::Git(format!("git pack-objects wrote a bad pack: {finding}")))
        }
    }
}

fn revisions(range: &Range) -> Vec<u8> {
    let mut input = Vec::with_capacity((range.tips.len() + range.known.len()) * 42);
    for oid in &range.tips {
        oid.write_hex(&mut input);
        input.push(b'\n');
    }
    for oid in &range.known {
        input.push(b'^');
        oid.write_hex(&mut input);
        input.push(b'\n');
    }
    input
}

enum Copied {
    Vault(io::Error),
    Pack(String),
}

fn copy_plain(mut stdout: impl Read, writer: &mut BundleWriter, chunk: usize) -> Result<(), Copied> {
    let mut buffer = vec![0; chunk];
    stdout.read_exact(&mut buffer[..4]).map_err(|e| Copied::Pack(e.to_string()))?;
    if &buffer[..4] != b"PACK" {
        return Err(Copied::Pack("it does not begin like one".into()));
    }
    writer.write_all(&buffer[..4]).map_err(Copied::Vault)?;
    loop {
        match stdout.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => writer.write_all(&buffer[..read]).map_err(Copied::Vault)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Copied::Pack(error.to_string())),
        }
    }
}

/// Copies a pack and inflates every entry of it on the way.
fn copy_inflating(stdout: impl Read, writer: &mut BundleWriter, refs: &RefSnapshot) -> Result<(), Copied> {
    let mut tee = Tee { from: stdout, to: writer, failed: None };
    let mut pack = BufReader::with_capacity(CHUNK, &mut tee);
    // The rest is nothing, or the trailer of a pack without entries.
    let proven = inflate_all(&mut pack, hash_kind(refs.object_format))
        .and_then(|()| io::copy(&mut pack, &mut io::sink()).map(drop).map_err(|e| e.to_string()));
    drop(pack);
    match (tee.failed.take(), proven) {
        (Some(error), _) => Err(Copied::Vault(error)),
        (None, Err(finding)) => Err(Copied::Pack(finding)),
        (None, Ok(())) => Ok(()),
    }
}

fn inflate_all(pack: impl io::BufRead, hash: gix::hash::Kind) -> Result<(), String> {
    let entries = BytesToEntriesIter::new_from_header(pack, Mode::Verify, EntryDataMode::Ignore, hash);
    for entry in entries.map_err(|e| e.to_string())? {
        entry.map_err(|e| e.to_string())?;
    }
    Ok(())
}

struct Tee<'a, R> {
    from: R,
    to: &'a mut BundleWriter,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        if let Err(error) = self.to.write_all(&buffer[..read]) {
            self.failed = Some(error);
            return Err(io::Error::other("the upload failed"));
        }
        Ok(read)
    }
}

fn vault_error(error: io::Error) -> BundleError {
    match VaultError::of_io(&error) {
        Some(error) => BundleError::Vault(error.clone()),
        None => BundleError::Vault(VaultError::new(
            packhorse_model::ErrorKind::Internal,
            "upload bundle",
            "bundle",
            error,
        )),
    }
}

fn unreadable(error: io::Error) -> BundleError {
    BundleError::Git(format!("open objects: {error}"))
}
