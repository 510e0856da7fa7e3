//! What a script took, and the process that carries it out.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{Peak, Script};
use crate::programs::isolated;

/// What the process of a side says at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Seconds from the first step to the end of the last.
    pub wall: f64,
    /// Seconds of processor in user space, of all programs and what they started.
    pub user: f64,
    /// The same in the kernel.
    pub system: f64,
    /// Bytes: the most that any one program had in memory, mapped files included.
    pub resident: u64,
    /// Memory of the program that is watched.
    pub watched: Peak,
}

/// Carries out a script in a process of its own; `scratch` is a folder for the script.
pub fn run(script: &Script, scratch: &Path) -> Result<Outcome> {
    let file = scratch.join("script.json");
    fs::write(&file, serde_json::to_vec(script).context("write the script")?)
        .with_context(|| format!("write {}", file.display()))?;
    let program = std::env::current_exe().context("find this program")?;
    let output = isolated(&program)
        .arg("--carry-out")
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("start {}", program.display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("read what a side took")
}
