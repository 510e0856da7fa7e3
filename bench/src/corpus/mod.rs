//! The repositories that are measured: made once from fixed seeds, kept in the work folder.
//!
//! Does not own: measuring. Each kind is made under another name and renamed when it is whole, so a run that was stopped
//! leaves nothing that a later one would take for a repository. A change of what is made needs a new folder name.

mod changes;
mod directory;
mod history;
mod large;
mod many_refs;
mod random;
mod real;
mod small;
mod source_text;
mod storage;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result};
pub use changes::Changes;
pub use directory::directory;
use large::large;
pub use many_refs::many_refs;
use real::real;
pub use small::small;
pub use storage::{Large, Storage};

use crate::bench::{Bench, remove};

/// A folder of the work folder, made by `make` unless an earlier run made it.
fn cached(bench: &Bench, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let dir = bench.work.join(name);
    if dir.is_dir() {
        return Ok(dir);
    }
    bench.say(&format!("  making {name}, once"));
    let start = Instant::now();
    let partial = bench.work.join(format!("{name}.partial"));
    remove(&partial)?;
    fs::create_dir(&partial).with_context(|| format!("create {}", partial.display()))?;
    make(&partial).with_context(|| format!("make {name}"))?;
    fs::rename(&partial, &dir).with_context(|| format!("rename {}", partial.display()))?;
    bench.say(&format!("  made {name} in {:.0} s", start.elapsed().as_secs_f64()));
    Ok(dir)
}
