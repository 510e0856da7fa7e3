//! The index of a pack, made while the pack arrives, or by git when that is wiser.
//!
//! Does not own: reading the bundle. In process it takes two threads and, from budgets that all restores of this
//! agent share, as much memory as the number of objects and then the delta chains ask for. Both are waited for, always
//! in this order and each taken whole, so restores cannot block each other half way; packs that ask for more than there
//! is go to git. What goes wrong in process is decided by git as well, after the digest of the bundle is proven; git's
//! verdict on a pack is final.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{self, BufRead, BufWriter},
    path::Path,
};

use gix::odb::pack::{data, index};
use packhorse_model::{ErrorKind, Problem};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
};
use tokio_util::sync::CancellationToken;

use super::{
    Objects,
    chains::Chains,
    create,
    entries::{Entries, read_header},
    stream::PackStream,
};
use crate::restore::{
    git_child::Input,
    io_problem::{corrupt, io_problem},
};

/// MiB of object tables that all indexing of this process may hold at once.
const TABLES_MIB: u32 = 112;
static TABLES: Semaphore = Semaphore::const_new(TABLES_MIB as usize);
/// MiB of delta chains likewise.
const CHAINS_MIB: u32 = 48;
static CHAINS: Semaphore = Semaphore::const_new(CHAINS_MIB as usize);

const MIB: u64 = 1 << 20;
/// Measured: tables for an object, its deltas and the sorting of ids.
const BYTES_PER_OBJECT: u64 = 224;
/// What chains may take without asking again.
const CHAINS_FREE_MIB: u64 = 2;
const THREADS: usize = 2;
/// No single object of this size is held in memory.
const LARGEST_OBJECT: usize = 48 << 20;

/// Receives a pack and leaves it in the repository with its index; a `thin` one may build on earlier steps.
pub(super) fn finish_pack<R: BufRead>(
    objects: &Objects<'_>,
    bundle: &str,
    mut stream: PackStream<R>,
    thin: bool,
) -> Result<(), Problem> {
    let count = read_header(&mut stream);
    let empty = matches!(count, Ok(0)) && stream.read_trailer().is_ok();
    let hash = match count {
        Ok(count) if count > 0 => index_stream(&mut stream, (count, thin), objects.git.cancel()),
        _ => None,
    };
    let pack = stream.finish().map_err(|e| objects.read_problem(bundle, &e))?;
    match hash {
        Some(hash) => keep(&pack.path, &hash.to_string()),
        None if empty && pack.unread == 0 => {
            fs::remove_file(&pack.path).map_err(|e| io_problem("remove file", pack.path.display(), &e))
        }
        None => index_by_git(objects, bundle, &pack.path, thin),
    }
}

/// Writes the index as the pack streams by and gives the pack's hash; none when git has to do it.
fn index_stream<R: BufRead>(
    stream: &mut PackStream<R>,
    (count, thin): (u32, bool),
    cancel: &CancellationToken,
) -> Option<gix::ObjectId> {
    let _tables = reserve_tables(count, cancel)?;
    let index = stream.path().with_extension("idx");
    let file = create(&index).ok()?;
    let mut out = BufWriter::new(file);
    let made = make_index(stream, (count, thin), cancel, &mut out);
    let written = out.into_inner().is_ok();
    match made {
        Ok(outcome) if written => Some(outcome.data_hash),
        made => {
            let _ = fs::remove_file(&index);
            if let Err(error) = made {
                tracing::debug!(index = %index.display(), %error, "a pack is left to git index-pack");
            }
            None
        }
    }
}

fn make_index<R: BufRead>(
    stream: &mut PackStream<R>,
    (count, thin): (u32, bool),
    cancel: &CancellationToken,
    out: &mut BufWriter<File>,
) -> gix::Result<index::write::Outcome> {
    let (kind, path, progress) = (stream.kind(), stream.path().to_owned(), stream.progress().clone());
    let chains = RefCell::new(Chains::default());
    let mut entries = Entries::new(stream, count, &chains);
    let mut more = None;
    let resolver = || {
        more = reserve_chains(&chains.take(), thin, cancel)?;
        let pack = data::File::at(&path, kind).map_err(|e| io::Error::other(e.to_string()))?;
        Ok((slice_of as fn(data::EntryRange, &data::File) -> Option<&[u8]>, pack))
    };
    index::write_data_iter_to_stream(
        index::Version::V2,
        resolver,
        &mut entries,
        Some(THREADS),
        &mut gix::progress::Discard,
        out,
        progress.stop_flag(),
        kind,
        Some(LARGEST_OBJECT),
        data::Version::V2,
    )
}

fn slice_of(range: data::EntryRange, pack: &data::File) -> Option<&[u8]> {
    pack.entry_slice(range)
}

/// Waits for the memory that `count` objects take; none when they need more than there is, or it is cancelled.
fn reserve_tables(count: u32, cancel: &CancellationToken) -> Option<SemaphorePermit<'static>> {
    reserve(u64::from(count) * BYTES_PER_OBJECT + CHAINS_FREE_MIB * MIB, cancel)
}

/// Waits for so many bytes of that memory.
pub(super) fn reserve(bytes: u64, cancel: &CancellationToken) -> Option<SemaphorePermit<'static>> {
    let mib = u32::try_from(bytes / MIB + 1).ok().filter(|mib| *mib <= TABLES_MIB)?;
    take(&TABLES, mib, cancel)
}

/// Waits for what the chains need beyond what is free; an error when git has to do the work.
fn reserve_chains(
    chains: &Chains,
    thin: bool,
    cancel: &CancellationToken,
) -> io::Result<Option<SemaphorePermit<'static>>> {
    if thin && chains.has_names() {
        return Err(io::Error::other("the pack may be thin"));
    }
    let mib = chains.bytes_kept().saturating_mul(THREADS as u64) / MIB;
    if mib <= CHAINS_FREE_MIB {
        return Ok(None);
    }
    let mib = u32::try_from(mib).ok().filter(|mib| *mib <= CHAINS_MIB);
    let mib = mib.ok_or_else(|| io::Error::other("the delta chains are too large"))?;
    take(&CHAINS, mib, cancel).map(Some).ok_or_else(|| io::Error::other("asked to stop"))
}

/// Waits for so much of a budget, which is never closed; others may hold it while they wait for a store that stalls.
fn take(
    budget: &'static Semaphore,
    mib: u32,
    cancel: &CancellationToken,
) -> Option<SemaphorePermit<'static>> {
    match budget.try_acquire_many(mib) {
        Err(_) => {
            let taken = Handle::current().block_on(cancel.run_until_cancelled(budget.acquire_many(mib)));
            taken.and_then(Result::ok)
        }
        taken => taken.ok(),
    }
}

/// Has git make the index of a pack file, which completes a thin one.
pub(super) fn index_by_git(
    objects: &Objects<'_>,
    bundle: &str,
    pack: &Path,
    thin: bool,
) -> Result<(), Problem> {
    let mut command = objects.git.command(Some(objects.repository));
    command.args(["index-pack", "--threads=2"]);
    let input = if thin {
        command.args(["--stdin", "--fix-thin"]);
        let file = File::open(pack).map_err(|e| io_problem("read pack", pack.display(), &e))?;
        Some(Input::File(file))
    } else {
        command.arg(pack);
        None
    };
    let answer = objects.git.run(command, "index pack", input).map_err(|problem| match problem.kind {
        ErrorKind::Cancelled => problem,
        _ => corrupt("index pack", bundle, problem.answer.unwrap_or_default()),
    })?;
    if thin {
        // Git wrote a complete pack of its own.
        return fs::remove_file(pack).map_err(|e| io_problem("remove file", pack.display(), &e));
    }
    keep(pack, String::from_utf8_lossy(&answer).trim())
}

/// Gives a pack and what belongs to it their final names.
pub(super) fn keep(pack: &Path, hash: &str) -> Result<(), Problem> {
    // The index last: a pack without index does not exist for anybody.
    for suffix in ["rev", "pack", "idx"] {
        let from = pack.with_extension(suffix);
        if from.exists() {
            let to = pack.with_file_name(format!("pack-{hash}.{suffix}"));
            fs::rename(&from, to).map_err(|e| io_problem("name pack", from.display(), &e))?;
        }
    }
    Ok(())
}
