//! The `.refs` object of a step: `<oid> <name>` lines, HEAD first when it resolves.
//!
//! Does not own: which refs. Writing and parsing are inverse for every snapshot; a parser never trusts the order or
//! the length of stored data.

use crate::{ObjectFormat, Oid, RefList, VaultError};

/// The bytes of a `.refs` object.
pub fn write_refs_file(head: Option<Oid>, refs: &RefList) -> Vec<u8> {
    let mut out = Vec::with_capacity(refs.len() * 80 + 64);
    if let Some(oid) = head {
        oid.write_hex(&mut out);
        out.extend_from_slice(b" HEAD\n");
    }
    for (name, oid) in refs.iter() {
        oid.write_hex(&mut out);
        out.push(b' ');
        out.extend_from_slice(name);
        out.push(b'\n');
    }
    out
}

/// HEAD's object id and the refs of a `.refs` object; `object` names it in errors.
pub fn parse_refs_file(
    bytes: &[u8],
    format: ObjectFormat,
    object: &str,
) -> Result<(Option<Oid>, RefList), VaultError> {
    let corrupt = |line: &[u8], finding: &str| {
        let line = String::from_utf8_lossy(&line[..line.len().min(120)]).into_owned();
        VaultError::corrupt("read refs", object, format!("line {line:?} {finding}"))
    };
    let mut head = None;
    let mut refs = RefList::new();
    let mut stragglers = Vec::new();
    for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let hex_len = format.len_in_bytes() * 2;
        let (Some(hex), Some(b' ')) = (line.get(..hex_len), line.get(hex_len)) else {
            return Err(corrupt(line, "is not `<oid> <name>`"));
        };
        let oid = Oid::from_hex(hex).ok_or_else(|| corrupt(line, "has no valid object id"))?;
        let name = &line[hex_len + 1..];
        if name == b"HEAD" {
            head = Some(oid);
        } else if !name.starts_with(b"refs/") {
            return Err(corrupt(line, "names neither HEAD nor a ref"));
        } else if !refs.push(name, oid) {
            stragglers.push((name.to_vec(), oid));
        }
    }
    if !stragglers.is_empty() {
        let mut all: Vec<(Vec<u8>, Oid)> = refs.iter().map(|(n, o)| (n.to_vec(), o)).collect();
        all.extend(stragglers);
        refs = RefList::from_unsorted(all);
    }
    Ok((head, refs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oid(n: u8) -> Oid {
        Oid::from_bytes(&[n; 20]).expect("20 bytes")
    }

    #[test]
    fn what_is_written_parses_again() {
        let refs = RefList::from_unsorted(vec![
            (b"refs/heads/a b\xff".to_vec(), oid(1)),
            (b"refs/tags/v1".to_vec(), oid(2)),
        ]);
        for head in [None, Some(oid(3))] {
            let bytes = write_refs_file(head, &refs);
            let parsed = parse_refs_file(&bytes, ObjectFormat::Sha1, "x").expect("own bytes");
            assert_eq!(parsed, (head, refs.clone()));
        }
    }

    #[test]
    fn damage_is_an_error_not_a_shorter_list() {
        let line = format!("{} refs/heads/x\n", "ab".repeat(20));
        for bad in ["x\n", "zz refs/a\n", &line.replace(' ', "_"), &line.replace("refs/", "rofs/")] {
            assert!(parse_refs_file(bad.as_bytes(), ObjectFormat::Sha1, "x").is_err(), "{bad:?}");
        }
        assert!(parse_refs_file(line.as_bytes(), ObjectFormat::Sha256, "x").is_err());
        let no_newline = line.trim_end();
        assert_eq!(
            parse_refs_file(no_newline.as_bytes(), ObjectFormat::Sha1, "x").expect("valid").1.len(),
            1
        );
    }
}
