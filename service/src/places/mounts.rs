//! What is mounted where, as the kernel tells this process.
//!
//! Does not own: what follows from it. Read anew each time, because mounts come and go.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use packhorse_model::{ErrorKind, Problem, Subject};

use super::Extent;

const TABLE: &str = "/proc/self/mountinfo";

/// The table of mounts at one moment.
#[derive(Clone, Debug, Default)]
pub struct Mounts(Vec<Mount>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    device: String,
    /// The folder of the file system that is mounted.
    root: PathBuf,
    /// Where it is mounted.
    point: PathBuf,
}

impl Mounts {
    /// Reads the table.
    pub fn read() -> Result<Self, Problem> {
        let read = fs::read(TABLE).map(|table| Self::parse(&table));
        read.and_then(|mounts| match mounts.0.is_empty() {
            true => Err(io::Error::other("it lists no mount")),
            false => Ok(mounts),
        })
        .map_err(|error| {
            Problem::new(ErrorKind::Unavailable, Subject::Host, "read mounts")
                .on(TABLE)
                .answered(error)
                .next("mount /proc, without which nobody can say what lies in what")
        })
    }

    fn parse(table: &[u8]) -> Self {
        let mount = |line: &[u8]| {
            let mut fields = line.split(|byte| *byte == b' ').skip(2);
            let device = String::from_utf8_lossy(fields.next()?).into_owned();
            let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
            Some(Mount { device, root, point })
        };
        Self(table.split(|byte| *byte == b'\n').filter_map(mount).collect())
    }

    /// Whether something is mounted at this path.
    pub fn has(&self, path: &Path) -> bool {
        self.0.iter().any(|mount| mount.point == path)
    }

    /// A mount point below this path.
    pub fn below(&self, path: &Path) -> Option<&Path> {
        self.all_below(path).next()
    }

    /// Every mount point below this path.
    pub fn all_below<'a, 'b>(&'a self, path: &'b Path) -> impl Iterator<Item = &'a Path> + use<'a, 'b> {
        self.0.iter().map(|mount| mount.point.as_path()).filter(move |point| is_below(point, path))
    }

    /// The extent of a resolved path, then those of everything that is mounted below it.
    pub(super) fn extents_of(&self, path: &Path) -> Vec<Extent> {
        // Of several mounts at one point, the last covers the others.
        let above = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        let own = above.max_by_key(|mount| mount.point.as_os_str().len()).map(|mount| Extent {
            device: mount.device.clone(),
            path: join(&mount.root, path.strip_prefix(&mount.point).unwrap_or(path)),
        });
        // In a changed root the table may not say what is mounted at it; paths can be compared all the same.
        let own = own.unwrap_or_else(|| Extent { device: String::new(), path: path.to_owned() });
        let below = self.0.iter().filter(|mount| is_below(&mount.point, path));
        let below = below.map(|mount| Extent { device: mount.device.clone(), path: mount.root.clone() });
        std::iter::once(own).chain(below).collect()
    }
}

fn is_below(point: &Path, path: &Path) -> bool {
    point != path && point.starts_with(path)
}

fn join(root: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().as_bytes().is_empty() { root.to_owned() } else { root.join(rest) }
}

/// What tells this kernel's run from every other; none where the kernel does not say.
pub fn kernel() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// The kernel writes space, tab, line break and backslash as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        assert_eq!(unescape(b"/a\\040b\\134c\\x"), Path::new("/a b\\c\\x"));
        assert!(Mounts::read().expect("read table").has(Path::new("/proc")));
        assert!(kernel().is_some());
    }

    #[test]
    fn a_path_lies_where_the_innermost_mount_has_it() {
        let table = b"1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /data rw - ext4 b rw\n\
            3 2 8:1 /srv/x /data/bound rw - ext4 a rw\n4 2 8:3 / /data\\040too rw - ext4 c rw\n";
        let mounts = Mounts::parse(table);
        let extents = |path: &str| -> Vec<(String, PathBuf)> {
            let found = mounts.extents_of(Path::new(path)).into_iter();
            found.map(|extent| (extent.device, extent.path)).collect()
        };
        let extent = |device: &str, path: &str| (device.to_owned(), PathBuf::from(path));
        assert_eq!(extents("/srv/x/y"), [extent("8:1", "/srv/x/y")]);
        assert_eq!(extents("/data/bound/y"), [extent("8:1", "/srv/x/y")]);
        assert_eq!(extents("/data"), [extent("8:2", "/"), extent("8:1", "/srv/x")]);
        assert_eq!(extents("/data too"), [extent("8:3", "/")]);
        assert_eq!(Mounts::default().extents_of(Path::new("/x")).len(), 1);
        assert_eq!(mounts.below(Path::new("/data")), Some(Path::new("/data/bound")));
        assert_eq!(mounts.below(Path::new("/srv")), None);
    }
}
