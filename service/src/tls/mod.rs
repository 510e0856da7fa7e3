//! TLS between our processes: both sides show a certificate, and both check the other's.
//!
//! Does not own: what a caller may do (`access`). TLS 1.3 only, by rustls with aws-lc-rs. Sessions are never resumed, so
//! every connection proves its certificate anew: one that expired, or whose authority was taken away, is refused.

mod expiry;
mod files;
mod handle;
mod names;

pub use handle::Tls;
pub(crate) use handle::missing;
pub(crate) use names::names_of;
