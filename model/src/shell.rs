//! Words as a shell takes them, for commands that a next step tells.
//!
//! Does not own: running anything. What is quoted is one word, whatever is in it.

use std::borrow::Cow;

/// The text as one word of a POSIX shell.
pub fn shell_quoted(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@' | '=' | ':' | ',')
    };
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_read_otherwise_is_quoted() {
        for (text, expected) in [
            ("team/app.git", "team/app.git"),
            ("teem/*", "'teem/*'"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(shell_quoted(text), expected);
        }
    }
}
