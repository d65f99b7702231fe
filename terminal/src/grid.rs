//! Rows of text under headers, for a terminal, as Markdown and as CSV.

use std::borrow::Cow;

use comfy_table::{CellAlignment, ColumnConstraint, Table, Width, presets::NOTHING};
use common::text::printable;

use crate::folded;

/// Characters of a line, of help or of a table that is not wide.
pub const WIDTH: usize = 80;

/// Letters to which a column may be narrowed by breaking words.
const LEAST: usize = 10;

/// Header of a column, and how it is shown.
#[derive(Clone, Debug)]
pub struct Column {
    header: String,
    is_number: bool,
    /// Columns of the highest rank are left out first; those of rank 0 never are.
    rank: u8,
    is_key: bool,
}

/// Rows of text under headers.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Column {
    /// A column of text, which begins at the left.
    pub fn text(header: impl Into<String>, rank: u8) -> Column {
        Column {
            header: header.into(),
            is_number: false,
            rank,
            is_key: false,
        }
    }

    /// A column of text that tells rows apart: it is left out only if all its cells are equal.
    pub fn key(header: impl Into<String>, rank: u8) -> Column {
        Column {
            is_key: true,
            ..Column::text(header, rank)
        }
    }

    /// A column of numbers, which end at the right.
    pub fn number(header: impl Into<String>, rank: u8) -> Column {
        Column {
            is_number: true,
            ..Column::text(header, rank)
        }
    }
}

impl Grid {
    /// A table; each row has a cell per column.
    pub fn new(columns: Vec<Column>, rows: impl IntoIterator<Item = Vec<String>>) -> Grid {
        let rows = rows.into_iter().collect();
        Grid { columns, rows }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The same table after columns of text, of which each row has the same cells.
    #[must_use]
    pub fn beside(mut self, columns: &[(&str, &str)]) -> Grid {
        let headers = columns.iter().map(|(header, _)| Column::key(*header, 0));
        self.columns.splice(0..0, headers);
        for row in &mut self.rows {
            let cells = columns.iter().map(|(_, cell)| (*cell).to_owned());
            row.splice(0..0, cells);
        }
        self
    }

    /// Adds the rows of a table with the same columns.
    pub fn append(&mut self, other: Grid) {
        if self.columns.is_empty() {
            self.columns = other.columns;
        }
        self.rows.extend(other.rows);
    }

    /// Aligned columns for a terminal. Unless `wide`, columns are left out until 80 characters hold a row, and a last
    /// line names them.
    pub fn text(&self, wide: bool) -> String {
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let unbounded = vec![None; self.columns.len()];
        let mut text = self.aligned(&shown, &unbounded);
        while !wide && width(&text) > WIDTH {
            let rank = |&at: &usize| self.rank(at);
            // Of equal ranks, the last column.
            let Some(least) = shown
                .iter()
                .copied()
                .max_by_key(rank)
                .filter(|at| rank(at) > 0)
            else {
                break;
            };
            shown.retain(|&at| at != least);
            text = self.aligned(&shown, &unbounded);
        }
        if !wide {
            text = self.wrapped(&shown, text);
        }
        let left_out = (0..self.columns.len()).filter(|at| !shown.contains(at));
        let left_out: Vec<_> = left_out.map(|at| &*self.columns[at].header).collect();
        if !left_out.is_empty() {
            let left_out = format!("(--wide shows {})", printable(&left_out.join(", ")));
            text += &format!("\n{}", folded(&left_out, 2));
        }
        text
    }

    /// Wraps columns that tell rows apart, the widest first, if the text is still too wide: at spaces, and longer words
    /// anywhere.
    fn wrapped(&self, shown: &[usize], mut text: String) -> String {
        let letters = |cell: &str| cell.chars().count();
        let cells = |at: usize| self.rows.iter().map(move |row| row[at].as_str());
        let longest = |at: usize| cells(at).map(letters).max().unwrap_or_default();
        let mut keys: Vec<usize> = shown
            .iter()
            .copied()
            .filter(|&at| self.columns[at].is_key)
            .collect();
        keys.sort_by_key(|&at| std::cmp::Reverse(longest(at)));
        let mut widths = vec![None; self.columns.len()];
        for at in keys {
            let excess = width(&text).saturating_sub(WIDTH);
            if excess == 0 {
                break;
            }
            let header = letters(&self.columns[at].header);
            let words = cells(at).flat_map(|cell| cell.split(' ')).map(letters);
            let least = words.max().unwrap_or_default().min(LEAST).max(header);
            widths[at] = Some(longest(at).saturating_sub(excess).max(least));
            text = self.aligned(shown, &widths);
        }
        text
    }

    fn rank(&self, at: usize) -> u8 {
        let column = &self.columns[at];
        let tells_apart = || self.rows.windows(2).any(|rows| rows[0][at] != rows[1][at]);
        if column.is_key && tells_apart() {
            0
        } else {
            column.rank
        }
    }

    /// Aligned columns; the cells of those with a width are wrapped.
    fn aligned(&self, shown: &[usize], widths: &[Option<usize>]) -> String {
        let mut table = Table::new();
        table.load_preset(NOTHING);
        table.set_header(self.header(shown));
        table.add_rows(self.rows.iter().map(|row| cells(row, shown)));
        for (column, &at) in table.column_iter_mut().zip(shown) {
            column.set_padding((0, 2));
            if let Some(width) = widths[at] {
                let width = u16::try_from(width + 2).unwrap_or(u16::MAX);
                column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
            }
            if self.columns[at].is_number {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }

    /// A table of Markdown with all columns.
    pub fn markdown(&self) -> String {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let line = |cells: Vec<String>| {
            let cells: Vec<_> = cells.iter().map(|cell| markdown(cell)).collect();
            format!("| {} |", cells.join(" | "))
        };
        let rules = self.columns.iter();
        let rules = rules.map(|column| if column.is_number { "---:" } else { "---" });
        let mut lines = vec![
            line(self.header(&all)),
            format!("| {} |", rules.collect::<Vec<_>>().join(" | ")),
        ];
        lines.extend(self.rows.iter().map(|row| line(cells(row, &all))));
        lines.join("\n")
    }

    /// Comma-separated values (RFC 4180) with all columns, and line feeds between rows.
    pub fn csv(&self) -> String {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let line = |cells: Vec<String>| {
            let cells: Vec<_> = cells.iter().map(|cell| quoted(cell)).collect();
            cells.join(",")
        };
        let mut lines = vec![line(self.header(&all))];
        lines.extend(self.rows.iter().map(|row| line(cells(row, &all))));
        lines.join("\n")
    }

    fn header(&self, shown: &[usize]) -> Vec<String> {
        let headers = shown.iter().map(|&at| &self.columns[at].header);
        headers.map(|text| printable(text).into_owned()).collect()
    }
}

fn cells(row: &[String], shown: &[usize]) -> Vec<String> {
    let cells = shown.iter().map(|&at| row.get(at).map_or("", |cell| cell));
    cells.map(|cell| printable(cell).into_owned()).collect()
}

fn width(text: &str) -> usize {
    let widths = text.lines().map(|line| line.chars().count());
    widths.max().unwrap_or_default()
}

/// Text without what Markdown or HTML would take as their own.
pub fn markdown(cell: &str) -> String {
    let mut escaped = String::new();
    for letter in cell.chars() {
        match letter {
            '<' => escaped += "&lt;",
            '&' => escaped += "&amp;",
            '|' | '\\' | '`' => escaped.extend(['\\', letter]),
            _ => escaped.push(letter),
        }
    }
    // Not a link.
    escaped.replace("](", "]\\(")
}

/// A cell in quotes where they are needed.
fn quoted(cell: &str) -> Cow<'_, str> {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\"")).into()
    } else {
        cell.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(cell: &str) -> Grid {
        let columns = vec![
            Column::text("name", 0),
            Column::text("long", 1),
            Column::number("n", 2),
        ];
        Grid::new(columns, [vec!["a".into(), cell.into(), "1".into()]])
    }

    #[test]
    fn columns_are_left_out_until_a_row_has_80_characters() {
        assert_eq!(grid("b").text(false), "name  long  n\na     b     1");
        let shorter = grid(&"b".repeat(73)).text(false);
        assert!(shorter.ends_with("\n(--wide shows n)"), "{shorter}");
        let long = grid(&"b".repeat(99));
        assert_eq!(long.text(false), "name\na\n(--wide shows long, n)");
        assert!(long.text(true).contains("bbb") && !long.text(true).contains("--wide"));
    }

    #[test]
    fn keys_are_wrapped_if_nothing_more_can_be_left_out() {
        let columns = vec![Column::text("name", 0), Column::key("setting", 1)];
        let row = |n: u32| vec!["a".repeat(40), format!("{} n={n}", "word=1 ".repeat(9))];
        let text = Grid::new(columns, [row(1), row(2)]).text(false);
        assert!(width(&text) <= WIDTH, "{text}");
        assert!(!text.contains("--wide") && text.contains("n=2"), "{text}");
        let words = text.split_whitespace();
        assert_eq!(words.filter(|word| *word == "word=1").count(), 18, "{text}");
        // A column that is too wide by one character.
        let columns = vec![Column::text("name", 0), Column::key("found", 0)];
        let text = Grid::new(
            columns,
            [["a".repeat(38), "word ".repeat(8) + "w"].to_vec()],
        )
        .text(false);
        assert!(width(&text) <= WIDTH, "{text}");
        let columns = ["first", "second", "third"].map(|name| Column::key(name, 0));
        let long = Grid::new(
            columns.to_vec(),
            [["a", "b", "c"].map(|name| name.repeat(40)).to_vec()],
        );
        let text = long.text(false);
        assert!(
            width(&text) <= WIDTH && text.matches('c').count() == 41,
            "{text}"
        );
    }

    #[test]
    fn hostile_cells_stay_cells() {
        let hostile = grid("a|b,\"<i>\"\n\u{1b}[2J");
        assert_eq!(hostile.text(false).lines().count(), 2);
        let lines = "| name | long | n |\n| --- | --- | ---: |\n| a | a\\|b,\"&lt;i>\"\\\\n";
        assert!(
            hostile.markdown().starts_with(lines),
            "{}",
            hostile.markdown()
        );
        assert_eq!(hostile.markdown().lines().count(), 3);
        let csv = hostile.csv();
        assert!(csv.contains("a,\"a|b,\"\"<i>\"\"\\n"), "{csv}");
    }
}
