//! What databases and directories have in common: a child process, and its output through gzip into the vault and back.
//!
//! Does not own: what the children are. Nothing is staged on disk; an object gets its name only after the child that
//! made it ended well.

mod ahead;
mod child;
mod compress;
mod decompress;
mod member;
mod room;
#[cfg(test)]
mod tests;

pub(crate) use child::{Child, LastLines};
pub(crate) use compress::{Compressed, compress, in_all, io_problem, joined};
pub(crate) use decompress::PlainReader;
