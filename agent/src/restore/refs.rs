//! Step 5: all refs at once, after the last step's objects.
//!
//! Does not own: whether names are valid (`ref_check`, asked when they are read), or stand in each other's way
//! (`RefSnapshot::leave_out_folders`): a backup that was made before that was looked at may hold such refs, which are left
//! out and told. Every distinct object that a ref leads to must be there before any ref is written. Ref files: one `packed-refs`, symbolic refs as files of their own;
//! reftables: one transaction of `git update-ref`.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use packhorse_model::{ErrorKind, Problem, Subject, encode_ref_name};
use packhorse_vault::{Head, Oid, RefSnapshot, RefStorage};

use crate::restore::{
    build::{MAIN, symbolic},
    git_child::{GitChild, Input},
    io_problem::{corrupt, io_problem},
    objects::{Brought, ObjectsThere},
    ref_check,
};

/// Refs in a problem.
const NAMED: usize = 10;

/// Refs that may be written: their names are right, and what has to be there is known.
pub(super) struct Refs {
    snapshot: RefSnapshot,
    /// The objects that refs lead to, each once or twice.
    tips: Vec<Oid>,
    /// Refs of the backup that no repository can hold beside the others, each with the reason.
    left_out: BTreeMap<Vec<u8>, String>,
}

impl Refs {
    /// Checks all names. Blocking.
    pub(super) fn check(mut snapshot: RefSnapshot) -> Result<Self, Problem> {
        ref_check::check(&snapshot)?;
        let left_out = snapshot.leave_out_folders();
        let mut tips: Vec<Oid> =
            snapshot.refs.iter().map(|(_, oid)| oid).chain(snapshot.head_oid()).collect();
        // By what tells nearly all of them apart; a tip that is looked up twice does no harm.
        tips.sort_unstable_by_key(|oid| {
            oid.as_bytes().first_chunk::<8>().map(|first| u64::from_be_bytes(*first))
        });
        tips.dedup();
        Ok(Self { snapshot, tips, left_out })
    }

    /// What has to be told of refs that are left out; none when all of them are written.
    pub(super) fn what_is_left_out(&self) -> Option<Problem> {
        let named = self.left_out.iter().take(NAMED);
        let named = named.map(|(name, finding)| format!("{}: {finding}", encode_ref_name(name)));
        let mut said: Vec<String> = named.collect();
        let more = self.left_out.len().saturating_sub(said.len());
        if more > 0 {
            said.push(format!("and {more} more"));
        }
        (!said.is_empty()).then(|| {
            Problem::new(ErrorKind::Corrupt, Subject::Repository, "restore refs")
                .answered(format!("{} left out: {}", self.left_out.len(), said.join("; ")))
                .leaving("everything else of it was restored")
                .next("make the refs that are missing again under other names: their objects are there until git prunes")
        })
    }

    /// Writes all refs into a repository that has all objects, of which some are known to be `brought`. Blocking.
    pub(super) fn write(
        &self,
        repository: &Path,
        storage: RefStorage,
        brought: &Brought,
        git: &GitChild,
    ) -> Result<(), Problem> {
        self.check_tips(repository, brought)?;
        match storage {
            RefStorage::Files => write_files(repository, &self.snapshot)
                .map_err(|e| io_problem("write refs", repository.display(), &e)),
            RefStorage::Reftable => write_reftable(repository, &self.snapshot, git),
        }
    }

    fn check_tips(&self, repository: &Path, brought: &Brought) -> Result<(), Problem> {
        let mut others = self.tips.iter().filter(|oid| !brought.has(oid)).peekable();
        if others.peek().is_none() {
            return Ok(());
        }
        let objects = ObjectsThere::open(repository, self.snapshot.object_format)?;
        match others.find(|oid| !objects.has(oid)) {
            None => Ok(()),
            Some(oid) => {
                Err(corrupt("restore refs", oid, "a ref leads to this object, but no bundle holds it"))
            }
        }
    }
}

fn write_files(repository: &Path, refs: &RefSnapshot) -> io::Result<()> {
    let packed = File::create_new(repository.join("packed-refs"))?;
    let mut packed = BufWriter::with_capacity(1 << 18, packed);
    packed.write_all(b"# pack-refs with: sorted \n")?;
    let mut line = Vec::new();
    for (name, oid) in direct(refs) {
        line.clear();
        oid.write_hex(&mut line);
        line.push(b' ');
        line.extend_from_slice(name);
        line.push(b'\n');
        packed.write_all(&line)?;
    }
    packed.into_inner().map_err(io::IntoInnerError::into_error)?;
    for symref in &refs.symrefs {
        let path = repository.join(OsStr::from_bytes(&symref.name));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, symbolic(&symref.target))?;
    }
    write_head(&repository.join("HEAD"), &refs.head)
}

/// Writes HEAD, unless it is as it was built.
fn write_head(path: &Path, head: &Head) -> io::Result<()> {
    match head {
        Head::Symbolic(target) if target == MAIN => Ok(()),
        Head::Symbolic(target) => fs::write(path, symbolic(target)),
        Head::Detached(oid) => fs::write(path, format!("{oid}\n")),
    }
}

/// The refs that hold an object id of their own.
fn direct(refs: &RefSnapshot) -> impl Iterator<Item = (&[u8], Oid)> {
    let symbolic: HashSet<&[u8]> = refs.symrefs.iter().map(|symref| symref.name.as_slice()).collect();
    refs.refs.iter().filter(move |(name, _)| !symbolic.contains(name))
}

fn write_reftable(repository: &Path, refs: &RefSnapshot, git: &GitChild) -> Result<(), Problem> {
    let mut orders = Vec::new();
    for (name, oid) in direct(refs) {
        orders.extend_from_slice(&[b"create ", name, b"\0"].concat());
        oid.write_hex(&mut orders);
        orders.push(0);
    }
    if let Head::Detached(oid) = &refs.head {
        orders.extend_from_slice(b"option no-deref\0update HEAD\0");
        oid.write_hex(&mut orders);
        orders.extend_from_slice(b"\0\0");
    }
    let mut update = git.command(Some(repository));
    update.args(["update-ref", "-z", "--stdin"]);
    git.run(update, "write refs", Some(Input::Bytes(orders)))?;
    let head = match &refs.head {
        Head::Symbolic(target) => Some((b"HEAD".as_slice(), target.as_slice())),
        Head::Detached(_) => None,
    };
    let symrefs = refs.symrefs.iter().map(|symref| (symref.name.as_slice(), symref.target.as_slice()));
    for (name, target) in symrefs.chain(head) {
        let mut symbolic = git.command(Some(repository));
        symbolic.arg("symbolic-ref").args([name, target].map(OsStr::from_bytes));
        git.run(symbolic, "write symbolic ref", None)?;
    }
    Ok(())
}
