//! The extended header of a member: what does not fit into tar's fixed fields.
//!
//! Does not own: which members there are. Records are read by their length, so values may hold any byte; unknown keys
//! are ignored, except sparse formats that we do not read, because their contents would be wrong.

use std::io;

/// What an extended header may say.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) user: Option<Vec<u8>>,
    pub(super) group: Option<Vec<u8>>,
    /// Extended attributes, by name.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Access control lists, as text.
    pub(super) acl_access: Option<Vec<u8>>,
    pub(super) acl_default: Option<Vec<u8>>,
    /// Why the member cannot be unpacked, although what follows it can be read.
    pub(super) unusable: Option<&'static str>,
    /// Size of a sparse file with its holes; its contents then start with a map.
    pub(super) real_size: Option<u64>,
}

impl Pax {
    /// Reads the records of an extended header.
    pub(super) fn parse(mut bytes: &[u8]) -> io::Result<Self> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or_else(|| malformed("an extended header's record"))?;
            pax.set(key, value)?;
            bytes = rest;
        }
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match key {
            // The name in the fixed field of a sparse file is a stand-in.
            b"GNU.sparse.name" => self.path = Some(value.to_owned()),
            b"path" if self.path.is_none() => self.path = Some(value.to_owned()),
            b"linkpath" => self.link = Some(value.to_owned()),
            b"size" => self.size = Some(number(value)?),
            b"uid" => self.uid = Some(number(value)?),
            b"gid" => self.gid = Some(number(value)?),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(|| malformed("a time"))?),
            b"uname" => self.user = Some(value.to_owned()),
            b"gname" => self.group = Some(value.to_owned()),
            b"SCHILY.acl.access" => self.acl_access = Some(value.to_owned()),
            b"SCHILY.acl.default" => self.acl_default = Some(value.to_owned()),
            b"GNU.sparse.realsize" => self.real_size = Some(number(value)?),
            b"GNU.sparse.major" if value == b"1" => {}
            b"GNU.sparse.minor" if value == b"0" => {}
            _ if key.starts_with(b"GNU.sparse.") => {
                self.unusable = Some("is a sparse file of a kind that no archive of ours has");
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((plain_key(name), value.to_owned()));
                }
            }
        }
        Ok(())
    }
}

/// The error of an archive that is not one.
pub(super) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive holds {what} that cannot be read"))
}

/// A decimal number and nothing else.
pub(super) fn number(text: &[u8]) -> io::Result<u64> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| malformed("a number"))
}

/// `<length> <key>=<value>\n`, where the length counts all of it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(&bytes[..space]).ok()?).ok()?;
    let body = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    Some((&body[..equals], &body[equals + 1..], &bytes[length..]))
}

/// tar writes `=` in a key as `%3D`, and `%` as `%25`.
fn plain_key(key: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(key.len());
    let mut rest = key;
    while let Some((first, tail)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'%', b'3', b'D', after @ ..] => (b'=', after),
            [b'%', b'2', b'5', after @ ..] => (b'%', after),
            _ => (*first, tail),
        };
        plain.push(byte);
        rest = after;
    }
    plain
}

/// Seconds before or after 1970, with a fraction.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_any_byte_and_fractions_count_backwards_before_1970() {
        let pax = Pax::parse(b"16 path=a\nb=\xff\nc\n21 mtime=-1.25000000\n12 unknown=\n13 uid=12345\n");
        let pax = pax.expect("valid");
        assert_eq!(pax.path.as_deref(), Some(&b"a\nb=\xff\nc"[..]));
        assert_eq!((pax.mtime, pax.uid), (Some((-2, 750_000_000)), Some(12345)));
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"12"), Some((12, 0)));
    }

    #[test]
    fn nonsense_is_an_error() {
        for bad in [&b"9 path=a"[..], b"99 path=a\n", b"x path=a\n", b"8 patha\n", b"10 uid=-1\n"] {
            assert!(Pax::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        for odd in [&b"22 GNU.sparse.major=0\n"[..], b"24 GNU.sparse.map=1,2,3\n"] {
            assert!(Pax::parse(odd).expect("the next member can be read").unusable.is_some());
        }
        let pax = Pax::parse(b"29 SCHILY.xattr.user.a%3Db=c\n").expect("valid");
        assert_eq!(pax.xattrs, [(b"user.a=b".to_vec(), b"c".to_vec())]);
    }
}
