//! Runs one side in a process of its own and says what it took: time, processor, memory.
//!
//! Does not own: what is run (`peers`, `rows`) or how often (`measure`). The process of its own makes every program a
//! descendant that the kernel adds up, those that `sh` or git started too, and nothing of an earlier side is left in its
//! sums. It is this program again, with `--carry-out`.

mod carry_out;
mod memory;
mod outcome;
mod script;

pub use carry_out::carry_out;
pub use memory::Peak;
pub use outcome::{Outcome, run};
pub use script::{Call, Script, Step};
