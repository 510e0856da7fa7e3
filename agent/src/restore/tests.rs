//! Restores from vaults that real git commands wrote, checked by git.

mod chains;
mod copied;
mod damage;
mod desk;
mod places;
mod selection;
mod writer;
