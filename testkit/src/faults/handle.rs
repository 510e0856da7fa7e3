//! The fault store as tests see it: where it is, what it holds, what it was asked.
//!
//! Does not own: making it fail or stop (`control`). Every call is synchronous and short, so it can be used within async
//! tests too; the server lives until the value is dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{log::LoggedRequest, server, state::Shared};
use crate::Host;

/// The only bucket.
pub(super) const BUCKET: &str = "packhorse";

/// An S3 server in memory that fails on command.
pub struct FaultyS3 {
    address: SocketAddr,
    pub(super) shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FaultyS3 {
    /// Starts a server of its own, which works as it should until told otherwise.
    pub fn start() -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").expect("loopback has a free port"))
    }

    /// The same on a host, for its network.
    pub fn start_on(host: &Host) -> Self {
        Self::serve(host.listen())
    }

    fn serve(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket can be made so");
        let shared = Arc::new(Shared::new());
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("the socket is ready");
                let stopped = async { drop(stopped.await) };
                server::serve(listener, serving, stopped).await;
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// The address, for path-style requests.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The name of its bucket.
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }

    /// The `[vault]` section of a configuration for a vault below a prefix of the bucket, which is a vault then, as if
    /// `backupctl vault init` had been called for it; the log does not tell of it.
    pub fn vault_section(&self, prefix: &str) -> String {
        let marker = format!("{prefix}/packhorse/format.json");
        if !self.keys().contains(&marker) {
            self.put_object(&marker, format!("{{\"format\":1,\"features\":[],\"vault_id\":\"{prefix}-1\"}}"));
        }
        self.place_section(prefix)
    }

    /// The same of a place that is no vault yet.
    pub fn place_section(&self, prefix: &str) -> String {
        let endpoint = self.endpoint();
        format!(
            "[vault]\nurl = 's3://{BUCKET}/{prefix}'\nendpoint = '{endpoint}'\nregion = 'us-east-1'\n\
             path_style = true\n"
        )
    }

    /// The environment of a process that is called so in the log.
    pub fn env(&self, who: &str) -> [(&'static str, String); 2] {
        [("AWS_ACCESS_KEY_ID", who.to_owned()), ("AWS_SECRET_ACCESS_KEY", "secret".to_owned())]
    }

    /// All objects by their keys.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        let state = self.shared.lock();
        state.bucket.objects.iter().map(|(key, object)| (key.clone(), object.bytes.clone())).collect()
    }

    /// All keys.
    pub fn keys(&self) -> BTreeSet<String> {
        self.shared.lock().bucket.objects.keys().cloned().collect()
    }

    /// Puts an object in its place, whatever is there.
    pub fn put_object(&self, key: &str, bytes: impl Into<Bytes>) {
        self.shared.change(|state| drop(state.bucket.put(key, bytes.into(), None)));
    }

    /// Removes an object; panics when there is none.
    #[track_caller]
    pub fn remove_object(&self, key: &str) {
        let removed = self.shared.lock().bucket.objects.remove(key);
        assert!(removed.is_some(), "there is no object {key}");
    }

    /// The keys of multipart uploads that were begun and neither completed nor aborted.
    pub fn open_uploads(&self) -> Vec<String> {
        self.shared.lock().bucket.uploads.keys()
    }

    /// Gives up all open uploads, as a bucket's rule for incomplete ones does.
    pub fn abort_open_uploads(&self) {
        self.shared.change(|state| state.bucket.uploads.abort_all());
    }

    /// Every request so far.
    pub fn log(&self) -> Vec<LoggedRequest> {
        self.shared.lock().log.requests().to_vec()
    }

    /// How many requests there were so far.
    pub fn requests(&self) -> u64 {
        self.shared.lock().log.requests().len() as u64
    }

    /// Bytes of bodies that came in, for each interval from the first byte on.
    pub fn received_per(&self, interval: Duration) -> Vec<u64> {
        self.shared.lock().log.received_per(interval)
    }
}

impl Drop for FaultyS3 {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server's was printed; a second one here would hide the test's own.
            let _ = thread.join();
        }
    }
}
