//! A bundle whose pack `git pack-objects` writes.
//!
//! Does not own: what it is asked for. Linear in the number of refs, on every git version, because git is only given
//! object ids. Git's pack is taken as it streams; it counts only when git exited with 0 and, as a whole, is proven: an
//! increment by inflating every entry as it passes, a full step by the checksums of the packs that its objects are
//! copied from. Loose objects are proven elsewhere (`pack_proof`).

use std::{
    io::{self, BufReader, Read, Write as _},
    process::Command,
};

use gix::odb::pack::data::input::{BytesToEntriesIter, EntryDataMode, Mode};
use packhorse_vault::{BundleHeader, Oid, RefSnapshot};

use super::{BundleError, BundleWriter, Source, Stream, vault_error};
use crate::{
    backup::pack_proof,
    git::{Child, hash_kind},
};

/// Bytes moved from git to the upload at once.
const CHUNK: usize = 256 * 1024;
/// The same for a small repository, where clearing a larger buffer would cost more than it saves.
const SMALL_CHUNK: usize = 32 * 1024;
/// Repositories below this size are packed by one thread: starting more costs more than it saves.
const SMALL: u64 = 8 << 20;
/// How the pack is proven undamaged.
pub(super) enum Proof {
    /// By inflating every entry as it passes.
    Inflate,
    /// By the checksums of the repository's packs, elsewhere.
    Packs,
}

/// What git is to pack.
pub(super) struct Order {
    header: Vec<u8>,
    input: Vec<u8>,
    args: &'static [&'static str],
}

impl Order {
    /// What the tips lead to, and whoever reads it does not know.
    pub(super) fn range(header: &BundleHeader, tips: &[Oid], known: &[Oid]) -> Self {
        let args: &[&str] = if known.is_empty() { &["--revs"] } else { &["--revs", "--thin"] };
        Self { header: header.to_bytes(), input: revisions(tips, known), args }
    }

    /// These objects and no others; packed entries are taken as they are where that may be.
    pub(super) fn objects(header: &BundleHeader, objects: &[Oid], reuse: bool) -> Self {
        let args: &[&str] = if reuse { &[] } else { &["--no-reuse-object"] };
        Self { header: header.to_bytes(), input: revisions(objects, &[]), args }
    }
}

/// Has git write it. Blocking.
pub(super) fn write(
    source: &Source<'_>,
    mut command: Command,
    order: Order,
    proof: Proof,
    open: impl Fn(Stream, u64) -> BundleWriter,
) -> Result<BundleWriter, BundleError> {
    let Order { header, input, args } = order;
    let size_on_disk = pack_proof::size_on_disk(source.dir);
    command.args(["-c", "pack.windowMemory=100m"]);
    let small = size_on_disk < SMALL;
    if small {
        command.args(["-c", "pack.threads=1"]);
    }
    command.args(["pack-objects", "--stdout", "--delta-base-offset", "-q"]).args(args);
    let mut child = Child::spawn(command, &source.watch.cancel)
        .map_err(|e| BundleError::Git(format!("start git: {e}")))?;
    child.feed(input);
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

fn revisions(tips: &[Oid], known: &[Oid]) -> Vec<u8> {
    let mut input = Vec::with_capacity((tips.len() + known.len()) * 42);
    for oid in tips {
        oid.write_hex(&mut input);
        input.push(b'\n');
    }
    for oid in known {
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
