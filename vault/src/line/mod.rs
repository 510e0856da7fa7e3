//! The line to an object store: HTTP requests that are given up when nothing moves, and never because they are long.
//!
//! Does not own: what is asked, or trying again (the store's client does). A part of 8 MiB takes minutes on a slow line,
//! so neither a request nor an answer is bounded as a whole: time runs out only while no byte of it moves (`moving`).
//! That is not what the store's own client does: its time for an answer begins with the request, not with the request's
//! last byte, so that on a slow line every part would fail, and fail again.

mod answer;
mod connector;
mod error;
mod listing;
mod moving;
mod platform;
mod silence;

pub use self::{connector::Connector, error::causes, silence::Silence};
