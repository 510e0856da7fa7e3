//! Every exit code, with the text that an operator reads and the JSON that a script reads.
//!
//! Does not own: daemons (`daemons`: 3, 14, 130 and 143 with a coordinator) or failing stores (`store_failures`).

pub mod codes;
mod components;
mod secrets;
mod stores;
