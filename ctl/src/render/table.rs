//! A plain table: columns as wide as their content, two spaces between.
//!
//! Does not own: colours or wrapping; the last column may be as long as it likes. A cell is one line, whatever is in it.
//! Where there is no room for all columns, those that may be missing are left out; JSON has them all.

use std::fmt;

use packhorse_model::visible;

/// Width when it is not known: that of a terminal nobody made wider.
const USUAL_WIDTH: usize = 80;

/// Columns of the terminal that results go to.
pub fn width() -> usize {
    console::Term::stdout().size_checked().map_or(USUAL_WIDTH, |(_, columns)| usize::from(columns))
}

/// The longest line of text beside a table: what goes to a file or a pipe is not cut.
pub fn longest_line() -> usize {
    if console::user_attended() { width() } else { usize::MAX }
}

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

    /// Leaves columns of these headings out, the first ones first, until the rest fits.
    #[must_use]
    pub fn fit(mut self, width: usize, may_be_missing: &[&str]) -> Self {
        for heading in may_be_missing {
            if self.total_width() <= width {
                break;
            }
            let Some(column) = self.rows[0].iter().position(|name| name == heading) else { continue };
            for row in &mut self.rows {
                row.remove(column);
            }
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

    fn total_width(&self) -> usize {
        let widths = self.widths();
        widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_may_be_missing_make_room() {
        let mut table = Table::new(&["ID", "KIND", "SIZE"]);
        table.row(["x".repeat(30), "incremental".into(), "3 GiB".into()]);
        let wide = table.fit(80, &["KIND"]);
        assert!(wide.to_string().contains("incremental"));
        let narrow = wide.fit(40, &["KIND", "NONE"]).to_string();
        assert!(!narrow.contains("incremental") && narrow.contains("3 GiB"), "{narrow}");
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
    }

    #[test]
    fn a_cell_is_one_line_and_steers_nothing() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["a\nb\x1b[31m".into(), "ok".into()]);
        assert_eq!(table.to_string(), "NAME          STATE\na\\nb\\x1b[31m  ok\n");
        assert_eq!(cut("abcdef", 4), "abc…");
    }
}
