//! Numbers for people: bytes, counts, durations, ages.
//!
//! Does not own: machine output, which has plain integers and RFC 3339.

use bytesize::ByteSize;
use jiff::Timestamp;

/// Bytes in binary units.
pub fn bytes(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// A count with thousands separated.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 repository`, `2 repositories`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Bytes in at most five characters, for tables: `353B`, `3.1G`, `121M`.
pub fn short_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "K", "M", "G", "T", "P", "E"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 || size >= 9.95 {
        format!("{size:.0}{}", UNITS[unit])
    } else {
        format!("{size:.1}{}", UNITS[unit])
    }
}

/// An RFC 3339 time to the minute, in UTC.
pub fn minute(text: &str) -> String {
    let Ok(time) = text.parse::<Timestamp>() else { return "?".into() };
    time.strftime("%Y-%m-%d %H:%MZ").to_string()
}

/// An RFC 3339 time to the second, in UTC.
pub fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A duration such as `3m58s`.
pub fn duration(from: Timestamp, to: Timestamp) -> String {
    let millis = to.as_millisecond().saturating_sub(from.as_millisecond()).max(0);
    let seconds = millis / 1000;
    match seconds {
        0..10 => format!("{}.{:01}s", seconds, millis % 1000 / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// How long ago an RFC 3339 time was.
pub fn age(text: &str) -> String {
    let Ok(then) = text.parse::<Timestamp>() else { return "?".into() };
    let seconds = Timestamp::now().as_second().saturating_sub(then.as_second()).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        let at = |ms| Timestamp::from_millisecond(ms).expect("in range");
        assert_eq!(duration(at(0), at(1540)), "1.5s");
        assert_eq!(duration(at(0), at(238_000)), "3m58s");
        assert_eq!(duration(at(10), at(0)), "0.0s");
        assert_eq!(counted(1, "repository", "repositories"), "1 repository");
        assert_eq!(counted(2000, "repository", "repositories"), "2,000 repositories");
        let short = [0, 999, 1000, 4812, 10_200, 1 << 20, 999 << 20, 1000 << 20, 3_328_599_654, u64::MAX];
        let expected = ["0B", "999B", "1.0K", "4.7K", "10K", "1.0M", "999M", "1.0G", "3.1G", "16E"];
        assert_eq!(short.map(short_bytes), expected);
        assert_eq!(minute("2026-11-30T02:31:07.5Z"), "2026-11-30 02:31Z");
        assert_eq!(second(at(1_796_049_667_500)), "2026-11-30T14:41:07Z");
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
    }
}
