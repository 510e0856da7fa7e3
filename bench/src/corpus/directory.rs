//! A directory of 10,000 files and 300 MB, as uploads are: half of it text, half of it compressed already.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::{cached, random::Random, source_text::Author};
use crate::bench::Bench;

const FILES: usize = 10_000;

/// Makes it, or finds it.
pub fn directory(bench: &Bench) -> Result<PathBuf> {
    cached(bench, "directory-1", |dir| {
        let mut random = Random::new(11);
        let author = Author::new(&mut random, 2_000);
        for number in 0..FILES {
            let folder = dir.join(format!("{:02x}", number % 256));
            fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
            // Most files are small, and most bytes are in large ones.
            let size = random.skewed(120_000) + 200;
            let content = if number.is_multiple_of(2) {
                random.bytes(size)
            } else {
                author.file(&mut random, size / 30).concat().into_bytes()
            };
            let path = folder.join(format!("{number:05}.bin"));
            fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    })
}
