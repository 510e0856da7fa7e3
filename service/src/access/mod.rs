//! Who may do what: the one place where a caller's name meets the right that a method asks for.
//!
//! Does not own: proving the name (`tls` for certificates, the kernel for Unix sockets) or the methods, whose table each
//! daemon brings along. Safe because everything is refused that is not allowed by name: an unknown caller, a method that
//! is not in the table, a call too large or too slow.

mod body;
mod gate;
mod handle;
mod peers;
mod refusals;
mod role;
mod who;

pub use gate::Gate;
pub use handle::{Access, Rights};
pub use peers::Peers;
pub(crate) use peers::plain;
pub use refusals::{Reason, Refusals};
pub use role::{Right, Role};
pub use who::{Caller, Who};
