//! The allocator of every Packhorse process.
//!
//! Does not own: how much is allocated; budgets bound that. The C library's allocator keeps what many threads freed in
//! arenas of their own: with six large restores the process grew past its bound of 256 MiB while it used a third of
//! it. This one gives freed pages back.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
