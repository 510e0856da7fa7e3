//! Restores from vaults that real git commands wrote, checked by git.

mod chains;
mod damage;
mod desk;
mod measure;
mod places;
mod selection;
mod writer;
