//! Ends children whose parent was killed in a way that it could not see to them itself.
//!
//! Does not own: children of a process that lives; whoever starts one kills it. A shell is told of every process group
//! that is started and of every one that has ended, by a pipe. When this process is gone, however it went, the kernel
//! closes the pipe, and the shell kills the groups that are left. (The kernel's own way, a signal at the parent's death,
//! takes code between fork and exec, and is sent already when the thread ends that started the child.) Without a shell
//! children are as they would be: a git ends when it writes to a pipe that nobody reads. So is one whose parent is killed
//! in the instant between its start and the line that tells of it.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

/// The groups stand in the shell's arguments. It is in a group of its own, so that no Ctrl-C reaches it.
const SCRIPT: &str = r#"
set --
while read -r what group; do
    case $what in
    +) set -- "$@" "-$group" ;;
    -)
        kept=
        for known; do [ "$known" = "-$group" ] || kept="$kept $known"; done
        set -- $kept
        ;;
    esac
done
[ $# = 0 ] || kill -s KILL -- "$@"
"#;

static PIPE: OnceLock<Option<Mutex<ChildStdin>>> = OnceLock::new();

/// A process group that is ended when this process is killed; dropped when it has ended, before its leader is waited for,
/// so that its number cannot be another's yet.
#[derive(Debug)]
pub struct Kept(u32);

/// The shell, which is there before the child that it is told of: a process may be killed as soon as it has started one.
#[derive(Debug)]
pub struct Keeper(());

impl Keeper {
    /// Starts it with the first child.
    pub fn ready() -> Self {
        PIPE.get_or_init(start);
        Self(())
    }

    /// Has the process group of this leader, which was just started, ended when this process is.
    pub fn keep(self, leader: u32) -> Kept {
        tell('+', leader);
        Kept(leader)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        tell('-', self.0);
    }
}

fn tell(what: char, group: u32) {
    if let Some(Some(pipe)) = PIPE.get() {
        // A shell that is gone ends nothing, and nothing depends on it.
        let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = pipe.write_all(format!("{what} {group}\n").as_bytes());
    }
}

fn start() -> Option<Mutex<ChildStdin>> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", SCRIPT, "packhorse-keeper"]).env_clear().current_dir("/").process_group(0);
    let started = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    match started {
        Ok(mut child) => child.stdin.take().map(Mutex::new),
        Err(error) => {
            tracing::debug!(%error, "no shell that ends children when this process is killed");
            None
        }
    }
}
