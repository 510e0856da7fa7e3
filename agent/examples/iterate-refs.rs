//! Iterates the refs of a repository with gix and prints their number: what a backup that finds nothing changed is
//! compared with.
//!
//! Does not own: measuring, which is `packhorse-bench`'s. It is an example of this crate because no other may name gix.

use std::{env, error::Error, io::Write as _};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("name a repository")?;
    let repository = gix::open(path)?;
    let mut count = 0_u64;
    for reference in repository.references()?.all()? {
        std::hint::black_box(reference?.target());
        count += 1;
    }
    writeln!(std::io::stdout(), "{count}")?;
    Ok(())
}
