//! `backupctl certs`: a small authority for those who have none.
//!
//! Does not own: what a certificate may do; the `[[peer]]` sections of the daemons say that, and this command prints
//! them. Private keys are made here, written with mode 0600, and never overwritten.

mod authority;
mod files;
mod issue;

use packhorse_model::{Exit, Problem};

use crate::{
    args::{CertsArgs, CertsCommand},
    render,
};

/// Makes an authority, or a certificate of it.
pub fn run(args: &CertsArgs) -> Result<Exit, Problem> {
    match &args.command {
        CertsCommand::Init { dir } => authority::init(dir)?,
        CertsCommand::Issue(args) => issue::issue(args)?,
    }
    Ok(render::settled(Exit::Complete, || "the files were made all the same".into()))
}
