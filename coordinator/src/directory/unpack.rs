//! An archive from the vault into an empty folder.
//!
//! Does not own: where that folder lies or what happens to it (`swap`). An entry that would land outside (`..`, an
//! absolute path, a path or hard link through a symbolic link) or that makes a device ends the unpacking: an archive of
//! ours has none. Symbolic links themselves may point anywhere, as they did. Runs of zeros become holes.

use std::{
    fs::File,
    io::{self, BufReader},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use packhorse_model::Problem;
use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, linkat, mknodat, openat, symlinkat, unlinkat},
    io::Errno,
};

use super::{
    failure::{Stop, local},
    members::{Kind, Member, Members},
    tree::{Attributes, Tree},
};
use crate::pipe::PlainReader;

/// Bytes of a file that are copied at once, and the shortest run of zeros that becomes a hole.
const CHUNK: usize = 64 * 1024;

/// Unpacks the whole archive and proves that it was the right one.
pub(super) fn unpack(reader: PlainReader, root: OwnedFd, plain: u64) -> Result<(), Problem> {
    let mut members = Members::new(BufReader::with_capacity(256 * 1024, reader));
    let mut tree = Tree::new(root);
    let owned = rustix::process::geteuid().is_root();
    let placed = loop {
        match members.next() {
            Ok(Some(member)) => {
                if let Err(stop) = place(&mut tree, &mut members, &member, owned) {
                    break Err(stop.named(&member.path));
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err((Stop::Reading(error), String::new())),
        }
    };
    let reader = members.into_inner().into_inner();
    match placed {
        Ok(()) => reader.prove(plain)?,
        Err((Stop::Reading(error), _)) => return Err(reader.problem(&error)),
        Err((Stop::Refused(why), path)) => {
            return Err(reader.corrupt(format!("member {path:?} {why}")).while_doing("unpack archive"));
        }
        Err((Stop::Local(error), path)) => return Err(local("unpack archive", path, error.into())),
    }
    tree.finish().map_err(|error| local("unpack archive", "the folders", error.into()))
}

fn place(
    tree: &mut Tree,
    members: &mut Members<BufReader<PlainReader>>,
    member: &Member,
    owned: bool,
) -> Result<(), Stop> {
    let path = components(&member.path)?;
    let attributes = attributes(member, owned)?;
    if let Kind::Other(why) = member.kind {
        return Err(Stop::Refused(why));
    }
    if let Kind::Folder = member.kind {
        return Ok(tree.make(&path, attributes)?);
    }
    let Some((name, parents)) = path.split_last() else {
        return Err(Stop::Refused("takes the place of the directory itself"));
    };
    let source = match &member.kind {
        Kind::HardLink(target) => {
            let target = components(target)?;
            let Some((name, parents)) = target.split_last() else {
                return Err(Stop::Refused("links to the directory itself"));
            };
            Some((tree.open(parents)?, name.to_vec()))
        }
        _ => None,
    };
    let folder = tree.enter(parents)?;
    match (&member.kind, source) {
        (Kind::File(size), _) => write_file(members, folder, name, *size, attributes),
        (Kind::Symlink(target), _) => {
            replacing(folder, name, || symlinkat(target.as_slice(), folder, *name))?;
            Ok(attributes.apply_at(folder, name, false)?)
        }
        (Kind::Pipe, _) => {
            replacing(folder, name, || mknodat(folder, *name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0))?;
            Ok(attributes.apply_at(folder, name, true)?)
        }
        (_, Some((from, old))) => {
            Ok(replacing(folder, name, || linkat(&from, old.as_slice(), folder, *name, AtFlags::empty()))?)
        }
        _ => Err(Stop::Refused("cannot be placed")),
    }
}

/// Does `make`; when an earlier member has the name, a folder that changed while it was read was listed twice, and the
/// later one counts.
fn replacing<T>(
    folder: BorrowedFd<'_>,
    name: &[u8],
    mut make: impl FnMut() -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    match make() {
        Err(Errno::EXIST) => {
            unlinkat(folder, name, AtFlags::empty())?;
            make()
        }
        other => other,
    }
}

fn write_file(
    members: &mut Members<BufReader<PlainReader>>,
    folder: BorrowedFd<'_>,
    name: &[u8],
    size: u64,
    attributes: Attributes,
) -> Result<(), Stop> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(replacing(folder, name, || openat(folder, name, flags, Mode::RUSR | Mode::WUSR))?);
    let mut chunk = vec![0; CHUNK.min(usize::try_from(size).unwrap_or(CHUNK))];
    for extent in members.extents(size)? {
        let mut done = 0;
        while done < extent.length {
            let length = usize::try_from(extent.length - done).unwrap_or(CHUNK).min(CHUNK);
            let bytes = &mut chunk[..length];
            members.contents(bytes)?;
            if bytes.iter().any(|byte| *byte != 0) {
                file.write_all_at(bytes, extent.offset + done).map_err(written)?;
            }
            done += length as u64;
        }
    }
    file.set_len(size).map_err(written)?;
    Ok(attributes.apply(&file)?)
}

fn written(error: io::Error) -> Stop {
    Stop::Local(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn attributes(member: &Member, owned: bool) -> Result<Attributes, Stop> {
    let id = |id: u64| {
        let id = u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        id.ok_or(Stop::Refused("has an owner that cannot exist"))
    };
    let owner = (Uid::from_raw(id(member.uid)?), Gid::from_raw(id(member.gid)?));
    Ok(Attributes {
        owner: owned.then_some(owner),
        mode: Mode::from_raw_mode(member.mode),
        mtime: member.mtime,
    })
}

/// The names of a path inside the archive; the directory itself is the empty path.
fn components(path: &[u8]) -> Result<Vec<&[u8]>, Stop> {
    if path.starts_with(b"/") {
        return Err(Stop::Refused("has an absolute path"));
    }
    let names: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    if names.contains(&&b".."[..]) {
        return Err(Stop::Refused("leads out of the directory"));
    }
    if path.contains(&0) {
        return Err(Stop::Refused("has a zero byte in its path"));
    }
    Ok(names)
}
