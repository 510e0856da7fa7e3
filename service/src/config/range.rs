//! Values that have a range: one beyond it is refused where it stands, so that the error has its line.
//!
//! Does not own: what the values mean, or rules about several of them (`load`).

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use bytesize::ByteSize;
use packhorse_model::VaultSettings;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::Span;

/// Things at once: more than anybody has, and fewer than a semaphore can count.
const AT_ONCE: usize = 10_000;

fn within<E: serde::de::Error, T: PartialOrd + Display>(value: T, range: &RangeInclusive<T>) -> Result<T, E> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(E::custom(format!("{value} is not between {} and {}", range.start(), range.end())))
}

/// Steps in a chain.
pub fn steps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    within(u32::deserialize(deserializer)?, &(1..=100_000))
}

/// Things at once; 0 has a meaning of its own.
pub fn at_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    within(usize::deserialize(deserializer)?, &(0..=AT_ONCE))
}

/// A share.
pub fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    within(f64::deserialize(deserializer)?, &(0.0..=1.0))
}

/// Memory for uploads.
pub fn upload_memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let smallest = ByteSize::mib(VaultSettings::LEAST_MEMORY_MIB);
    let size = ByteSize::deserialize(deserializer)?;
    if size < smallest {
        return Err(D::Error::custom(format!("{size} is less than {smallest}")));
    }
    Ok(size)
}

/// A time that is not zero.
pub fn some_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    let span = Span::deserialize(deserializer)?;
    if span.duration().is_zero() {
        return Err(D::Error::custom("must not be zero"));
    }
    Ok(span)
}

/// How long a request is tried again.
pub fn retry_budget<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    const LONGEST: Duration = VaultSettings::LONGEST_RETRY;
    let span = some_time(deserializer)?;
    if span.duration() > LONGEST {
        return Err(D::Error::custom(format!("must not be more than {}m", LONGEST.as_secs() / 60)));
    }
    Ok(span)
}
