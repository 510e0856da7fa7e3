//! The entries of a tree, as git writes them.
//!
//! Does not own: what is made of them. Anything else is none: readers differ about odd modes, and with them about what
//! belongs to a tree.

/// What an entry of a tree is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Tree,
    File,
    Module,
}

/// An entry of a tree.
pub(super) struct Entry<'a> {
    pub role: Role,
    pub name: &'a [u8],
    pub id: &'a gix::oid,
}

impl<'a> Entry<'a> {
    /// The first entry of what is left of a tree, where ids have this length.
    pub fn first(rest: &mut &'a [u8], len: usize) -> Option<Self> {
        let mode = rest.iter().position(|byte| *byte == b' ')?;
        let role = match &rest[..mode] {
            b"40000" => Role::Tree,
            b"100644" | b"100664" | b"100755" | b"120000" => Role::File,
            b"160000" => Role::Module,
            _ => return None,
        };
        let named = &rest[mode + 1..];
        let (name, behind) = named.split_at(named.iter().position(|byte| *byte == 0)?);
        let (id, behind) = behind[1..].split_at_checked(len)?;
        *rest = behind;
        Some(Self { role, name, id: gix::oid::try_from_bytes(id).ok()? })
    }
}
