//! What a process sets up once: its file mode mask, its limit of open files, and the signals that stop it.
//!
//! Does not own: what stopping means. The first signal asks, the second ends the process at once; both are handled
//! outside any work, so a stuck run cannot keep the process alive.

use std::time::Duration;

use packhorse_model::Exit;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Makes everything the process creates readable by its user only: the vault's files 0600, its folders 0700.
pub fn restrict_new_files() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// The runtime of a process. Writers, readers and hashing wait for each other on blocking threads, so there is no limit
/// to these that a configuration could reach; each exists only while it is needed.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(1 << 14).build()
}

/// Lets the process open as many files as it may ever: shells give it fewer than connections, packs and children take.
pub fn allow_many_files() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Cancels the token at the first SIGINT or SIGTERM and exits at the second. Returns the exit code that the first
/// signal stands for, once it came.
pub fn cancel_on_signal(token: CancellationToken) -> tokio::sync::watch::Receiver<Option<Exit>> {
    cancel_on_signal_and(token, || {})
}

/// The same, and does something quick before it exits: to say what is left behind.
pub fn cancel_on_signal_and(
    token: CancellationToken,
    before_exit: impl FnOnce() + Send + 'static,
) -> tokio::sync::watch::Receiver<Option<Exit>> {
    let (sender, receiver) = tokio::sync::watch::channel(None);
    // Before anything else is done: a signal that comes before the task runs must not end the process.
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::warn!("signals cannot be handled; the process ends at once when it gets one");
        return receiver;
    };
    let task = async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => Exit::Interrupted,
                _ = terminate.recv() => Exit::Terminated,
            }
        };
        let first = next().await;
        let _ = sender.send(Some(first));
        token.cancel();
        let second = next().await;
        before_exit();
        exit_now(second);
    };
    tokio::runtime::Handle::current().spawn(task);
    receiver
}

/// Time that tracked work has to end after it was cancelled.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// Waits until all tracked work has ended, or the grace period is over.
pub async fn drain(tracker: &TaskTracker) {
    tracker.close();
    if tokio::time::timeout(GRACE, tracker.wait()).await.is_err() {
        tracing::warn!(tasks = tracker.len(), "work did not stop within {}s and is left", GRACE.as_secs());
    }
}

#[expect(clippy::disallowed_methods, reason = "the second signal must end the process whatever it is doing")]
fn exit_now(exit: Exit) {
    std::process::exit(i32::from(exit.code()));
}

/// The environment, read once at the edge; values that are not UTF-8 are left out.
pub fn environment() -> std::collections::BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
