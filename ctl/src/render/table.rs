//! A plain table: columns as wide as their content, two spaces between.
//!
//! Does not own: colours; the last column may be as long as it likes. A cell is one line, whatever is in it. Where a
//! terminal has no room for all columns, those that may be missing are left out; a file or pipe gets all of them, and so
//! does JSON.

use std::fmt;

use packhorse_model::visible;

/// The least width of a terminal for which something is left out.
const NARROWEST: usize = 80;

/// Columns of the terminal that results go to; what goes to a file or a pipe has room for everything.
pub fn width() -> usize {
    match console::user_attended() {
        true => columns(&console::Term::stdout()).max(NARROWEST),
        false => usize::MAX,
    }
}

/// Columns of the terminal that progress goes to.
pub fn progress_width() -> usize {
    columns(&console::Term::stderr())
}

/// A terminal that does not say how wide it is has the usual width.
fn columns(terminal: &console::Term) -> usize {
    let told = terminal.size_checked().map(|(_, columns)| usize::from(columns));
    told.filter(|columns| *columns > 0).unwrap_or(NARROWEST)
}

/// Spaces between two columns.
const GAP: usize = 2;

/// Rows under headings.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(ToString::to_string).collect()] }
    }

    /// Appends a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| visible(&cell).into_owned()).collect());
    }

    /// Leaves columns out that have no room. Of those that may be missing, the first in the list is left out last; each
    /// comes with the width that is kept for it, so that what is left out does not change with what the rows say.
    #[must_use]
    pub fn fit(mut self, width: usize, may_be_missing: &[(&str, usize)]) -> Self {
        let kept_for = |heading: &str, actual: usize| {
            let kept = may_be_missing.iter().find(|(name, _)| *name == heading);
            kept.map_or(actual, |(_, kept)| actual.max(*kept)) + GAP
        };
        let headings = self.rows.first().cloned().unwrap_or_default();
        let widths: Vec<usize> =
            headings.iter().zip(self.widths()).map(|(name, actual)| kept_for(name, actual)).collect();
        let is_optional = |name: &str| may_be_missing.iter().any(|(optional, _)| *optional == name);
        let always = headings.iter().zip(&widths).filter(|(name, _)| !is_optional(name));
        let mut taken: usize = always.map(|(_, width)| width).sum();
        let mut missing = Vec::new();
        for (name, _) in may_be_missing {
            let Some(column) = headings.iter().position(|heading| heading == name) else { continue };
            if taken + widths[column] <= width.saturating_add(GAP) {
                taken += widths[column];
            } else {
                missing.push(column);
            }
        }
        for row in &mut self.rows {
            let mut column = 0;
            row.retain(|_| {
                column += 1;
                !missing.contains(&(column - 1))
            });
        }
        self
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        (0..columns).map(|column| width(column).unwrap_or_default()).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Cuts a line that is too wide, and shows that it was.
pub fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Pieces in lines that fit, each line but the first behind `indent`; a piece that is longer has a line of its own.
pub fn wrapped(first: &str, pieces: &[String], indent: &str, width: usize) -> String {
    let (mut lines, mut line, mut is_new) = (Vec::new(), first.to_owned(), true);
    for (number, piece) in pieces.iter().enumerate() {
        let piece = if number + 1 < pieces.len() { format!("{piece},") } else { piece.clone() };
        let piece = visible(&piece).into_owned();
        if !is_new && line.chars().count() + 1 + piece.chars().count() > width {
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
            is_new = true;
        }
        line = if is_new { line + &piece } else { format!("{line} {piece}") };
        is_new = false;
    }
    lines.push(line);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_may_be_missing_make_room() {
        let table = || {
            let mut table = Table::new(&["ID", "KIND", "SIZE"]);
            table.row(["x".repeat(30), "incremental".into(), "3 GiB".into()]);
            table
        };
        let kept = [("KIND", 11), ("NONE", 1)];
        assert!(table().fit(80, &kept).to_string().contains("incremental"));
        assert!(table().fit(usize::MAX, &kept).to_string().contains("incremental"));
        let narrow = table().fit(40, &kept).to_string();
        assert!(!narrow.contains("incremental") && narrow.contains("3 GiB"), "{narrow}");
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
    }

    #[test]
    fn what_is_left_out_does_not_change_with_what_the_rows_say() {
        let headings = |state: &str, width| {
            let mut table = Table::new(&["ID", "STATE", "DB", "DIRS"]);
            table.row(["x".into(), state.into(), "1".into(), "1".into()]);
            let table = table.fit(width, &[("STATE", 10), ("DB", 3), ("DIRS", 4)]).to_string();
            table.lines().next().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        for width in 0..40 {
            assert_eq!(headings("complete", width), headings("incomplete", width), "{width}");
        }
        assert_eq!(
            headings("complete", 18).as_deref(),
            Some("ID STATE"),
            "room is kept for the longest state"
        );
        assert_eq!(headings("complete", 19).as_deref(), Some("ID STATE DB"));
        assert_eq!(headings("incomplete", 25).as_deref(), Some("ID STATE DB DIRS"));
        assert_eq!(headings("of a length that nobody expects", 25).as_deref(), Some("ID DB DIRS"));
    }

    #[test]
    fn a_cell_is_one_line_and_steers_nothing() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["a\nb\x1b[31m".into(), "ok".into()]);
        assert_eq!(table.to_string(), "NAME          STATE\na\\nb\\x1b[31m  ok\n");
        assert_eq!(cut("abcdef", 4), "abc…");
    }

    #[test]
    fn names_are_wrapped_between_and_not_in_them() {
        let names: Vec<String> = (0..5).map(|n| format!("team/repository-{n}.git")).collect();
        let text = wrapped("  gone          default: ", &names, "                ", 80);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("                team/")), "{text}");
        assert_eq!(wrapped("x ", &names, "", usize::MAX), format!("x {}", names.join(", ")));
        assert_eq!(wrapped("  gone  ", &["a".repeat(90)], "  ", 80), format!("  gone  {}", "a".repeat(90)));
    }
}
