//! Refs: branches, HEAD, symbolic refs, and thousands of refs at once.
//!
//! Does not own: the objects they point to. Everything goes through git, so loose refs, packed refs and reftables are
//! written as git writes them.

use std::{ffi::OsStr, fmt::Write, os::unix::ffi::OsStrExt};

use crate::{command::run_checked, git::GitRepo};

impl GitRepo {
    /// Creates or moves a ref; its full name may hold any bytes that git allows.
    pub fn update_ref(&self, name: impl AsRef<[u8]>, oid: &str) {
        run_checked(self.command().arg("update-ref").arg(OsStr::from_bytes(name.as_ref())).arg(oid));
    }

    /// Removes a ref.
    pub fn delete_ref(&self, name: impl AsRef<[u8]>) {
        run_checked(self.command().args(["update-ref", "-d"]).arg(OsStr::from_bytes(name.as_ref())));
    }

    /// Points HEAD to a ref by its full name, whether that ref exists or not.
    pub fn set_head(&self, target: &str) {
        self.symbolic_ref("HEAD", target);
    }

    /// Points HEAD to a commit.
    pub fn detach_head(&self, oid: &str) {
        self.run(&["update-ref", "--no-deref", "HEAD", oid]);
    }

    /// Makes a ref that points to another ref.
    pub fn symbolic_ref(&self, name: &str, target: &str) {
        self.run(&["symbolic-ref", name, target]);
    }

    /// Creates `n` refs `prefix/000000`, `prefix/000001`, … to one object in one transaction.
    pub fn many_refs(&self, prefix: &str, n: usize, oid: &str) {
        let mut lines = String::new();
        for number in 0..n {
            writeln!(lines, "create {prefix}/{number:06} {oid}").expect("writing to a string");
        }
        self.run_with_input(&["update-ref", "--stdin"], lines.as_bytes());
    }

    /// Moves loose refs into `packed-refs`, or compacts a reftable.
    pub fn pack_refs(&self) {
        self.run(&["pack-refs", "--all"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_are_made_moved_and_removed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let formats = [&[][..], &["--ref-format=reftable"]];
        let possible = if GitRepo::can_make_reftables() { &formats[..] } else { &formats[..1] };
        for options in possible {
            let repo = GitRepo::init_with(folder.path().join(format!("{}.git", options.len())), options);
            let oid = repo.commit("main", &[("a", "1")]);
            repo.many_refs("refs/keep-around", 300, &oid);
            repo.pack_refs();
            repo.update_ref(b"refs/heads/caf\xe9", &oid);
            repo.delete_ref("refs/keep-around/000007");
            repo.symbolic_ref("refs/heads/alias", "refs/heads/main");
            repo.detach_head(&oid);
            let state = repo.state();
            assert_eq!(state.refs.len(), 1 + 299 + 1 + 1, "{options:?}");
            let latin = state.refs.get(b"refs/heads/caf\xe9".as_slice()).expect("name of any bytes");
            assert_eq!(latin.oid, oid);
            let alias = state.refs.get(b"refs/heads/alias".as_slice()).expect("symbolic ref");
            assert_eq!(alias.symref.as_deref(), Some(b"refs/heads/main".as_slice()));
        }
    }
}
