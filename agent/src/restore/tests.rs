//! Restores from vaults that real git commands wrote, checked by git.

mod borrowed;
mod chains;
mod copied;
mod damage;
mod desk;
mod in_the_way;
mod many_refs;
mod places;
mod selection;
mod writer;
