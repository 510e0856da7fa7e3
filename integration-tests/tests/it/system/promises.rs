//! Every promise of `docs/complete.md` names a test that exists.
//!
//! Does not own: the promises. A test that is renamed or removed has to be named anew, or its promise withdrawn.

use std::{fs, path::PathBuf};

/// The code spans of a text, in order.
fn spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn source(path: &str) -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let own = here.join("tests/it").join(path);
    if own.exists() { own } else { here.join("..").join(path) }
}

#[test]
fn each_promise_is_held_by_a_test_that_exists() {
    let document = source("docs/complete.md");
    let text = fs::read_to_string(document).expect("docs/complete.md");
    let (mut named, mut current) = (0, None);
    for line in text.lines() {
        for span in spans(line) {
            if span.ends_with(".rs") {
                let code = fs::read_to_string(source(span));
                current = Some((span, code.unwrap_or_else(|error| panic!("{span}: {error}"))));
            } else if let Some((file, code)) = &current
                && span.len() > 12
                && span.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            {
                assert!(code.contains(&format!("fn {span}(")), "{file} has no test {span}");
                named += 1;
            }
        }
    }
    assert!(named >= 15, "only {named} tests are named");
}
