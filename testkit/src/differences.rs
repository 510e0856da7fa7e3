//! Differences between two maps as lines that a person can read.
//!
//! Does not own: what is compared. Long lists are cut, so a test that fails completely still prints one screen.

use std::{collections::BTreeMap, fmt};

const MOST_LINES: usize = 20;

/// Lines for keys that are missing, added or changed.
pub(crate) fn compare_maps<K: Ord, V: PartialEq + fmt::Debug>(
    what: &str,
    expected: &BTreeMap<K, V>,
    actual: &BTreeMap<K, V>,
    name: impl Fn(&K) -> String,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, value) in expected {
        match actual.get(key) {
            None => lines.push(format!("{what} {}: missing, was {value:?}", name(key))),
            Some(other) if other != value => {
                lines.push(format!("{what} {}: {value:?} became {other:?}", name(key)));
            }
            Some(_) => {}
        }
    }
    for (key, value) in actual {
        if !expected.contains_key(key) {
            lines.push(format!("{what} {}: added, {value:?}", name(key)));
        }
    }
    let hidden = lines.len().saturating_sub(MOST_LINES);
    lines.truncate(MOST_LINES);
    if hidden > 0 {
        lines.push(format!("{what}: {hidden} more"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_added_and_changed_keys_are_named_and_long_lists_are_cut() {
        let old = BTreeMap::from([(1, 'a'), (2, 'b')]);
        let new = BTreeMap::from([(2, 'c'), (3, 'd')]);
        let lines = compare_maps("key", &old, &new, i32::to_string);
        assert_eq!(lines, ["key 1: missing, was 'a'", "key 2: 'b' became 'c'", "key 3: added, 'd'"]);
        let many = (0..100).map(|key| (key, 'x')).collect();
        assert_eq!(compare_maps("key", &BTreeMap::new(), &many, i32::to_string).len(), MOST_LINES + 1);
    }
}
