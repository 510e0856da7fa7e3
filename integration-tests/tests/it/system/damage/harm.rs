//! The ways in which an object can be damaged.
//!
//! Does not own: what a reader makes of it.

use std::{collections::BTreeMap, fs, path::Path};

type Objects = BTreeMap<String, Vec<u8>>;

/// One way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    FlipFirst,
    FlipMiddle,
    FlipLast,
    Truncate,
    Empty,
    Delete,
    /// With another object of the same kind.
    Swap,
}

impl Harm {
    pub const ALL: [Self; 7] = [
        Self::FlipFirst,
        Self::FlipMiddle,
        Self::FlipLast,
        Self::Truncate,
        Self::Empty,
        Self::Delete,
        Self::Swap,
    ];

    /// Whether it changes this object at all.
    pub fn changes(self, objects: &Objects, key: &str) -> bool {
        let mut damaged = objects.clone();
        self.apply(&mut damaged, key);
        damaged != *objects
    }

    /// The objects that it damages.
    pub fn victims(self, objects: &Objects, key: &str) -> Vec<String> {
        let other = if self == Self::Swap { other_of_kind(objects, key) } else { None };
        [key.to_owned()].into_iter().chain(other).collect()
    }

    /// Does it.
    pub fn apply(self, objects: &mut Objects, key: &str) {
        if self == Self::Delete {
            objects.remove(key);
            return;
        }
        if self == Self::Swap {
            if let Some(other) = other_of_kind(objects, key) {
                let (one, two) = (objects[key].clone(), objects[&other].clone());
                objects.insert(key.to_owned(), two);
                objects.insert(other, one);
            }
            return;
        }
        let bytes = objects.get_mut(key).expect("the object exists");
        let length = bytes.len();
        let at = match self {
            Self::FlipFirst => 0,
            Self::FlipMiddle => length / 2,
            _ => length.saturating_sub(1),
        };
        match self {
            Self::Truncate => bytes.truncate(length - length.div_ceil(3)),
            Self::Empty => bytes.clear(),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1),
        }
    }
}

/// The next object with the same kind of name and other bytes, cyclically.
fn other_of_kind(objects: &Objects, key: &str) -> Option<String> {
    let after = objects.keys().skip_while(|other| *other != key).skip(1);
    let mut candidates = after.chain(objects.keys());
    candidates.find(|other| kind(other) == kind(key) && objects[*other] != objects[key]).cloned()
}

/// The name's end, which says what an object is: `bundle`, `refs`, `toml`, `report.json`, …
fn kind(key: &str) -> &str {
    let name = key.rsplit('/').next().unwrap_or(key);
    if name.ends_with(".json") || name.starts_with('+') {
        name
    } else {
        name.rsplit('.').next().unwrap_or(name)
    }
}

/// Writes objects as the files of a vault.
pub fn write(vault: &Path, objects: &Objects) {
    for (key, bytes) in objects {
        let path = vault.join(key);
        fs::create_dir_all(path.parent().expect("a key has a folder")).expect("create folder");
        fs::write(path, bytes).expect("write object");
    }
}
