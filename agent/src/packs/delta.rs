//! Applying a delta: copies from a base and new bytes, as gitformat-pack(5) describes them.
//!
//! Does not own: finding the base. Nothing in a delta is believed: every range is checked, and the result must have
//! exactly the size that the delta announces.

/// Puts together what `delta` makes of `base`; none when it is damaged, or larger than `limit`.
pub fn apply(base: &[u8], delta: &[u8], limit: u64, out: &mut Vec<u8>) -> Option<()> {
    let result = result_size(delta).filter(|size| *size <= limit)? as usize;
    out.clear();
    out.reserve_exact(result);
    pieces(base, delta, |piece| (piece.len() <= result - out.len()).then(|| out.extend_from_slice(piece)))?;
    (out.len() == result).then_some(())
}

/// The same where the result has its place already, of the size that the delta announces.
pub fn apply_in_place(base: &[u8], delta: &[u8], out: &mut [u8]) -> Option<()> {
    let mut left = out;
    pieces(base, delta, |piece| left.split_off_mut(..piece.len()).map(|place| place.copy_from_slice(piece)))?;
    left.is_empty().then_some(())
}

/// The size that a delta announces for its result.
pub fn result_size(mut delta: &[u8]) -> Option<u64> {
    size(&mut delta)?;
    size(&mut delta)
}

/// Hands over what the result consists of, piece by piece.
fn pieces(base: &[u8], mut delta: &[u8], mut put: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
    if size(&mut delta)? != base.len() as u64 {
        return None;
    }
    size(&mut delta)?;
    while let Some((&command, rest)) = delta.split_first() {
        delta = rest;
        let piece = if command & 0x80 != 0 {
            let start = number(&mut delta, command, 4)?;
            let len = match number(&mut delta, command >> 4, 3)? {
                0 => 0x10000,
                len => len,
            };
            base.get(start..start.checked_add(len)?)?
        } else {
            let (new, rest) =
                delta.split_at_checked(usize::from(command)).filter(|(new, _)| !new.is_empty())?;
            delta = rest;
            new
        };
        put(piece)?;
    }
    Some(())
}

/// A number of up to `bytes` bytes, lowest first, of which only those are there whose bit is set.
fn number(delta: &mut &[u8], bits: u8, bytes: u32) -> Option<usize> {
    let mut number = 0;
    for byte in 0..bytes {
        if bits & 1 << byte != 0 {
            let (&value, rest) = delta.split_first()?;
            number |= usize::from(value) << (8 * byte);
            *delta = rest;
        }
    }
    Some(number)
}

/// A size: seven bits in each byte, lowest first.
fn size(delta: &mut &[u8]) -> Option<u64> {
    let mut size = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = delta.split_first()?;
        *delta = rest;
        size |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(size);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_inserts() {
        let mut out = Vec::new();
        // Base of 6, result of 7: four from the second byte on, then three new ones.
        assert_eq!(apply(b"abcdef", b"\x06\x07\x91\x01\x04\x03xyz", 7, &mut out), Some(()));
        assert_eq!(out, b"bcdexyz");
        assert_eq!(apply(b"abcdef", b"\x06\x07\x91\x01\x04\x03xyz", 6, &mut out), None);
        assert_eq!(result_size(b"\x06\x07\x91\x01\x04\x03xyz"), Some(7));
        for (room, done) in [(6, None), (7, Some(())), (8, None)] {
            let mut place = vec![0; room];
            assert_eq!(apply_in_place(b"abcdef", b"\x06\x07\x91\x01\x04\x03xyz", &mut place), done, "{room}");
            assert!(done.is_none() || place == b"bcdexyz");
        }
    }

    #[test]
    fn whatever_does_not_fit_is_refused() {
        let mut out = Vec::new();
        for delta in [
            &b"\x05\x07\x91\x01\x04\x03xyz"[..],
            b"\x06\x08\x91\x01\x04\x03xyz",
            b"\x06\x06\x91\x01\x04\x03xyz",
            b"\x06\x07\x91\x03\x04\x03xyz",
            b"\x06\x07\x91\x01\x04\x03xy",
            b"\x06\x07\x91\x01",
            b"\x06\x04\x91\x01\x04\x00",
            b"\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"",
        ] {
            assert_eq!(apply(b"abcdef", delta, u64::MAX >> 1, &mut out), None, "{delta:?}");
            let mut place = vec![0; result_size(delta).map_or(7, |size| size.min(100) as usize)];
            assert_eq!(apply_in_place(b"abcdef", delta, &mut place), None, "{delta:?}");
        }
    }
}
