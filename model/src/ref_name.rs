//! Ref names as text: git allows any byte but a few, TOML and JSON want UTF-8.
//!
//! Does not own: which names git accepts. Reversible, so nothing is lost: `%` and every byte outside printable ASCII
//! become `%XX`.

use crate::InvalidInput;

/// The name with `%` and every byte outside `!`..`~` written as `%XX`.
pub fn encode_ref_name(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for &byte in name {
        if (b'!'..=b'~').contains(&byte) && byte != b'%' {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The bytes of a name that [`encode_ref_name`] wrote.
pub fn decode_ref_name(text: &str) -> Result<Vec<u8>, InvalidInput> {
    let invalid = || InvalidInput::new("ref name", text, "has a % that no two hex digits follow");
    let bytes = text.as_bytes();
    let mut name = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'%' {
            name.push(bytes[at]);
            at += 1;
            continue;
        }
        let digits = bytes.get(at + 1..at + 3).ok_or_else(invalid)?;
        let digits = std::str::from_utf8(digits).map_err(|_| invalid())?;
        name.push(u8::from_str_radix(digits, 16).map_err(|_| invalid())?);
        at += 3;
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives() {
        let all: Vec<u8> = (0..=255).collect();
        let text = encode_ref_name(&all);
        assert!(text.is_ascii());
        assert_eq!(decode_ref_name(&text).expect("own encoding"), all);
        assert_eq!(encode_ref_name(b"refs/heads/a%b \xff"), "refs/heads/a%25b%20%FF");
        assert!(decode_ref_name("a%2").is_err());
        assert!(decode_ref_name("a%zz").is_err());
    }
}
