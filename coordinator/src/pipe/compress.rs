//! From a child's output, compressed, into a new object of the vault: one streamed pass, nothing staged on disk.
//!
//! Does not own: what the child's end or its output mean. The steps run beside each other: one thread reads pieces,
//! every core compresses, one thread writes the members in order. Between them is the room of the process (`room`), so
//! the child goes on while the store is slow, until that room is full. The writer comes back unfinished, and an object
//! gets its name only when [`Compressed::finish`] is called; dropping it instead leaves nothing in the vault. When one
//! step fails, the others end: a failed writer has the child killed, a failed reader is a failure of the whole.

use std::{
    fs::File,
    io::{self, Read, Write},
    process::ExitStatus,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use packhorse_model::{ErrorKind, ObjectDigest, Problem, Subject};
use packhorse_vault::{ObjectWriter, VaultError};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};
use tokio_util::sync::CancellationToken;

use super::{
    Child,
    member::{self, Member, PIECE},
    room::Room,
};

/// Members that wait for the writer; the room ends before.
const WAITING: usize = 1024;

type Pressed = JoinHandle<Result<Member, Problem>>;

/// An object that is written but not yet named.
pub(crate) struct Compressed<S> {
    writer: ObjectWriter,
    /// Bytes before compression.
    pub(crate) plain: u64,
    /// What was seen of them.
    pub(crate) seen: S,
}

/// Adds up what a writer says has arrived, and tells the sum.
pub(crate) fn in_all(progress: impl Fn(u64) + Send + Sync + 'static) -> impl Fn(u64) + Send + Sync + 'static {
    let sum = AtomicU64::new(0);
    move |bytes| progress(sum.fetch_add(bytes, Relaxed) + bytes)
}

/// Stores all output of the child, and waits for the child's end. Shows every piece to `inspect`.
pub(crate) async fn compress<S: Send + 'static>(
    child: &mut Child,
    writer: ObjectWriter,
    cancel: &CancellationToken,
    seen: S,
    inspect: impl FnMut(&mut S, &[u8]) + Send + 'static,
) -> Result<(ExitStatus, Result<Compressed<S>, Problem>), Problem> {
    let source = child.stdout()?;
    let (order, members) = mpsc::channel(WAITING);
    let reading = spawn_blocking(move || read(source, &order, seen, inspect));
    let (writer, stop) = (writer.until(cancel.clone()), cancel.clone());
    let mut writing = spawn_blocking(move || write(members, writer, &stop));
    let (status, written) = tokio::select! {
        status = child.wait(cancel) => (status?, joined(writing.await)),
        written = &mut writing => {
            let written = joined(written);
            if written.is_err() {
                // It may have nothing to say for long, and would not notice that nobody listens.
                child.kill();
            }
            (child.wait(cancel).await?, written)
        }
    };
    let stored = match (written, joined(reading.await)) {
        (Ok(writer), Ok((plain, seen))) => Ok(Compressed { writer, plain, seen }),
        (Err(problem), _) | (_, Err(problem)) => Err(problem),
    };
    Ok((status, stored))
}

/// Cuts the source into pieces, and has each compressed.
fn read<S>(
    source: File,
    order: &mpsc::Sender<Pressed>,
    mut seen: S,
    mut inspect: impl FnMut(&mut S, &[u8]),
) -> Result<(u64, S), Problem> {
    // Fewer turns between the child and us; a small pipe does as well.
    let _ = rustix::pipe::fcntl_setpipe_size(&source, PIECE);
    let (share, runtime) = (Room::share(), Handle::current());
    let mut plain = 0;
    loop {
        let hold = share.take(PIECE);
        let mut piece = Vec::with_capacity(PIECE);
        let read = (&source).take(PIECE as u64).read_to_end(&mut piece);
        read.map_err(|error| io_problem("read a program's output", &error))?;
        let last = piece.len() < PIECE;
        plain += piece.len() as u64;
        inspect(&mut seen, &piece);
        // No output at all is one empty member.
        let is_member = !piece.is_empty() || plain == 0;
        if is_member && order.blocking_send(member::begin(piece, hold, &runtime)).is_err() || last {
            // A writer that is gone tells why.
            return Ok((plain, seen));
        }
    }
}

/// Writes the members in the order of their pieces.
fn write(
    mut members: mpsc::Receiver<Pressed>,
    mut writer: ObjectWriter,
    cancel: &CancellationToken,
) -> Result<ObjectWriter, Problem> {
    let runtime = Handle::current();
    while let Some(member) = members.blocking_recv() {
        let member = joined(runtime.block_on(member))?;
        let written = writer.write_all(&member.bytes);
        // What was read ahead of a slow store is not written any more.
        if cancel.is_cancelled() {
            return Err(Problem::cancelled("write object"));
        }
        written.map_err(|error| io_problem("write object", &error))?;
    }
    Ok(writer)
}

impl<S> Compressed<S> {
    /// Gives the object its name; durable when this returns.
    pub(crate) async fn finish(self) -> Result<ObjectDigest, Problem> {
        self.writer.complete().await.map_err(Problem::from)
    }
}

/// The problem that an I/O error stands for: the vault's own when it carries one.
pub(crate) fn io_problem(what: &str, error: &io::Error) -> Problem {
    match VaultError::of_io(error) {
        Some(vault) => vault.clone().into(),
        None => Problem::new(ErrorKind::Unavailable, Subject::Host, what).answered(error),
    }
}

/// The outcome of a blocking task; its panic is a defect, never a crash of the process.
pub(crate) fn joined<T>(task: Result<Result<T, Problem>, tokio::task::JoinError>) -> Result<T, Problem> {
    task.unwrap_or_else(|panic| {
        Err(Problem::new(ErrorKind::Internal, Subject::Host, "run a blocking task").answered(panic))
    })
}
