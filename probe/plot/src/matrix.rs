//! Confusion matrices.

use maud::{Markup, html};

use crate::color::{GRID, HEAT, INK, MUTED};
use crate::figure::{Caption, frame, no_data};
use crate::number::{at, short};
use crate::text::{Anchor, Label, clean, width};

/// Counts of pairs of classes, shaded by their share of the row.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    /// Title and description.
    pub caption: Caption,
    /// What rows are: `true class`.
    pub rows: String,
    /// What columns are: `predicted class`.
    pub columns: String,
    /// Names of the classes.
    pub names: Vec<String>,
    /// Counts, a row for each class; cells that are missing are 0.
    pub counts: Vec<Vec<u64>>,
}

impl Matrix {
    /// The matrix.
    pub fn svg(&self) -> Markup {
        let classes = self.names.len();
        if self.counts.iter().flatten().all(|count| *count == 0) || classes == 0 {
            return no_data(&self.caption);
        }
        let cell = match classes {
            0..=5 => 64.0,
            6..=9 => 52.0,
            10..=16 => 38.0,
            _ => 18.0,
        };
        let longest = self
            .names
            .iter()
            .map(|name| width(&clean(name)))
            .fold(0.0, f64::max)
            .min(150.0);
        let (left, top) = (longest + 40.0, 8.0);
        let side = cell * classes as f64;
        let turned = longest > cell - 4.0;
        let below = if turned { 14.0 + 0.72 * longest } else { 24.0 };
        let body = html! {
            @for i in 0..classes {
                @let middle = cell * (i as f64 + 0.5);
                (self.row(i, cell, (left, top)))
                (Label::new(&self.names[i], left - 8.0, top + middle).anchor(Anchor::End).most(longest).draw())
                @if turned {
                    (Label::new(&self.names[i], left + middle + 4.0, top + side + 10.0)
                        .anchor(Anchor::End).most(longest).turn(-45.0).draw())
                } @else {
                    (Label::new(&self.names[i], left + middle, top + side + 13.0).draw())
                }
            }
            rect class=(INK.stroke()) stroke=(INK.light) fill="none" x=(at(left)) y=(at(top))
                width=(at(side)) height=(at(side)) {}
            (Label::new(&self.rows, 12.0, top + side / 2.0).turn(-90.0).paint(MUTED).draw())
            (Label::new(&self.columns, left + side / 2.0, top + side + below + 8.0).paint(MUTED).draw())
        };
        frame(
            &self.caption,
            (left + side + 16.0).max(220.0),
            top + side + below + 22.0,
            &body,
        )
    }

    fn count(&self, row: usize, column: usize) -> u64 {
        self.counts
            .get(row)
            .and_then(|row| row.get(column))
            .copied()
            .unwrap_or(0)
    }

    fn row(&self, row: usize, cell: f64, (left, top): (f64, f64)) -> Markup {
        let total: u64 = (0..self.names.len())
            .map(|column| self.count(row, column))
            .sum();
        let y = top + cell * row as f64;
        html! {
            @for column in 0..self.names.len() {
                @let count = self.count(row, column);
                @let share = count as f64 / total.max(1) as f64;
                g {
                    title { (self.tooltip(row, column, count, share)) }
                    (square(count, share, cell, (left + cell * column as f64, y)))
                }
            }
        }
    }

    fn tooltip(&self, row: usize, column: usize, count: u64, share: f64) -> String {
        let (truth, predicted) = (clean(&self.names[row]), clean(&self.names[column]));
        let (rows, columns) = (clean(&self.rows), clean(&self.columns));
        format!(
            "{rows} {truth}, {columns} {predicted}: {count} ({:.1}% of the row)",
            100.0 * share
        )
    }
}

/// A cell: its count, and its share of the row in percent where there is room.
fn square(count: u64, share: f64, cell: f64, (x, y): (f64, f64)) -> Markup {
    let percent = format!("{:.0}%", 100.0 * share);
    let number = short(count as f64);
    let middle = (x + cell / 2.0, y + cell / 2.0);
    let paint = if count == 0 { MUTED } else { INK };
    html! {
        rect class={ (HEAT.fill()) " " (GRID.stroke()) } fill=(HEAT.light) fill-opacity=(format!("{share:.2}"))
            stroke=(GRID.light) x=(at(x)) y=(at(y)) width=(at(cell)) height=(at(cell)) {}
        @if cell > 45.0 && count > 0 {
            (Label::new(&number, middle.0, middle.1 - 8.0).paint(paint).draw())
            (Label::new(&percent, middle.0, middle.1 + 8.0).paint(paint).draw())
        } @else if cell > 30.0 {
            (Label::new(&number, middle.0, middle.1).paint(paint).draw())
        }
    }
}
