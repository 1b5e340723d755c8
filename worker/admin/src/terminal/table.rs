//! A table on standard output: every cell whole, without colours, as wide as its widest cell.

use std::fmt::Display;

use comfy_table::{CellAlignment, Table as Lines, presets};

use super::escape;
use super::print::write_answer;

/// The alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Text.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

/// Rows that are printed together.
#[derive(Debug)]
pub struct Table(Lines);

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(columns: &[Column]) -> Self {
        let mut lines = Lines::new();
        lines.load_style(presets::NOTHING);
        lines.set_header(columns.iter().map(|column| match column {
            Column::Left(name) | Column::Right(name) => *name,
        }));
        for (column, at) in columns.iter().zip(lines.column_iter_mut()) {
            at.set_padding((0, 2));
            if matches!(column, Column::Right(_)) {
                at.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self(lines)
    }

    /// Adds a row; what came from outside is escaped.
    pub fn row(&mut self, cells: &[&dyn Display]) {
        self.0.add_row(cells.iter().map(|cell| escape::line(&cell.to_string()).into_owned()));
    }

    pub fn print(&self) {
        write_answer(&self.0.trim_fmt());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_cell_is_neither_cut_nor_wrapped_and_a_cell_cannot_send_escapes() {
        let mut table = Table::new(&[Column::Left("hook"), Column::Right("sent")]);
        let long = "upc-pes/".repeat(40);
        table.row(&[&long, &7]);
        table.row(&[&"\u{1b}[2J", &1_000]);
        let text = table.0.trim_fmt();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].starts_with(&long) && lines[1].ends_with("     7"), "{text}");
        assert!(lines[2].starts_with("\\u{1b}[2J"), "{text}");
    }
}
