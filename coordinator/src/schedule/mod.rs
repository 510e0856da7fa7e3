//! Backups that the coordinator starts by itself.
//!
//! Order: `timetable` knows when one is due, `entry` adds the delay and what is asked for, `history` finds out what was
//! backed up while nobody was there, `decide` says whether to start, `scheduler` does, `report` tells how it ended.
//!
//! Does not own: the run, which is one like any other: it can be seen, followed and cancelled.
//!
//! A crash leaves nothing behind: there is no state beside the vault. After a start, the newest committed backup says
//! whether the last one that was due has been made.

mod decide;
mod entry;
mod history;
mod report;
mod scheduler;
mod timetable;

pub use self::{
    entry::{Schedule, asked_by, schedule_in},
    report::report,
    scheduler::{Begun, Scheduler, StartRun},
};
