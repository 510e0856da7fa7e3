//! Which paths of a directory its exclusions leave out, decided as tar decides it.
//!
//! Does not own: handing the patterns to tar (`archive`). tar anchors them at the folder and matches them with
//! fnmatch(3), whose wildcards match slashes too; so do we, because a restore must know what its archive cannot hold.

/// Left out wherever it is: what fsck found belongs to the file system.
const EVERYWHERE: &[u8] = b"lost+found";

/// The exclusions of a directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Exclusions(Vec<Vec<u8>>);

impl Exclusions {
    /// From patterns as they are configured.
    pub(super) fn new<'a>(patterns: impl IntoIterator<Item = &'a String>) -> Self {
        Self(patterns.into_iter().map(|pattern| anchored(pattern).as_bytes().to_vec()).collect())
    }

    /// Whether this path, which is not in one that is left out, is left out. It starts at the folder, without `./`.
    pub(super) fn leave_out(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        name == EVERYWHERE || self.0.iter().any(|pattern| matches(pattern, path))
    }
}

/// A pattern without what may stand before it: it counts from the folder on.
pub(super) fn anchored(pattern: &str) -> &str {
    pattern.strip_prefix("./").unwrap_or(pattern).trim_start_matches('/')
}

/// fnmatch(3) without flags, on bytes.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Where to go on when what follows the last star does not fit: the star takes one byte more.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), text.split_first()) {
            (Some((b'*', after)), _) => {
                star = Some((after, text));
                pattern = after;
                continue;
            }
            (None, None) => return true,
            (Some(_), Some((byte, rest))) => {
                if let Some(after) = one(pattern, *byte) {
                    (pattern, text) = (after, rest);
                    continue;
                }
            }
            _ => {}
        }
        match star {
            Some((after, [_, rest @ ..])) => {
                star = Some((after, rest));
                (pattern, text) = (after, rest);
            }
            _ => return false,
        }
    }
}

/// What is left of the pattern when its first element, no star, matches this byte.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (first, rest) = pattern.split_first()?;
    match first {
        b'?' => Some(rest),
        b'\\' => rest.split_first().filter(|(escaped, _)| **escaped == byte).map(|(_, rest)| rest),
        b'[' => match bracket(rest, byte) {
            Some((true, rest)) => Some(rest),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(rest),
        },
        literal => (*literal == byte).then_some(rest),
    }
}

/// Whether a bracket expression matches, and what follows it; none when it has no end.
fn bracket(rest: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let negated = matches!(rest.first(), Some(b'!' | b'^'));
    let mut rest = if negated { &rest[1..] } else { rest };
    let (mut found, mut first) = (false, true);
    loop {
        match rest {
            [b']', after @ ..] if !first => return Some((found != negated, after)),
            [b'[', b':', after @ ..] => {
                let end = after.windows(2).position(|two| two == b":]")?;
                found |= in_class(&after[..end], byte);
                rest = &after[end + 2..];
            }
            _ => {
                let (low, after) = member(rest)?;
                rest = after;
                let mut high = low;
                if let [b'-', end, ..] = rest
                    && *end != b']'
                {
                    (high, rest) = member(&rest[1..])?;
                }
                found |= (low..=high).contains(&byte);
            }
        }
        first = false;
    }
}

fn member(rest: &[u8]) -> Option<(u8, &[u8])> {
    match rest {
        [b'\\', escaped, after @ ..] => Some((*escaped, after)),
        [byte, after @ ..] => Some((*byte, after)),
        [] => None,
    }
}

fn in_class(name: &[u8], byte: u8) -> bool {
    match name {
        b"alpha" => byte.is_ascii_alphabetic(),
        b"digit" => byte.is_ascii_digit(),
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"upper" => byte.is_ascii_uppercase(),
        b"lower" => byte.is_ascii_lowercase(),
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"blank" => byte == b' ' || byte == b'\t',
        b"punct" => byte.is_ascii_punctuation(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"graph" => byte.is_ascii_graphic(),
        b"cntrl" => byte.is_ascii_control(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use packhorse_testkit::{hermetic_command, run_checked};

    use super::*;

    #[test]
    fn what_is_left_out_is_what_tar_leaves_out() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let files = [
            "tmp/a/f",
            "sub/tmp/f",
            "b/x.bak",
            "b/[q]",
            "b/back\\slash",
            "b/y",
            "b/Z9",
            "lost+found/x",
            "sub/lost+found/y",
            "c/-",
            "c/]",
            "c/^",
            "c/!",
            "c/sp ace",
            "c/\u{e9}",
            ".hidden/f",
            "b/a*b",
        ];
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("in a folder")).expect("create folder");
            fs::write(path, "").expect("write file");
        }
        for pattern in [
            "tmp",
            "tmp/",
            "./tmp",
            "/tmp",
            "tm[op]",
            "*.bak",
            "b/[q]",
            "b/\\[q\\]",
            "sub",
            "sub/tmp/",
            "*/tmp",
            "b//y",
            "b/y/",
            "b/back\\\\slash",
            "b/back\\slash",
            "[",
            "b/[!xy]*",
            "t?p",
            "*/",
            ".",
            "*",
            "?*/f",
            "b/[[:upper:]][[:digit:]]",
            "c/[]-]",
            "c/[a^]",
            "c/[!]]",
            "c/[!!]",
            "b/[x-z]*",
            "c/??",
            "*\u{e9}",
            ".h*",
            "b/a\\*b",
            "b/a*b",
            "b/[",
            "b/[a",
            "b/[[:nope:]]",
            "s*b/*p",
            "b/[\\[]q]",
            "nothing",
        ] {
            let mut tar = hermetic_command("sh");
            let script = "LC_ALL=C tar -c -f - --exclude=lost+found --anchored --exclude=\"./$1\" -C \"$2\" . \
                          | LC_ALL=C tar -t --quoting-style=literal";
            tar.args(["-c", script, "sh", anchored(pattern)]).arg(folder.path());
            let listed = String::from_utf8(run_checked(&mut tar).stdout).expect("text");
            let stored: BTreeSet<String> = listed
                .lines()
                .map(|line| line.trim_start_matches("./").trim_end_matches('/').to_owned())
                .collect();
            let exclusions = Exclusions::new([&pattern.to_owned()]);
            for file in files {
                let parts: Vec<&str> = file.split('/').collect();
                let mut paths = (1..=parts.len()).map(|length| parts[..length].join("/"));
                let out = paths.any(|path| exclusions.leave_out(path.as_bytes()));
                assert_eq!(!out, stored.contains(file), "{pattern:?} and {file:?}");
            }
        }
    }
}
