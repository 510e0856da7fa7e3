//! One piece of work, done by several sides in turn, and what each of them took.
//!
//! Does not own: what the sides do (`peers`, `rows`), or running one of them (`meter`). The sides alternate so that a
//! machine that gets slower or busier meets all of them; medians are compared. What has to be prepared or removed is not
//! timed, and the disk is idle before the clock starts.

mod goal;
mod samples;
mod side;
mod work;

pub use goal::{Claim, Goal};
pub use side::{Kind, Prepared, Side, Stored};
pub use work::{Done, Measured, Work};
