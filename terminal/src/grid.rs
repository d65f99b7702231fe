//! Rows of text under headers, for a terminal, as Markdown and as CSV.

use std::borrow::Cow;

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use common::text::printable;

use crate::fold::{folded, lines, longest_piece};

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
    /// Characters for which room is kept, whatever the cells are, and to which they may be wrapped.
    room: Option<usize>,
    /// Whether only the first word of a cell is shown where columns are left out.
    is_brief: bool,
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
            room: None,
            is_brief: false,
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

    /// The same column, of which only the first word of a cell is shown where columns are left out: a value without its
    /// interval.
    #[must_use]
    pub fn brief(self) -> Column {
        Column {
            is_brief: true,
            ..self
        }
    }

    /// The same column as a key for which `room` characters are kept, so that the columns beside it do not depend on the
    /// length of its cells. Longer cells are wrapped if need be.
    #[must_use]
    pub fn with_room(self, room: usize) -> Column {
        Column {
            is_key: true,
            room: Some(room),
            ..self
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

    /// The same table before further columns, of which there is a row of cells for each row.
    #[must_use]
    pub fn followed_by(
        mut self,
        columns: Vec<Column>,
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Grid {
        self.columns.extend(columns);
        for (row, more) in self.rows.iter_mut().zip(rows) {
            row.extend(more);
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

    /// Aligned columns for a terminal. Unless `wide`, columns are left out until 80 characters hold a row. A last line has
    /// the texts of those whose cells are all equal, and names the others.
    pub fn text(&self, wide: bool) -> String {
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        if wide {
            return self.aligned(&shown, &vec![None; self.columns.len()], wide);
        }
        let rooms: Vec<Option<usize>> = self.columns.iter().map(|column| column.room).collect();
        while width(&self.aligned(&shown, &rooms, wide)) + self.unused(&shown) > WIDTH {
            let rank = |&at: &usize| self.rank(at);
            // Of equal ranks, the last column.
            let least = shown.iter().copied().max_by_key(rank);
            let Some(least) = least.filter(|at| rank(at) > 0) else {
                break;
            };
            shown.retain(|&at| at != least);
        }
        let mut text = self.wrapped(&shown);
        if let Some(line) = self.left_out(&shown) {
            text += &format!("\n{}", folded(&line, 2));
        }
        text
    }

    /// Characters of the room that is kept for columns and that their cells do not fill.
    fn unused(&self, shown: &[usize]) -> usize {
        let unused = shown.iter().filter_map(|&at| {
            let room = self.columns[at].room?;
            Some(room.saturating_sub(self.longest(at)))
        });
        unused.sum()
    }

    /// Letters of the longest cell of a column, or of its header.
    fn longest(&self, at: usize) -> usize {
        let cells = self.rows.iter().map(|row| letters(&row[at]));
        let header = letters(&self.columns[at].header);
        cells.chain([header]).max().unwrap_or_default()
    }

    /// The columns that are shown, in which keys are wrapped if the text is still too wide: first what is above the room
    /// of a column, then the widest.
    fn wrapped(&self, shown: &[usize]) -> String {
        let mut widths = vec![None; self.columns.len()];
        let mut text = self.aligned(shown, &widths, false);
        let is_key = |at: &usize| self.columns[*at].is_key;
        let mut keys: Vec<(usize, usize)> = shown
            .iter()
            .copied()
            .filter(is_key)
            .map(|at| (at, self.longest(at)))
            .collect();
        loop {
            for _ in WIDTH..width(&text) {
                let can_give = keys
                    .iter_mut()
                    .filter(|(at, width)| *width > self.least(*at));
                let widest = can_give.max_by_key(|(at, width)| {
                    let room = self.columns[*at].room;
                    (room.is_some_and(|room| *width > room), *width)
                });
                let Some((at, width)) = widest else {
                    return text;
                };
                *width -= 1;
                widths[*at] = Some(*width);
            }
            if width(&text) <= WIDTH {
                return text;
            }
            text = self.aligned(shown, &widths, false);
        }
    }

    /// Letters to which a key may be narrowed.
    fn least(&self, at: usize) -> usize {
        let pieces = self.rows.iter().map(|row| longest_piece(&row[at]));
        let least = pieces.max().unwrap_or_default().min(LEAST);
        least.max(letters(&self.columns[at].header))
    }

    /// Texts of the columns that are not shown and whose cells are all equal, and names of the others and of those
    /// shown in brief. `None` if nothing is left out.
    fn left_out(&self, shown: &[usize]) -> Option<String> {
        let (mut values, mut more) = (Vec::new(), Vec::new());
        for at in (0..self.columns.len()).filter(|at| !shown.contains(at)) {
            let Column {
                header, is_number, ..
            } = &self.columns[at];
            let first = self.rows.first().map(|row| row[at].as_str());
            match first.filter(|_| !self.tells_apart(at)) {
                Some("" | "-") => {}
                Some(cell) if !is_number => values.push(format!("{header} {cell}")),
                _ => more.push(header.clone()),
            }
        }
        let is_brief = |at: &&usize| {
            self.columns[**at].is_brief && self.rows.iter().any(|row| row[**at].contains(' '))
        };
        let brief: Vec<&str> = shown
            .iter()
            .filter(is_brief)
            .map(|&at| &*self.columns[at].header)
            .collect();
        if !brief.is_empty() {
            more.push(format!("intervals of {}", brief.join(" and ")));
        }
        if !more.is_empty() {
            more = vec![format!("(--wide shows {})", more.join(", "))];
        }
        let values = Some(values.join(", ")).filter(|values| !values.is_empty());
        let line: Vec<String> = values.into_iter().chain(more).collect();
        (!line.is_empty()).then(|| printable(&line.join(" ")).into_owned())
    }

    fn rank(&self, at: usize) -> u8 {
        let column = &self.columns[at];
        if column.is_key && self.tells_apart(at) {
            0
        } else {
            column.rank
        }
    }

    /// Whether cells of a column differ.
    fn tells_apart(&self, at: usize) -> bool {
        self.rows.windows(2).any(|rows| rows[0][at] != rows[1][at])
    }

    /// Aligned columns; the cells of those with a width are wrapped.
    fn aligned(&self, shown: &[usize], widths: &[Option<usize>], wide: bool) -> String {
        let mut table = Table::new();
        table.load_preset(NOTHING);
        table.set_header(self.header(shown));
        let rows = self.rows.iter().map(|row| {
            let cells = cells(row, shown).into_iter().zip(shown);
            let cells = cells.map(|(cell, &at)| match widths[at] {
                _ if self.columns[at].is_brief && !wide => first_word(&cell),
                Some(width) => lines(&cell, width).join("\n"),
                None => cell,
            });
            cells.collect::<Vec<_>>()
        });
        table.add_rows(rows);
        for (column, &at) in table.column_iter_mut().zip(shown) {
            column.set_padding((0, 2));
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

fn letters(text: &str) -> usize {
    text.chars().count()
}

fn first_word(cell: &str) -> String {
    let end = cell.find(' ').unwrap_or(cell.len());
    cell[..end].to_owned()
}

fn width(text: &str) -> usize {
    let widths = text.lines().map(letters);
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
mod tests;
