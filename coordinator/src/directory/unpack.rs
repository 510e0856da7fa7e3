//! An archive from the vault into an empty folder.
//!
//! Does not own: where that folder lies or what happens to it (`swap`). An entry that would land outside (`..`, an
//! absolute path, a path or hard link through a symbolic link) is refused. A member that is refused, or that this host
//! does not take, such as a device without root, costs itself: it is named, and the rest is unpacked. Damage of the
//! archive, and a disk that is full or fails, end the unpacking. Symbolic links may point anywhere, as they did. Runs of
//! zeros become holes.

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
    fs::{AtFlags, FileType, Mode, OFlags, linkat, makedev, mknodat, openat, symlinkat, unlinkat},
    io::Errno,
};

use super::{
    attributes::Attributes,
    failure::{Missing, Stop, local},
    members::{Kind, Member, Members},
    owners::Owners,
    tree::Tree,
};
use crate::pipe::PlainReader;

/// Bytes of a file that are copied at once, and the shortest run of zeros that becomes a hole.
const CHUNK: usize = 64 * 1024;

/// Unpacks the whole archive and proves that it was the right one; says which members are missing.
pub(super) fn unpack(
    reader: PlainReader,
    root: OwnedFd,
    plain: u64,
    numeric_owner: bool,
) -> Result<Missing, Problem> {
    let mut unpacking = Unpacking {
        members: Members::new(BufReader::with_capacity(256 * 1024, reader)),
        tree: Tree::new(root),
        owners: Owners::read(numeric_owner),
        owned: rustix::process::geteuid().is_root(),
        missing: Missing::default(),
    };
    let placed = unpacking.place_all();
    let Unpacking { members, tree, mut missing, .. } = unpacking;
    let reader = members.into_inner().into_inner();
    match placed {
        Ok(()) => reader.prove(plain)?,
        Err((Stop::Reading(error), _)) => return Err(reader.problem(&error)),
        Err((Stop::Refused(why), path)) => {
            return Err(reader.corrupt(format!("member {path:?} {why}")).while_doing("unpack archive"));
        }
        Err((Stop::Local(error), path)) => return Err(local("unpack archive", path, error.into())),
    }
    let lost = tree.finish().map_err(|error| local("unpack archive", "the folders", error.into()))?;
    lost.into_iter().for_each(|(path, why)| missing.note(&path, why));
    Ok(missing)
}

/// An archive that is being unpacked.
struct Unpacking {
    members: Members<BufReader<PlainReader>>,
    tree: Tree,
    owners: Owners,
    /// Whether we may give entries away.
    owned: bool,
    missing: Missing,
}

impl Unpacking {
    /// Places every member that can be placed; what ends the unpacking is told with the member at hand.
    fn place_all(&mut self) -> Result<(), (Stop, String)> {
        loop {
            let next = self.members.next().map_err(|error| (Stop::Reading(error), String::new()))?;
            let Some(member) = next else { return Ok(()) };
            match self.place(&member).map_err(Stop::of_the_member) {
                Ok(Ok(())) => {}
                Ok(Err(lost)) => self.missing.note(&member.path, lost),
                Err(Ok(why)) => self.missing.note_contents(&member.path, why),
                Err(Err(stop)) => return Err((stop, String::from_utf8_lossy(&member.path).into_owned())),
            }
        }
    }

    /// Places one; what it did not get although it is there is told as text.
    fn place(&mut self, member: &Member) -> Result<Result<(), String>, Stop> {
        let path = components(&member.path)?;
        let attributes = Attributes::of(member, &self.owners, self.owned)?;
        if let Kind::Folder = member.kind {
            return Ok(Ok(self.tree.make(&path, attributes)?));
        }
        let Some((name, parents)) = path.split_last() else {
            return Err(Stop::Refused("takes the place of the directory itself"));
        };
        match &member.kind {
            Kind::Other(why) => Err(Stop::Refused(why)),
            Kind::HardLink(target) => self.link(target, parents, name).map(Ok),
            Kind::File(size) => {
                let folder = self.tree.enter(parents)?;
                write_file(&mut self.members, folder, name, *size, &attributes)
            }
            other => {
                let folder = self.tree.enter(parents)?;
                make_special(folder, name, other)?;
                Ok(attributes.apply_at(folder, name, !matches!(other, Kind::Symlink(_))))
            }
        }
    }

    fn link(&mut self, target: &[u8], parents: &[&[u8]], name: &[u8]) -> Result<(), Stop> {
        let target = components(target)?;
        let Some((old, above)) = target.split_last() else {
            return Err(Stop::Refused("links to the directory itself"));
        };
        let from = self.tree.open(above)?;
        let folder = self.tree.enter(parents)?;
        Ok(replacing(folder, name, || linkat(&from, *old, folder, name, AtFlags::empty()))?)
    }
}

fn make_special(folder: BorrowedFd<'_>, name: &[u8], kind: &Kind) -> Result<(), Stop> {
    let mode = Mode::RUSR | Mode::WUSR;
    let made = replacing(folder, name, || match kind {
        Kind::Symlink(target) => symlinkat(target.as_slice(), folder, name),
        Kind::Device(kind, major, minor) => mknodat(folder, name, *kind, mode, makedev(*major, *minor)),
        _ => mknodat(folder, name, FileType::Fifo, mode, 0),
    });
    match (made, kind) {
        (Err(Errno::PERM), Kind::Device(..)) => Err(Stop::Refused("is a device, which only root can make")),
        (made, _) => Ok(made?),
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
    attributes: &Attributes,
) -> Result<Result<(), String>, Stop> {
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
    Ok(attributes.apply(&file))
}

fn written(error: io::Error) -> Stop {
    Stop::Local(Errno::from_io_error(&error).unwrap_or(Errno::IO))
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
