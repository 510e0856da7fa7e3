//! Whole runs on a store that fails: by the seed (`seeds`), by name (`named`), for a while (`outages`); the same with an
//! agent and a coordinator as processes of their own (`away`, `sides`, `restores`, `cancels`, `throttled`), and with a database server that dies (`postgres`).
//!
//! Does not own: the store (`testkit::FaultyS3`) or single requests (the vault's tests). Whatever the store does, an
//! exit code of 0 means that everything is there, and what was committed before restores exactly.

mod away;
mod cancels;
mod credentials;
mod crew;
mod named;
mod outages;
mod patient;
mod place;
mod postgres;
mod restores;
mod seeds;
mod sides;
mod storm;
mod throttled;
