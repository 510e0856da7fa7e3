//! A git that stops in the middle of a pack until the test lets it go on: a run is held half way without any timing.
//!
//! Does not own: what happens to the run meanwhile. Everything but `pack-objects` goes to the real git at once. Only
//! the waiting shell holds git's output, so killing it, as a cancelled run does, ends everything.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use packhorse_testkit::wait_until;

const SCRIPT: &str = r#"#!/bin/bash
case " $* " in *" pack-objects "*) ;; *) exec git "$@" ;; esac
[ -e "@DIR@/broken" ] && { git "$@" | head -c @PASS@; echo "fatal: disk on fire" >&2; exit 128; }
[ -e "@DIR@/closed" ] || exec git "$@"
exec 4<&0 3< <(exec git "$@" <&4) 4<&-
head -c @PASS@ <&3
: >"@DIR@/reached"
while [ -e "@DIR@/closed" ]; do sleep 0.02 </dev/null >/dev/null 2>&1 3<&-; done
exec cat <&3
"#;

/// A wrapper of git, open at first.
pub struct Gate {
    folder: PathBuf,
}

impl Gate {
    /// Makes the wrapper in a folder of its own; it lets this many bytes of each pack pass before it waits.
    pub fn new(folder: &Path, pass: u64) -> Self {
        fs::create_dir(folder).expect("create the gate's folder");
        let gate = Self { folder: folder.to_owned() };
        let script =
            SCRIPT.replace("@DIR@", &folder.display().to_string()).replace("@PASS@", &pass.to_string());
        fs::write(gate.git(), script).expect("write the gate");
        fs::set_permissions(gate.git(), fs::Permissions::from_mode(0o755)).expect("make the gate run");
        gate
    }

    /// The executable for `git = …`.
    pub fn git(&self) -> PathBuf {
        self.folder.join("git")
    }

    /// Holds every pack from now on.
    pub fn close(&self) {
        let _ = fs::remove_file(self.folder.join("reached"));
        fs::write(self.folder.join("closed"), "").expect("close the gate");
    }

    /// Lets packs pass.
    pub fn open(&self) {
        fs::remove_file(self.folder.join("closed")).expect("open the gate");
    }

    /// Makes git fail in the middle of every pack, or no longer.
    pub fn set_broken(&self, broken: bool) {
        let file = self.folder.join("broken");
        if broken { fs::write(file, "") } else { fs::remove_file(file) }.expect("break or repair the gate");
    }

    /// Waits until a pack is held.
    pub fn wait_until_reached(&self) {
        let reached = self.folder.join("reached");
        wait_until("a held pack", Duration::from_secs(60), || {
            if reached.exists() { Ok(()) } else { Err("no pack came".to_owned()) }
        });
    }
}
