//! Text from names, servers, git and the vault made safe for a terminal: what would steer it is shown as an escape.
//!
//! Does not own: who shows it (`ctl::render`, `service::telemetry`), or how JSON is written. Nothing is lost: every
//! character comes out as itself, or as the number that it has. JSON has its own escapes, which mean the same value.

use std::borrow::Cow;

/// One line without anything that steers a terminal: a line break is an escape, too.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, steers, plain)
}

/// The same for text of several lines: the line breaks stay.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && steers(c), plain)
}

/// JSON with what steers a terminal written as JSON's own escapes: the same value, other characters.
///
/// The text must be JSON: there such characters stand in strings only, but for line breaks between them.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    escaped(json, |c| c != '\n' && steers(c), |c| format!("\\u{:04x}", c as u32))
}

/// C0 and C1 controls, DEL, marks that change the direction of text, and separators that break a line.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn plain(c: char) -> String {
    match c {
        '\n' => "\\n".into(),
        '\t' => "\\t".into(),
        '\r' => "\\r".into(),
        c if (c as u32) < 0x100 => format!("\\x{:02x}", c as u32),
        c => format!("\\u{{{:04x}}}", c as u32),
    }
}

fn escaped(text: &str, is_hidden: impl Fn(char) -> bool, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(&is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            safe.push_str(&escape(c));
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_as_an_escape() {
        for (text, shown) in [
            ("group/app.git", "group/app.git"),
            ("Größe – 木", "Größe – 木"),
            ("x\x1b[31my", "x\\x1b[31my"),
            ("\x07\x7f\u{9b}31m", "\\x07\\x7f\\x9b31m"),
            ("a\u{202e}b\u{2066}c\u{200f}", "a\\u{202e}b\\u{2066}c\\u{200f}"),
            ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
            ("a\u{2028}b", "a\\u{2028}b"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert_eq!(visible_lines("a\n\x1b]0;b\x07\n"), "a\n\\x1b]0;b\\x07\n");
    }

    #[test]
    fn every_control_character_is_one_that_steers() {
        let dangerous = (0..0x20).chain(0x7f..0xa0).chain(0x202a..=0x202e).chain(0x2066..=0x2069);
        for number in dangerous {
            let c = char::from_u32(number).expect("a character");
            let shown = visible_lines(&format!("a{c}b")).into_owned();
            assert_eq!(shown.contains(c), c == '\n', "{number:x}: {shown}");
        }
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({ "name": "x\x1b[1m\u{9b}\u{7f}\u{202e}ü\n" });
        let json = serde_json::to_string_pretty(&value).expect("JSON");
        let shown = visible_json(&json);
        assert!(!shown.contains(|c| c != '\n' && steers(c)), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
    }
}
