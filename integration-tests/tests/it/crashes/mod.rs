//! The crash matrix: a process is killed at every single request that it makes to the vault, before the request has any
//! effect and after it had it, and then everything has to be right.
//!
//! Does not own: the store that holds a process at a request (`testkit::FaultyS3`), or whole runs on a store that fails
//! (`faults`). A point is played on a site of its own (`town`), which begins as the reference run left it (`ground`),
//! so points do not know of each other. `suite` has a fixed sample of all points, and all of them in `make test-long`;
//! `PACKHORSE_CRASH` plays a single one.

mod aftermath;
mod configuration;
mod forge;
mod ground;
mod lost;
mod matrix;
mod play;
mod point;
mod segments;
mod sequel;
mod spot;
mod storages;
mod suite;
mod tally;
mod town;
