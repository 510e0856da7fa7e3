//! Which keys of a configuration file another version of it changes.
//!
//! Does not own: what a change means for a process. Values are compared as written and never shown: they may be secrets.

use std::collections::BTreeSet;

use toml::{Table, Value};

/// A file as it was written.
#[derive(Clone, Default)]
pub struct Written(pub(super) Table);

impl Written {
    /// The keys that differ: `section.key`, or the section alone where it may be repeated.
    pub fn changed(&self, newer: &Self) -> Vec<String> {
        let (older, newer) = (&self.0, &newer.0);
        let mut changed = Vec::new();
        for section in keys(older, newer) {
            match (older.get(section), newer.get(section)) {
                (before, after) if before == after => {}
                (Some(Value::Array(_)), _) | (_, Some(Value::Array(_))) => changed.push(section.clone()),
                (before, after) => {
                    let (before, after) = (table(before), table(after));
                    let differ =
                        keys(&before, &after).into_iter().filter(|key| before.get(*key) != after.get(*key));
                    changed.extend(differ.map(|key| format!("{section}.{key}")));
                }
            }
        }
        changed
    }
}

fn keys<'a>(one: &'a Table, other: &'a Table) -> BTreeSet<&'a String> {
    one.keys().chain(other.keys()).collect()
}

fn table(value: Option<&Value>) -> Table {
    value.and_then(Value::as_table).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_are_named() {
        let older = "[vault]\nurl = 'a'\n[[storage]]\nname = 'x'\n[run]\n";
        for (newer, expected) in [
            (older, &[][..]),
            ("# a comment\n[[storage]]\nname='x'\n[vault]\nurl='a'\n", &[]),
            ("[vault]\nurl = 'b'\nregion = 'c'\n[[storage]]\nname = 'x'\n", &["vault.region", "vault.url"]),
            ("[vault]\nurl = 'a'\n[[storage]]\nname = 'y'\n", &["storage"]),
            ("[vault]\nurl = 'a'\n[[agent]]\naddress = 'z'\n", &["agent", "storage"]),
            ("[[storage]]\nname = 'x'\n", &["vault.url"]),
        ] {
            let parse = |text| Written(toml::from_str(text).expect("TOML"));
            assert_eq!(parse(older).changed(&parse(newer)), expected, "{newer}");
        }
    }
}
