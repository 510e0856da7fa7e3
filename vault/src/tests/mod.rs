//! Tests of the vault on real stores: one contract that all of them keep.

mod arrivals;
mod contract;
mod faults;
mod journal;
mod place;
mod presence;
mod ranges;
mod stores;
