//! Git object ids of either hash, as the stored format writes them: lowercase hex.
//!
//! Does not own: looking objects up. Fixed size and `Copy`, so that lists of many refs stay compact.

use std::fmt;

/// The hash that a repository names its objects by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectFormat {
    /// 20 bytes.
    Sha1,
    /// 32 bytes.
    Sha256,
}

impl ObjectFormat {
    /// Git's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// The format with git's name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "sha1" => Some(Self::Sha1),
            "sha256" => Some(Self::Sha256),
            _ => None,
        }
    }

    /// Bytes of an object id.
    pub fn len_in_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// A git object id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid {
    bytes: [u8; 32],
    len: u8,
}

impl Oid {
    /// The id with these 20 or 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != 20 && bytes.len() != 32 {
            return None;
        }
        let mut oid = Self { bytes: [0; 32], len: bytes.len() as u8 };
        oid.bytes[..bytes.len()].copy_from_slice(bytes);
        Some(oid)
    }

    /// The id that is all zeros, which nothing has.
    pub fn null(format: ObjectFormat) -> Self {
        Self { bytes: [0; 32], len: format.len_in_bytes() as u8 }
    }

    /// The id written as 40 or 64 hex digits.
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        if hex.len() != 40 && hex.len() != 64 {
            return None;
        }
        let mut oid = Self { bytes: [0; 32], len: (hex.len() / 2) as u8 };
        for (byte, pair) in oid.bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
            if (high | low) > 15 {
                return None;
            }
            *byte = high << 4 | low;
        }
        Some(oid)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Appends the id as hex.
    pub fn write_hex(&self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [[0; 2]; 32];
        for (pair, byte) in hex.iter_mut().zip(self.as_bytes()) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        out.extend_from_slice(hex[..usize::from(self.len)].as_flattened());
    }
}

/// The value of each hex digit; 255 for what is none.
const NIBBLES: [u8; 256] = {
    let mut table = [255; 256];
    let digits = b"0123456789abcdef";
    let mut value = 0;
    while value < 16 {
        table[digits[value] as usize] = value as u8;
        table[digits[value].to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    table
};

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = Vec::with_capacity(64);
        self.write_hex(&mut hex);
        f.write_str(&String::from_utf8_lossy(&hex))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_for_both_hashes() {
        for len in [20, 32] {
            let bytes: Vec<u8> = (0..len).map(|i| i * 7).collect();
            let oid = Oid::from_bytes(&bytes).expect("valid length");
            assert_eq!(Oid::from_hex(oid.to_string().as_bytes()), Some(oid));
            assert_eq!(oid.as_bytes(), bytes);
        }
        assert_eq!(Oid::from_hex(b"12"), None);
        assert_eq!(Oid::from_hex(&[b'g'; 40]), None);
    }
}
