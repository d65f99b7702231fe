//! Widths of columns on a page, in letters, and parts of tables that are too wide for it.

use crate::report::table::{Cell, Table};

/// Letters of a line.
const LINE: usize = 74;
/// Letters that the space between two columns takes.
const GAP: usize = 2;
/// Letters of the first columns, which each part has.
const KEYS: usize = 48;
/// Letters of a column of text that is not among the first.
const TEXT: usize = 26;
/// Letters of a word from which on it may be broken.
const LONG: usize = 8;
/// Letters of the longest piece of a word for which a column is widened.
const PIECE: usize = 20;

/// Columns that are printed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Numbers of the columns.
    pub(super) columns: Vec<usize>,
    /// For each, the width at which its text wraps; `None` if it need not.
    pub(super) widths: Vec<Option<usize>>,
}

/// The parts of a table, one if the page holds it. Columns of a group stay together; columns of text before the first
/// number are in each part.
pub(super) fn parts(table: &Table) -> Vec<Part> {
    let natural: Vec<usize> = (0..table.columns.len())
        .map(|at| letters(table, at))
        .collect();
    let all: Vec<usize> = (0..natural.len()).collect();
    if total(&natural) <= LINE {
        let widths = vec![None; all.len()];
        return vec![Part {
            columns: all,
            widths,
        }];
    }
    let is_number = |at: &usize| table.columns[*at].is_number;
    let keys = all.iter().position(is_number).unwrap_or(all.len());
    let (first, others) = all.split_at(keys);
    let least: Vec<usize> = all.iter().map(|&at| longest_piece(table, at)).collect();
    let groups = || {
        others.chunk_by(|&a, &b| {
            let group = |at: usize| table.columns[at].group.as_ref();
            group(a).is_some() && group(a) == group(b)
        })
    };
    let numbers = |group: &[usize]| -> usize {
        let numbers = group.iter().filter(|at| is_number(at));
        total(&numbers.map(|&at| natural[at]).collect::<Vec<_>>())
    };
    let widest = groups().map(numbers).max();
    let room = widest.map_or(LINE, |widest| KEYS.min(LINE.saturating_sub(widest)));
    let mut widths = shared(&natural[..keys], &least, room);
    let left = LINE.saturating_sub(total(&widths) + GAP);
    let capped = others.iter().map(|&at| {
        let most = if is_number(&at) {
            usize::MAX
        } else {
            TEXT.min(left).max(least[at])
        };
        natural[at].min(most)
    });
    widths.extend(capped);
    let mut parts: Vec<Vec<usize>> = Vec::new();
    for group in groups() {
        let with = |part: &[usize]| -> usize {
            let columns = first.iter().chain(part).chain(group);
            total(&columns.map(|&at| widths[at]).collect::<Vec<_>>())
        };
        match parts.last_mut() {
            Some(part) if with(part) <= LINE => part.extend(group),
            _ => parts.push(group.to_vec()),
        }
    }
    if parts.is_empty() {
        parts.push(Vec::new());
    }
    let part = |others: Vec<usize>| {
        let columns = [first, &others].concat();
        let widths = widened(&columns, &widths, &natural);
        Part { columns, widths }
    };
    parts.into_iter().map(part).collect()
}

/// Widths at which columns wrap, after the room that is left was given to them from left to right.
fn widened(columns: &[usize], widths: &[usize], natural: &[usize]) -> Vec<Option<usize>> {
    let used: Vec<usize> = columns.iter().map(|&at| widths[at]).collect();
    let mut room = LINE.saturating_sub(total(&used));
    let widened = columns.iter().map(|&at| {
        let more = (natural[at] - widths[at]).min(room);
        room -= more;
        let width = widths[at] + more;
        (width < natural[at]).then_some(width)
    });
    widened.collect()
}

fn total(widths: &[usize]) -> usize {
    widths.iter().map(|width| width + GAP).sum()
}

/// Widths that fit into so many letters: the widest columns are as wide as each other, but none is narrower than
/// `least`, its longest piece of a word.
fn shared(natural: &[usize], least: &[usize], room: usize) -> Vec<usize> {
    let capped = |cap: usize| -> Vec<usize> {
        let columns = natural.iter().zip(least);
        columns
            .map(|(of, least)| *of.min(&cap.max(*least)))
            .collect()
    };
    let most = natural.iter().copied().max().unwrap_or_default();
    let fits = (1..=most).rev().find(|&cap| total(&capped(cap)) <= room);
    capped(fits.unwrap_or(1))
}

/// Letters of the longest cell of a column, or word of its header. Intervals stand below their figures in a smaller
/// size.
fn letters(table: &Table, at: usize) -> usize {
    let count = |text: &str| text.chars().count();
    let cells = table.rows.iter().map(|row| match &row[at] {
        Cell::Figure(figure) => {
            let below = figure.uncertainty().map_or(0, |more| count(&more));
            count(&figure.number()).max(below * 3 / 4)
        }
        other => count(&other.shown()),
    });
    let words = table.columns[at].name.split(' ').map(count);
    cells.chain(words).max().unwrap_or_default()
}

/// Letters of the longest piece of a word, in the cells or the header of a column.
fn longest_piece(table: &Table, at: usize) -> usize {
    let cells = table.rows.iter().map(|row| row[at].shown());
    let texts = cells.chain([table.columns[at].name.clone()]);
    let longest = texts.map(|text| {
        let pieces = text.split(' ').flat_map(pieces);
        pieces.map(|piece| piece.chars().count()).max().unwrap_or(0)
    });
    longest.max().unwrap_or_default().min(PIECE)
}

/// The pieces of a word between which a line may end: a long word is broken after characters that join its parts.
pub(super) fn pieces(word: &str) -> Vec<&str> {
    if word.chars().count() <= LONG {
        return vec![word];
    }
    let ends = ['/', ',', '=', '_', '-', '@', '.', ':', '+', ';'];
    word.split_inclusive(ends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::table::{Column, Figure};

    fn table(columns: Vec<Column>, row: Vec<Cell>) -> Table {
        Table {
            columns,
            rows: vec![row],
            ..Table::default()
        }
    }

    #[test]
    fn long_text_wraps_and_short_tables_stay_whole() {
        let columns = || vec![Column::text("model"), Column::text("recipe")];
        let short = table(columns(), vec!["m".into(), "r".into()]);
        assert_eq!(
            parts(&short),
            [Part {
                columns: vec![0, 1],
                widths: vec![None, None]
            }]
        );
        let long = table(columns(), vec!["m".into(), "word ".repeat(40).into()]);
        let width = LINE - 5 - 2 * GAP;
        assert_eq!(
            parts(&long),
            [Part {
                columns: vec![0, 1],
                widths: vec![None, Some(width)]
            }]
        );
    }

    #[test]
    fn columns_are_as_wide_as_the_longest_piece_of_a_word() {
        let text = "word ".repeat(40);
        let columns = ["model", "a", "b", "c", "d", "e", "f"]
            .map(Column::text)
            .to_vec();
        let mut row: Vec<Cell> = vec!["convolutional@224".into()];
        row.extend([text.as_str(); 6].map(Cell::from));
        let found = parts(&table(columns, row));
        let width = found[0].widths[0];
        assert!(
            width.is_none_or(|width| width >= "convolutional@".len()),
            "{found:?}"
        );
    }

    #[test]
    fn groups_of_wide_tables_stay_together_beside_the_first_columns() {
        let figure = || {
            Cell::Figure(Figure {
                value: 0.5,
                decimals: 8,
                ..Figure::default()
            })
        };
        let names = ["a", "a", "b", "b", "c", "c", "d", "d"];
        let mut columns = vec![Column::text("model")];
        columns.extend(names.map(|name| Column::number("x").of(name)));
        let mut row = vec!["m".into()];
        row.extend(names.map(|_| figure()));
        let found = parts(&table(columns, row));
        let columns: Vec<&[usize]> = found.iter().map(|part| &part.columns[..]).collect();
        assert_eq!(columns, [&[0, 1, 2, 3, 4][..], &[0, 5, 6, 7, 8]]);
    }
}
