//! Reading the refs of a `files` repository in process: loose refs first, then `packed-refs`.
//!
//! Does not own: reftable repositories (`reftable`). The order matters: `git pack-refs` writes `packed-refs` before it
//! deletes the loose files, so a reader that looks at the loose ones first sees every ref; the other way round it could
//! lose one. A ref that is renamed meanwhile is not lost either: git makes the new name before it deletes the old one, so when
//! neither was read, a second look finds the new one, and all refs are read again. Anything that git would call a broken
//! ref is left out by name, and never replaced by what `packed-refs` says of it, which is older.

mod second_look;

use std::{
    collections::HashSet,
    fs,
    io::{self, Read as _},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::Path,
};

use gix::bstr::ByteSlice as _;
use packhorse_vault::{Head, ObjectFormat, Oid, RefList, Symref};

use self::second_look::Listed;
use super::damage::LeftOut;

/// Refs that cannot be read.
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
    /// Refs never stood still.
    #[error("refs are made, renamed or deleted faster than they can be read")]
    Moving,
}

impl RefsError {
    /// Whether it is this process that lacks something, and not the repository.
    fn is_ours(&self) -> bool {
        use rustix::io::Errno;
        let lacks = [Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(Errno::raw_os_error);
        matches!(self, Self::Io { source, .. } if source.raw_os_error().is_some_and(|code| lacks.contains(&code)))
    }

    /// What is wrong, without the name.
    fn finding(&self) -> String {
        match self {
            Self::Io { source, .. } => source.to_string(),
            Self::Broken { finding, .. } => (*finding).to_owned(),
            Self::Moving => self.to_string(),
        }
    }
}

/// HEAD, resolved refs and symbolic refs of one repository.
pub type Refs = (Head, RefList, Vec<Symref>);

#[derive(Clone, PartialEq, Eq)]
enum Target {
    Oid(Oid),
    Symbolic(Vec<u8>),
}

/// Longest chain of symbolic refs that is followed, as in git.
const MAX_DEPTH: usize = 5;

/// Where HEAD is taken to point when it cannot be read.
pub const MAIN: &[u8] = b"refs/heads/main";

/// Times that refs which change meanwhile are read.
const TRIES: usize = 20;

/// Reads HEAD and all refs under `refs/`, and says which of them are left out because they are broken.
pub fn read(dir: &Path, format: ObjectFormat) -> Result<(Refs, Vec<LeftOut>), RefsError> {
    for _ in 0..TRIES {
        if let Some(read) = read_once(dir, format)? {
            return Ok(read);
        }
    }
    Err(RefsError::Moving)
}

/// The same, none when a ref may have been missed because it moved to another name.
fn read_once(dir: &Path, format: ObjectFormat) -> Result<Option<(Refs, Vec<LeftOut>)>, RefsError> {
    let mut reading = Reading {
        format,
        loose: Vec::new(),
        left_out: Vec::new(),
        vanished: Vec::new(),
        listed: Listed::new(),
    };
    let head_file = dir.join("HEAD");
    let (head, target) = match read_target(&head_file, b"HEAD", format) {
        // It is being removed, or made.
        Ok(None) => return Err(broken(b"HEAD", "does not exist")),
        Ok(Some(target)) => (reading.head(target.clone()), Some(target)),
        Err(error) => {
            reading.leave_out(b"HEAD", error)?;
            (Head::Symbolic(MAIN.to_vec()), None)
        }
    };
    reading.folder(&dir.join("refs"), &mut b"refs".to_vec())?;
    reading.loose.sort_by(|a, b| a.0.cmp(&b.0));
    let packed = reading.packed(&dir.join("packed-refs"))?;
    // A branch that is renamed takes HEAD along after that.
    let head_moved = || target.is_some() && read_target(&head_file, b"HEAD", format).ok().flatten() != target;
    let may_lack = reading.has_lost(&packed)
        || !reading.listed.stood_still() && (head_moved() || !reading.has_met_all(&packed, dir));
    if may_lack {
        return Ok(None);
    }
    let Reading { loose, mut left_out, .. } = reading;
    let (refs, symbolic) = overlay(loose, without(packed, &left_out));
    let (refs, symbolic) = leave_out_names(refs, symbolic, &mut left_out);
    Ok(Some((resolve(head, refs, symbolic), left_out)))
}

/// Whether a name under `refs/` is one of git's lock and temporary files, or one that git hides.
fn is_passed_over(file_name: &[u8]) -> bool {
    file_name.ends_with(b".lock") || file_name.starts_with(b".")
}

/// Leaves out names that git would not accept: no restore could write them.
fn leave_out_names(
    refs: RefList,
    mut symbolic: Vec<Symref>,
    left_out: &mut Vec<LeftOut>,
) -> (RefList, Vec<Symref>) {
    symbolic.retain(|symref| {
        let finding = match (is_valid(&symref.name), is_valid(&symref.target)) {
            (true, true) => return true,
            (true, false) => "points to a name that git does not allow",
            (false, _) => "git does not allow its name",
        };
        left_out.push(LeftOut::new(&symref.name, finding));
        false
    });
    if refs.iter().all(|(name, _)| is_valid(name)) {
        return (refs, symbolic);
    }
    let mut valid = RefList::new();
    for (name, oid) in refs.iter() {
        if !is_valid(name) {
            left_out.push(LeftOut::new(name, "git does not allow its name"));
        } else if !valid.push(name, oid) {
            debug_assert!(false, "names of a list ascend");
        }
    }
    (valid, symbolic)
}

fn is_valid(name: &[u8]) -> bool {
    name.starts_with(b"refs/") && gix::validate::reference::name(name.as_bstr()).is_ok()
}

/// What `packed-refs` says of refs that are not left out. The name of a folder that cannot be read ends in a slash, and
/// stands for all below it.
fn without(packed: RefList, left_out: &[LeftOut]) -> RefList {
    if left_out.is_empty() {
        return packed;
    }
    let names: HashSet<&[u8]> = left_out.iter().map(|left_out| left_out.name.as_slice()).collect();
    let folders: Vec<&[u8]> = names.iter().copied().filter(|name| name.ends_with(b"/")).collect();
    let mut rest = RefList::new();
    for (name, oid) in packed.iter() {
        if !names.contains(name) && !folders.iter().any(|folder| name.starts_with(folder)) {
            let pushed = rest.push(name, oid);
            debug_assert!(pushed, "names of a list ascend");
        }
    }
    rest
}

/// What was read so far.
struct Reading {
    format: ObjectFormat,
    loose: Vec<(Vec<u8>, Target)>,
    left_out: Vec<LeftOut>,
    /// Names that were listed and gone when they were read; that of a folder ends in a slash.
    vanished: Vec<Vec<u8>>,
    listed: Listed,
}

impl Reading {
    fn leave_out(&mut self, name: &[u8], error: RefsError) -> Result<(), RefsError> {
        if error.is_ours() {
            return Err(error);
        }
        self.left_out.push(LeftOut::new(name, error.finding()));
        Ok(())
    }

    /// Whether something vanished for another reason than that it was packed.
    fn has_lost(&self, packed: &RefList) -> bool {
        self.vanished.iter().any(|name| match name.ends_with(b"/") {
            true => !packed.iter().any(|(packed, _)| packed.starts_with(name)),
            false => packed.get(name).is_none(),
        })
    }

    /// Whether every name that is there now was met.
    fn has_met_all(&self, packed: &RefList, dir: &Path) -> bool {
        let left_out: HashSet<&[u8]> =
            self.left_out.iter().map(|left_out| left_out.name.as_slice()).collect();
        second_look::finds_none(dir, |name| {
            self.loose.binary_search_by(|(other, _)| other.as_slice().cmp(name)).is_err()
                && packed.get(name).is_none()
                && !left_out.contains(name)
        })
    }

    /// HEAD; one that points to a name that git does not allow is what `git clone` leaves while it is at work.
    fn head(&mut self, target: Target) -> Head {
        match target {
            Target::Oid(oid) => Head::Detached(oid),
            Target::Symbolic(target) if is_valid(&target) => Head::Symbolic(target),
            Target::Symbolic(_) => {
                self.left_out.push(LeftOut::new(b"HEAD", "points to a name that git does not allow"));
                Head::Symbolic(MAIN.to_vec())
            }
        }
    }

    fn folder(&mut self, dir: &Path, name: &mut Vec<u8>) -> Result<(), RefsError> {
        let failed = |source| RefsError::Io { path: dir.display().to_string(), source };
        self.listed.note(dir);
        let listed = match fs::read_dir(dir) {
            Ok(entries) => entries.collect::<io::Result<Vec<_>>>(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.vanished.push([name.as_slice(), b"/"].concat());
                return Ok(());
            }
            Err(error) => Err(error),
        };
        let entries = match listed {
            Ok(entries) => entries,
            Err(source) => return self.leave_out(&[name.as_slice(), b"/"].concat(), failed(source)),
        };
        for entry in entries {
            let file_name = entry.file_name();
            let file_name = file_name.as_bytes();
            if is_passed_over(file_name) {
                continue;
            }
            let parent = name.len();
            name.push(b'/');
            name.extend_from_slice(file_name);
            let file_type = entry.file_type().map_err(failed)?;
            if file_type.is_dir() {
                self.folder(&entry.path(), name)?;
            } else if !file_type.is_file() && !file_type.is_symlink() {
                // A pipe would be waited for.
                self.leave_out(name, broken(name, "it is no file"))?;
            } else {
                match read_target(&entry.path(), name, self.format) {
                    Ok(Some(target)) => self.loose.push((name.clone(), target)),
                    Ok(None) => self.vanished.push(name.clone()),
                    Err(error) => self.leave_out(name, error)?,
                }
            }
            name.truncate(parent);
        }
        Ok(())
    }

    /// The refs of `packed-refs`. A line that is none is left out, and so is one that does not end: it was cut off.
    fn packed(&mut self, path: &Path) -> Result<RefList, RefsError> {
        let content = match fs::read(path) {
            // Git writes at least a header.
            Ok(content) if content.is_empty() => {
                self.left_out.push(LeftOut::new(b"packed-refs", "the file is empty"));
                return Ok(RefList::new());
            }
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(path).is_ok() {
                    self.left_out.push(LeftOut::new(b"packed-refs", "it is a link that leads nowhere"));
                }
                return Ok(RefList::new());
            }
            Err(source) => {
                let error = RefsError::Io { path: path.display().to_string(), source };
                return self.leave_out(b"packed-refs", error).map(|()| RefList::new());
            }
        };
        let mut refs = RefList::new();
        let (mut unsorted, mut bad) = (Vec::new(), Vec::new());
        for (number, line) in content.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if matches!(line[0], b'\n' | b'#' | b'^') {
                continue;
            }
            match packed_line(line, self.format) {
                Some((name, oid)) if refs.push(name, oid) => {}
                Some((name, oid)) => unsorted.push((name.to_vec(), oid)),
                None => bad.push(number + 1),
            }
        }
        if let Some(first) = bad.first() {
            let finding = match bad.len() {
                1 => format!("line {first} is not `<oid> <name>`"),
                count => format!("{count} lines are not `<oid> <name>`, the first is line {first}"),
            };
            self.left_out.push(LeftOut::new(b"packed-refs", finding));
        }
        if unsorted.is_empty() {
            return Ok(refs);
        }
        unsorted.extend(refs.iter().map(|(name, oid)| (name.to_vec(), oid)));
        Ok(RefList::from_unsorted(unsorted))
    }
}

fn packed_line(line: &[u8], format: ObjectFormat) -> Option<(&[u8], Oid)> {
    let (hex, rest) = line.strip_suffix(b"\n")?.split_at_checked(format.len_in_bytes() * 2)?;
    Some((rest.strip_prefix(b" ")?, Oid::from_hex(hex)?))
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
                Err(broken(name, "is a symbolic link whose text is no ref's name (refs/…)"))
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
