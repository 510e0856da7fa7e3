//! How large the parts of a multipart upload are.
//!
//! Does not own: memory budgets. All parts of an upload have one size (some stores insist on that), chosen before the
//! first byte is known, from an estimate of the whole.

/// Bytes of each part but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartSize(u64);

const MIB: u64 = 1 << 20;

impl PartSize {
    /// Parts that every S3-compatible store accepts in one upload.
    pub const MAX_PARTS: u64 = 10_000;
    /// The smallest part used: small objects go up whole.
    pub const SMALLEST: PartSize = PartSize(8 * MIB);

    /// The size for an object expected to have `bytes`, with an eighth to spare.
    pub fn for_expected(bytes: u64) -> Self {
        let needed = bytes.saturating_add(bytes / 8).div_ceil(Self::MAX_PARTS).div_ceil(MIB) * MIB;
        // No store takes a part of more than 5 GiB.
        Self(needed.clamp(Self::SMALLEST.0, 5 << 30))
    }

    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tebibyte_fits_ten_thousand_parts() {
        for size in [0, 1, 80 << 30, 1 << 40, 10 << 40] {
            let part = PartSize::for_expected(size);
            assert!(part.bytes() * PartSize::MAX_PARTS >= size, "{size}");
            assert_eq!(part.bytes() % MIB, 0);
        }
        assert_eq!(PartSize::for_expected(1 << 30), PartSize::SMALLEST);
        assert!(PartSize::for_expected(1 << 40).bytes() <= 128 * MIB);
    }
}
