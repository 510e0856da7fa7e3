//! A shell process that stops a server and removes its folder when its owner is gone, however the owner went.
//!
//! Does not own: starting the server. The watchdog is started first and waits for the end of a pipe whose other end only
//! the owner holds (or for the end of a process), so a panic, an `exit` and a SIGKILL of the test all lead to the same
//! cleanup. It signals only processes whose pid file lies in the folder and whose command line names the folder, so a
//! recycled pid is safe. It runs in a process group of its own and keeps no output open, so test runners do not wait
//! for it.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Stdio},
};

use crate::hermetic_command;

/// `$1` folder, `$2` first signal, `$3` process to outlive, or empty for the pipe.
const SCRIPT: &str = r#"
if [ -n "$3" ]; then tail --pid="$3" -f /dev/null; else read -r _; fi
ours() { tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -qF -- "$dir"; }
dir=$1
for signal in "$2" KILL; do
    tries=100
    for file in "$dir"/run/*.pid; do
        [ -f "$file" ] || continue
        pid=$(head -n 1 "$file")
        ours "$pid" && kill -s "$signal" "$pid"
        while ours "$pid" && [ "$tries" -gt 0 ]; do sleep 0.05; tries=$((tries - 1)); done
    done
done
rm -rf -- "$dir"
"#;

/// The owner's end of a watchdog; dropping it stops the server and waits until that is done.
pub(crate) struct Watchdog(Child);

impl Watchdog {
    /// Watches over a server with pid files in `folder/run`, on behalf of this value.
    pub(crate) fn owned(folder: &Path, signal: &str) -> Self {
        Self(start(folder, signal, String::new()))
    }

    /// Watches over a server on behalf of another process; nothing has to be kept.
    pub(crate) fn outliving(folder: &Path, signal: &str, process: u32) {
        drop(start(folder, signal, process.to_string()));
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // A failed wait means that somebody reaped it: it is gone either way.
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, signal: &str, process: String) -> Child {
    hermetic_command("sh")
        .args(["-c", SCRIPT, "packhorse-watchdog"])
        .arg(folder)
        .args([signal, &process])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .current_dir("/")
        .spawn()
        .expect("sh starts")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait_until;
    use std::{fs, time::Duration};

    #[test]
    fn dropping_the_owner_stops_the_server_and_removes_its_folder() {
        let folder = tempfile::tempdir().expect("temporary folder").keep();
        fs::create_dir(folder.join("run")).expect("create run folder");
        let watchdog = Watchdog::owned(&folder, "TERM");
        let log = folder.join("log");
        fs::write(&log, "").expect("write a file to follow");
        let mut server = hermetic_command("tail").arg("-f").arg(&log).spawn().expect("tail starts");
        let stranger = std::process::id();
        fs::write(folder.join("run/server.pid"), format!("{}\n", server.id())).expect("write pid file");
        fs::write(folder.join("run/stranger.pid"), format!("{stranger}\n")).expect("write pid file");
        drop(watchdog);
        let status = wait_until("the server's end", Duration::from_secs(5), || {
            server.try_wait().expect("wait").ok_or_else(|| "running".to_owned())
        });
        assert!(!status.success());
        assert!(!folder.exists());
    }
}
