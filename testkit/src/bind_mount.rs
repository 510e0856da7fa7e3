//! A folder or file that is mounted at a second place, which takes root.

use std::path::{Path, PathBuf};

use crate::{hermetic_command, skipped};

/// A bind mount that ends with the value.
#[derive(Debug)]
pub struct BindMount(PathBuf);

impl BindMount {
    /// Mounts `from` at `to`, both of which must exist; tells that the test has nothing to do where nothing can be mounted.
    pub fn new(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Option<Self> {
        let mut mount = hermetic_command("mount");
        let output = mount.arg("--bind").args([from.as_ref(), to.as_ref()]).output().expect("mount starts");
        if output.status.success() {
            return Some(Self(to.as_ref().to_owned()));
        }
        skipped(&format!("nothing can be mounted: {}", String::from_utf8_lossy(&output.stderr).trim()));
        None
    }
}

impl Drop for BindMount {
    fn drop(&mut self) {
        // Lazily, so that nothing that is still open can keep it.
        let _ = hermetic_command("umount").arg("--lazy").arg(&self.0).status();
    }
}
