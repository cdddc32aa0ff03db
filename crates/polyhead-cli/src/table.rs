//! Tables as plain text: columns as wide as their widest cell, numbers to the right, thousands with commas.

use crate::out::printable;
pub use polyhead::document::number::{count, counted};
use std::fmt;

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns. Columns without a heading are fine; where no column has one, no line is spent.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self { columns: columns.iter().map(|&(name, align)| (name.to_owned(), align)).collect(), rows: Vec::new() }
    }

    /// Two columns without headings: a name and what belongs to it.
    pub fn pairs() -> Self {
        Self::new(&[("", Align::Left), ("", Align::Left)])
    }

    /// Adds a row; cells that are missing stay empty.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(|cell| one_line(&cell.into())).collect());
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (at, ((_, align), &width)) in self.columns.iter().zip(widths).enumerate() {
            let cell = cells.get(at).map_or("", String::as_str);
            let space = " ".repeat(width.saturating_sub(cell.chars().count()));
            let gap = if at == 0 { "" } else { "  " };
            line += &match align {
                Align::Left => format!("{gap}{cell}{space}"),
                Align::Right => format!("{gap}{space}{cell}"),
            };
        }
        line.trim_end().to_owned()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let head = names.iter().any(|name| !name.is_empty()).then_some(&names);
        let lines = || head.into_iter().chain(&self.rows);
        let width =
            |at: usize| lines().filter_map(|cells| cells.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        for (at, cells) in lines().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}{}", self.line(cells, &widths))?;
        }
        Ok(())
    }
}

/// A cell is one line.
fn one_line(text: &str) -> String {
    printable(&text.replace(['\n', '\t'], " "))
}

/// A number with two decimals: a percentage.
pub fn decimal(number: f64) -> String {
    // A number that rounds to zero has no sign.
    match format!("{number:.2}") {
        zero if zero == "-0.00" => "0.00".to_owned(),
        text => text,
    }
}

/// `part` of `whole` in per cent.
pub fn percent(part: usize, whole: usize) -> String {
    decimal(100.0 * part as f64 / whole.max(1) as f64)
}

/// The start of a text, with an ellipsis where it was cut.
pub fn start_of(text: &str, most: usize) -> String {
    match text.char_indices().nth(most).and_then(|(at, _)| text.get(..at)) {
        Some(start) => format!("{start}..."),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_no_line_ends_in_blanks() {
        let mut table = Table::new(&[("part", Align::Left), ("parameters", Align::Right), ("", Align::Left)]);
        table.row(["encoder", "109,482,240", ""]);
        table.row(["né", "7", "a\nb"]);
        assert_eq!(table.to_string(), "part      parameters\nencoder  109,482,240\nné                 7  a b");
        let mut pairs = Table::pairs();
        pairs.row(["a", "b"]);
        assert_eq!(pairs.to_string(), "a  b");
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (109_490_699, "109,490,699")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(counted(1, "example"), "1 example");
        assert_eq!(counted(2054, "window"), "2,054 windows");
        assert_eq!(percent(1, 3), "33.33");
        assert_eq!(percent(0, 0), "0.00");
    }
}
