//! Access control lists: from tar's text, which has names, to the bytes that the kernel takes.
//!
//! Does not own: setting them. The same list is in the archive with numbers only, as an extended attribute; it counts
//! where a name of the text is not known here.

use super::owners::Owners;

/// The extended attributes that hold them.
pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";
pub(super) const DEFAULT: &[u8] = b"system.posix_acl_default";

/// The version of the kernel's form.
const VERSION: u32 = 2;
/// The id of an entry that has none.
const NOBODY: u32 = u32::MAX;

/// The kernel's form of a list; none when it cannot be said with this host's names.
pub(super) fn bytes_of(text: &[u8], owners: &Owners) -> Option<Vec<u8>> {
    let lines = text.split(|byte| matches!(byte, b'\n' | b','));
    let lines = lines.map(|line| line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii());
    let mut entries: Vec<(u16, u16, u32)> =
        lines.filter(|line| !line.is_empty()).map(|line| entry(line, owners)).collect::<Option<_>>()?;
    // The kernel wants them in this order.
    entries.sort_unstable_by_key(|(tag, _, id)| (*tag, *id));
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for (tag, rights, id) in &entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    (!entries.is_empty()).then_some(bytes)
}

/// Tag, rights and id of `user:name:rwx`.
fn entry(line: &[u8], owners: &Owners) -> Option<(u16, u16, u32)> {
    let mut fields = line.split(|byte| *byte == b':');
    let (tag, name, rights) = (fields.next()?, fields.next()?, fields.next()?);
    let (tag, id) = match (tag, name) {
        (b"user" | b"u", b"") => (0x01, NOBODY),
        (b"user" | b"u", name) => (0x02, owners.in_list(false, name)?),
        (b"group" | b"g", b"") => (0x04, NOBODY),
        (b"group" | b"g", name) => (0x08, owners.in_list(true, name)?),
        (b"mask" | b"m", _) => (0x10, NOBODY),
        (b"other" | b"o", _) => (0x20, NOBODY),
        _ => return None,
    };
    let mut bits = 0;
    for right in rights {
        bits |= match right {
            b'r' => 4,
            b'w' => 2,
            b'x' => 1,
            b'-' => 0,
            _ => return None,
        };
    }
    Some((tag, bits, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_said_as_the_kernel_takes_it() {
        let owners = Owners::read(false);
        let text =
            b"user::rw-\nuser:1234:rwx\nuser:root:r--\t#effective:r--\ngroup::r--\nmask::rwx\nother::---\n";
        let bytes = bytes_of(text, &owners).expect("a list");
        let mut expected = vec![2, 0, 0, 0];
        for (tag, rights, id) in [
            (1u16, 6u16, u32::MAX),
            (2, 4, 0),
            (2, 7, 1234),
            (4, 4, u32::MAX),
            (16, 7, u32::MAX),
            (32, 0, u32::MAX),
        ] {
            expected.extend([&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat());
        }
        assert_eq!(bytes, expected);
        assert_eq!(bytes_of(b"user::rw-,group::r--,other::---", &owners).map(|bytes| bytes.len()), Some(28));
        for bad in [&b"user:no-such-user-x:rwx"[..], b"nobody", b"user::rwz", b""] {
            assert_eq!(bytes_of(bad, &owners), None);
        }
        assert_eq!(bytes_of(b"user:root:rwx", &Owners::read(true)), None, "numbers count");
    }
}
