//! Whole runs on a store that fails: by the seed (`seeds`), by name (`named`), for a while (`outages`).
//!
//! Does not own: the store (`testkit::FaultyS3`) or single requests (the vault's tests). Whatever the store does, an
//! exit code of 0 means that everything is there, and what was committed before restores exactly.

mod named;
mod outages;
mod place;
mod seeds;
mod storm;
