//! Logging: to stderr, as text on a terminal and for systemd, as JSON when asked.
//!
//! Does not own: what is logged. Libraries log at warn and above; `RUST_LOG` beats everything here. Each event is one
//! line, whatever names and answers it quotes: what would break the line or steer a terminal is shown as an escape. The
//! value of a field is quoted where one could not see otherwise where it ends.

use std::io::{self, Stderr, Write};

use packhorse_model::{visible, visible_json};
use tracing::{field::Field, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter,
    field::MakeExt as _,
    fmt,
    fmt::{
        FormatFields, MakeWriter,
        format::{self, Writer},
    },
    prelude::*,
};

/// Crates whose level `verbosity` sets.
const OWN: [&str; 5] =
    ["packhorse_agent", "packhorse_coordinator", "packhorse_vault", "packhorse_service", "backupctl"];

/// Starts logging with this level for our own crates; a second call does nothing.
pub fn start(own: LevelFilter, json: bool) {
    let mut directives: Vec<String> = OWN.iter().map(|name| format!("{name}={own}")).collect();
    if own < LevelFilter::WARN {
        // Somebody waits at a screen, and would not know for what.
        directives.push("packhorse_vault::line::silence=warn".to_owned());
    }
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,{}", directives.join(","))));
    let registry = tracing_subscriber::registry().with(filter);
    let _ = if json {
        registry.with(fmt::layer().json().with_writer(Lines { json })).try_init()
    } else {
        let text = fmt::layer().fmt_fields(fields()).with_ansi(false).with_target(false);
        registry.with(text.with_writer(Lines { json })).try_init()
    };
}

/// How the fields of an event are written: the message, then each name with its value.
fn fields() -> impl for<'w> FormatFields<'w> + 'static {
    let written = |out: &mut Writer<'_>, field: &Field, value: &dyn std::fmt::Debug| {
        let text = format!("{value:?}");
        if field.name() == "message" {
            return write!(out, "{text}");
        }
        // A text is quoted already, what is only displayed is not.
        let is_one_word = !text.contains([' ', '=', '"']) && !text.is_empty();
        match is_one_word || is_quoted(&text) {
            true => write!(out, "{}={text}", field.name()),
            false => write!(out, "{}={text:?}", field.name()),
        }
    };
    format::debug_fn(written).delimited(" ")
}

/// Whether it is one text in quotes, and not several.
fn is_quoted(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.replace("\\\\", "").replace("\\\"", "").contains('"'))
}

/// Writes events to stderr.
struct Lines {
    json: bool,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<Stderr>;
    fn make_writer(&'a self) -> Self::Writer {
        Line { out: io::stderr(), json: self.json }
    }
}

/// Writes one event, which arrives in one piece.
struct Line<W> {
    out: W,
    json: bool,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = if self.json { visible_json(line) } else { visible(line) };
        self.out.write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        fn text(&self) -> String {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8_lossy(&kept).into_owned()
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged of a repository with such a name.
    fn logged(name: &str, json: bool) -> String {
        written(json, || tracing::warn!(repository = %name, other = name, "a repository failed: {name}"))
    }

    fn written(json: bool, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let out = kept.clone();
        let layer = fmt::layer().with_ansi(false).with_target(false);
        let writer = move || Line { out: out.clone(), json };
        if json {
            let layer = layer.json().with_writer(writer);
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        } else {
            let layer = layer.fmt_fields(fields()).with_writer(writer);
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        }
        kept.text()
    }

    #[test]
    fn a_value_of_several_words_is_quoted_once() {
        let problem = "start run: the \"vault\" is gone";
        let line = written(false, || {
            tracing::warn!(run = %"b1", %problem, who = "uid 0", empty = %"", seconds = 7, "it ended");
        });
        assert!(is_quoted(r#""a \" b""#) && !is_quoted(r#""a" or "b""#) && !is_quoted("\""));
        let told =
            r#"it ended run=b1 problem="start run: the \"vault\" is gone" who="uid 0" empty="" seconds=7"#;
        assert!(line.trim_end().ends_with(&format!("WARN {told}")), "{line}");
    }

    #[test]
    fn an_event_is_one_line_that_steers_no_terminal() {
        let name = "x\x1b[31m\u{9b}y\n2026 INFO all is well\u{202e}";
        for json in [false, true] {
            let text = logged(name, json);
            assert_eq!(text.lines().count(), 1, "{text}");
            let line = text.trim_end_matches('\n');
            assert!(line.contains("31m") && !line.contains(char::is_control), "{line:?}");
            assert!(!line.contains('\u{202e}'), "{line:?}");
        }
        let value: serde_json::Value = serde_json::from_str(&logged("a\u{9b}b", true)).expect("a JSON line");
        assert_eq!(value["fields"]["other"], "a\u{9b}b");
    }
}
