//! A program whose standard error is a terminal of a given width, and everything that it wrote there.
//!
//! Does not own: what the program is told, or what its escapes mean. The terminal is a pseudo-terminal of the kernel, so
//! the program sees what it sees on an operator's screen.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    os::{fd::AsFd, unix::process::ExitStatusExt as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::wait_until;

/// A program on a terminal.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    written: Arc<Mutex<String>>,
    /// Kept open, so that the end of the program is not the end of the terminal.
    _inner: File,
}

impl Terminal {
    /// Starts a command on a terminal of this many columns; its standard output goes nowhere.
    pub fn spawn(mut command: Command, columns: u16) -> Self {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&outer).expect("grantpt");
        unlockpt(&outer).expect("unlockpt");
        let name = ptsname(&outer, Vec::new()).expect("its name");
        let name = name.to_str().expect("a path");
        let inner = OpenOptions::new().read(true).write(true).open(name).expect("open the terminal");
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(inner.as_fd(), size).expect("set its size");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(inner.try_clone().expect("a second handle"));
        let child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let written = Arc::new(Mutex::new(String::new()));
        let (mut screen, into) = (File::from(outer), Arc::clone(&written));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(number) = screen.read(&mut buffer)
                && number > 0
            {
                let text = String::from_utf8_lossy(&buffer[..number]).into_owned();
                into.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Self { child, written, _inner: inner }
    }

    /// Everything that was written so far, with its escapes.
    pub fn written(&self) -> String {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until this was written.
    pub fn wait_for(&self, text: &str, limit: Duration) {
        wait_until(text, limit, || {
            let written = self.written();
            if written.contains(text) { Ok(()) } else { Err(written) }
        });
    }

    /// Waits for the program's end; its exit code, or 128 plus the signal that ended it.
    pub fn wait(&mut self) -> i32 {
        let status = self.child.wait().expect("wait for the program");
        status.code().or_else(|| Some(128 + status.signal()?)).expect("a process ends by code or signal")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
