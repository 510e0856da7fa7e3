//! Reading the refs of a `files` repository in process: loose refs first, then `packed-refs`.
//!
//! Does not own: reftable repositories (`reftable`). The order matters: `git pack-refs` writes `packed-refs` before it
//! deletes the loose files, so a reader that looks at the loose ones first sees every ref; the other way round it could
//! lose one. Anything that git would call a broken ref is an error here, not a gap.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::Path,
};

use gix::bstr::ByteSlice as _;
use packhorse_vault::{Head, ObjectFormat, Oid, RefList, Symref};

/// A ref that git would not accept either.
#[derive(Debug, thiserror::Error)]
pub enum RefsError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was read.
        path: String,
        /// The refusal.
        source: io::Error,
    },
    /// The content is not a ref.
    #[error("ref {name} is broken: {finding}")]
    Broken {
        /// The ref, or `packed-refs`.
        name: String,
        /// What is wrong with it.
        finding: &'static str,
    },
}

/// HEAD, resolved refs and symbolic refs of one repository.
pub type Refs = (Head, RefList, Vec<Symref>);

enum Target {
    Oid(Oid),
    Symbolic(Vec<u8>),
}

/// Longest chain of symbolic refs that is followed, as in git.
const MAX_DEPTH: usize = 5;

/// Reads HEAD and all refs under `refs/`.
pub fn read(dir: &Path, format: ObjectFormat) -> Result<Refs, RefsError> {
    let head = match read_target(&dir.join("HEAD"), b"HEAD", format)? {
        Some(Target::Oid(oid)) => Head::Detached(oid),
        Some(Target::Symbolic(target)) => Head::Symbolic(target),
        None => return Err(broken(b"HEAD", "does not exist")),
    };
    let mut loose = Vec::new();
    read_folder(&dir.join("refs"), &mut b"refs".to_vec(), format, &mut loose)?;
    loose.sort_by(|a, b| a.0.cmp(&b.0));
    let packed = read_packed(dir, format)?;
    let (refs, symbolic) = overlay(loose, packed);
    check_names(&head, &refs, &symbolic)?;
    Ok(resolve(head, refs, symbolic))
}

/// Refuses names that git would not accept: no restore could write them. A HEAD on one is what `git clone` leaves while
/// it is at work.
fn check_names(head: &Head, refs: &RefList, symbolic: &[Symref]) -> Result<(), RefsError> {
    let names = refs.iter().map(|(name, _)| name).chain(symbolic.iter().map(|symref| symref.name.as_slice()));
    for name in names {
        if !is_valid(name) {
            return Err(broken(name, "git does not allow its name"));
        }
    }
    if let Some(symref) = symbolic.iter().find(|symref| !is_valid(&symref.target)) {
        return Err(broken(&symref.name, "points to a name that git does not allow"));
    }
    match head {
        Head::Symbolic(target) if !is_valid(target) => {
            Err(broken(b"HEAD", "points to a name that git does not allow"))
        }
        _ => Ok(()),
    }
}

fn is_valid(name: &[u8]) -> bool {
    name.starts_with(b"refs/") && gix::validate::reference::name(name.as_bstr()).is_ok()
}

fn read_folder(
    dir: &Path,
    name: &mut Vec<u8>,
    format: ObjectFormat,
    loose: &mut Vec<(Vec<u8>, Target)>,
) -> Result<(), RefsError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(RefsError::Io { path: dir.display().to_string(), source }),
    };
    for entry in entries {
        let failed = |source| RefsError::Io { path: dir.display().to_string(), source };
        let entry = entry.map_err(failed)?;
        let file_name = entry.file_name();
        let file_name = file_name.as_bytes();
        // Git's own lock and temporary files, and names that git hides.
        if file_name.ends_with(b".lock") || file_name.starts_with(b".") {
            continue;
        }
        let parent = name.len();
        name.push(b'/');
        name.extend_from_slice(file_name);
        let file_type = entry.file_type().map_err(failed)?;
        if file_type.is_dir() {
            read_folder(&entry.path(), name, format, loose)?;
        } else if let Some(target) = read_target(&entry.path(), name, format)? {
            loose.push((name.clone(), target));
        }
        name.truncate(parent);
    }
    Ok(())
}

/// The content of a loose ref; none when it was deleted meanwhile.
fn read_target(path: &Path, name: &[u8], format: ObjectFormat) -> Result<Option<Target>, RefsError> {
    let failed = |source| RefsError::Io { path: path.display().to_string(), source };
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, rustix::fs::Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        // An old-style symbolic ref: its link text is the target, as git reads it.
        Err(rustix::io::Errno::LOOP) => {
            let target = fs::read_link(path).map_err(failed)?.into_os_string().into_vec();
            return if target.starts_with(b"refs/") {
                Ok(Some(Target::Symbolic(target)))
            } else {
                Err(broken(name, "is a link to a place outside refs/"))
            };
        }
        Err(error) => return Err(failed(error.into())),
    };
    let mut content = Vec::with_capacity(128);
    fs::File::from(file).take(8192).read_to_end(&mut content).map_err(failed)?;
    parse_target(&content, name, format).map(Some)
}

fn parse_target(content: &[u8], name: &[u8], format: ObjectFormat) -> Result<Target, RefsError> {
    if let Some(target) = content.strip_prefix(b"ref:") {
        let target = target.trim_ascii();
        return if target.starts_with(b"refs/") {
            Ok(Target::Symbolic(target.to_vec()))
        } else {
            Err(broken(name, "points outside refs/"))
        };
    }
    let hex_len = format.len_in_bytes() * 2;
    let oid = content.get(..hex_len).and_then(Oid::from_hex);
    let ends = content.get(hex_len).is_none_or(u8::is_ascii_whitespace);
    match oid {
        Some(oid) if ends => Ok(Target::Oid(oid)),
        _ if content.is_empty() => Err(broken(name, "the file is empty")),
        _ => Err(broken(name, "holds no object id")),
    }
}

fn read_packed(dir: &Path, format: ObjectFormat) -> Result<RefList, RefsError> {
    let path = dir.join("packed-refs");
    let content = match fs::read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(RefList::new()),
        Err(source) => return Err(RefsError::Io { path: path.display().to_string(), source }),
    };
    let hex_len = format.len_in_bytes() * 2;
    let mut refs = RefList::new();
    let mut unsorted = Vec::new();
    for line in content.split(|&byte| byte == b'\n') {
        if line.is_empty() || line[0] == b'#' || line[0] == b'^' {
            continue;
        }
        let (Some(oid), Some(b' ')) = (line.get(..hex_len).and_then(Oid::from_hex), line.get(hex_len)) else {
            return Err(broken(b"packed-refs", "has a line that is not `<oid> <name>`"));
        };
        let name = &line[hex_len + 1..];
        if !refs.push(name, oid) {
            unsorted.push((name.to_vec(), oid));
        }
    }
    if unsorted.is_empty() {
        return Ok(refs);
    }
    unsorted.extend(refs.iter().map(|(name, oid)| (name.to_vec(), oid)));
    Ok(RefList::from_unsorted(unsorted))
}

/// Loose refs over packed ones; both sorted.
fn overlay(loose: Vec<(Vec<u8>, Target)>, packed: RefList) -> (RefList, Vec<Symref>) {
    if loose.is_empty() {
        return (packed, Vec::new());
    }
    let (mut refs, mut symbolic) = (RefList::new(), Vec::new());
    let mut packed = packed.iter().peekable();
    let mut push = |name: &[u8], oid| {
        let pushed = refs.push(name, oid);
        debug_assert!(pushed, "merged names ascend");
    };
    for (name, target) in loose {
        while let Some((packed_name, oid)) = packed.next_if(|(packed_name, _)| *packed_name < name.as_slice())
        {
            push(packed_name, oid);
        }
        packed.next_if(|(packed_name, _)| *packed_name == name.as_slice());
        match target {
            Target::Oid(oid) => push(&name, oid),
            Target::Symbolic(target) => symbolic.push(Symref { name, target }),
        }
    }
    for (name, oid) in packed {
        push(name, oid);
    }
    (refs, symbolic)
}

/// Adds the symbolic refs that lead to an object to the list.
fn resolve(head: Head, refs: RefList, symbolic: Vec<Symref>) -> Refs {
    let mut resolved = Vec::new();
    for symref in &symbolic {
        let mut target = symref.target.as_slice();
        for _ in 0..MAX_DEPTH {
            if let Some(oid) = refs.get(target) {
                resolved.push((symref.name.clone(), oid));
                break;
            }
            match symbolic.binary_search_by(|other| other.name.as_slice().cmp(target)) {
                Ok(at) => target = &symbolic[at].target,
                Err(_) => break,
            }
        }
    }
    if resolved.is_empty() {
        return (head, refs, symbolic);
    }
    resolved.extend(refs.iter().map(|(name, oid)| (name.to_vec(), oid)));
    (head, RefList::from_unsorted(resolved), symbolic)
}

fn broken(name: &[u8], finding: &'static str) -> RefsError {
    RefsError::Broken { name: String::from_utf8_lossy(name).into_owned(), finding }
}
