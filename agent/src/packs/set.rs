//! All packs of a repository, opened together.
//!
//! Does not own: loose objects, which are looked up one by one (`loose`). Every object is found in one place only, in the
//! first pack that has it, so that copies are told apart; the pack that has a bitmap comes first. Repositories that borrow
//! objects or that leave some to another server are refused, and packs of unreachable objects are passed over.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use packhorse_vault::ObjectFormat;

use super::{Bitmap, Pack, Unsuited};

/// More packs than this would make every lookup slow; a repack is overdue anyway.
const MOST_PACKS: usize = 64;
/// Packs that are no larger than this together are read as a whole.
const HELD: u64 = 4 << 20;

/// Where an object is: the pack's number, and the place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The pack's number.
    pub pack: u32,
    /// The entry's place.
    pub place: u32,
}

/// The packs of a repository.
pub struct PackSet {
    objects: PathBuf,
    format: ObjectFormat,
    packs: Vec<Pack>,
    bitmap: Option<Bitmap>,
}

/// The files of a repository's packs, before they are opened.
pub struct PackFiles {
    objects: PathBuf,
    /// Packs, that with a bitmap first, the others by size.
    packs: Vec<Listed>,
}

struct Listed {
    path: PathBuf,
    size: u64,
    index: u64,
    bitmap: u64,
}

impl PackFiles {
    /// Lists the packs of the repository at `dir`.
    pub fn list(dir: &Path) -> Result<Self, Unsuited> {
        let objects = dir.join("objects");
        if fs::metadata(objects.join("info/alternates")).is_ok_and(|meta| meta.len() > 0) {
            return Err(Unsuited::at(dir, "borrows objects"));
        }
        let folder = objects.join("pack");
        let names = match fs::read_dir(&folder) {
            Ok(entries) => {
                entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let names = names.map_err(|e| Unsuited::at(&folder, e))?;
        let paths: HashSet<PathBuf> = names.into_iter().map(|name| folder.join(name)).collect();
        let has = |path: &Path, suffix: &str| paths.contains(&path.with_extension(suffix));
        let is_pack = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "pack");
        let count = paths.iter().filter(is_pack).count();
        if count > MOST_PACKS {
            return Err(Unsuited::at(&folder, format!("has {count} packs")));
        }
        let mut packs = Vec::new();
        for path in paths.iter().filter(is_pack) {
            if has(path, "promisor") {
                return Err(Unsuited::at(path, "leaves objects to another server"));
            }
            // Without an index it is not there yet; with modification times it holds what nothing reaches.
            if !has(path, "idx") || has(path, "mtimes") {
                continue;
            }
            let size = |suffix| fs::metadata(path.with_extension(suffix)).map(|meta| meta.len());
            let sizes = size("pack").and_then(|pack| Ok((pack, size("idx")?)));
            let (pack, index) = sizes.map_err(|e| Unsuited::at(path, e))?;
            let bitmap = if has(path, "bitmap") { size("bitmap").unwrap_or(0) } else { 0 };
            packs.push(Listed { path: path.clone(), size: pack, index, bitmap });
        }
        packs.sort_by(|one, other| {
            (other.bitmap > 0, other.size, &one.path).cmp(&(one.bitmap > 0, one.size, &other.path))
        });
        Ok(Self { objects, packs })
    }

    /// Bytes of all packs.
    pub fn size(&self) -> u64 {
        self.packs.iter().map(|pack| pack.size).sum()
    }

    /// Bytes of packs that are held in memory: all or none.
    pub fn held(&self) -> u64 {
        Some(self.size()).filter(|size| *size <= HELD).unwrap_or(0)
    }

    /// Bytes of memory that they take while they are open.
    pub fn memory(&self) -> u64 {
        let packs: u64 = self.packs.iter().map(|pack| Pack::memory(pack.index)).sum();
        // A bitmap is held with a table of its entries.
        self.held() + packs + self.packs.first().map_or(0, |pack| 3 * pack.bitmap)
    }

    /// Opens them.
    pub fn open(self, format: ObjectFormat) -> Result<PackSet, Unsuited> {
        let held = self.held() > 0;
        let mut packs = Vec::with_capacity(self.packs.len());
        let mut bitmap = None;
        for Listed { path, bitmap: bitmap_size, .. } in self.packs {
            let first = packs.is_empty();
            let pack = Pack::open(path, held, format)?;
            if first && bitmap_size > 0 {
                bitmap = Bitmap::read(&pack.path().with_extension("bitmap"), pack.file().checksum(), format);
            }
            packs.push(pack);
        }
        Ok(PackSet { objects: self.objects, format, packs, bitmap })
    }
}

impl PackSet {
    /// The packs; a location has a number of this list.
    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// The packs, for themselves.
    pub fn into_packs(self) -> Vec<Pack> {
        self.packs
    }

    /// Whether there may be loose objects.
    pub fn may_have_loose(&self) -> bool {
        let Ok(entries) = fs::read_dir(&self.objects) else { return true };
        // Folders of loose objects have names of two digits.
        entries.flatten().any(|entry| entry.file_name().len() == 2)
    }

    /// The pack that a location is in.
    pub fn pack(&self, location: Location) -> &Pack {
        &self.packs[location.pack as usize]
    }

    /// The bitmap of the first pack.
    pub fn bitmap(&self) -> Option<&Bitmap> {
        self.bitmap.as_ref()
    }

    /// The folder of loose objects.
    pub fn objects(&self) -> &Path {
        &self.objects
    }

    /// The hash that all objects have.
    pub fn format(&self) -> ObjectFormat {
        self.format
    }

    /// Where an object is.
    pub fn find(&self, oid: &gix::oid) -> Option<Location> {
        let found = self.packs.iter().enumerate().find_map(|(number, pack)| Some((number, pack.find(oid)?)));
        found.map(|(number, place)| Location { pack: number as u32, place })
    }
}
