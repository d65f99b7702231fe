//! Charts of the page with their numbers as tables.

use maud::{Markup, Render, html};
use plot::{BarGroup, Bars, Caption};

use super::render::html as render;
use super::table::{Cell, Column, Figure, Table};

/// A chart, and its numbers for those who cannot see it and for other formats.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    drawn: Markup,
    pub(super) numbers: Table,
}

impl Chart {
    /// A chart with the rows of its numbers. Title and caption of the table are those of the chart.
    pub(super) fn new(
        caption: &Caption,
        svg: &Markup,
        columns: Vec<Column>,
        rows: Vec<Vec<Cell>>,
    ) -> Chart {
        let numbers = Table {
            id: format!("figure-{}", caption.id),
            title: caption.title.clone(),
            caption: caption.description.clone(),
            columns,
            rows,
        };
        Chart::beside(caption, svg, numbers)
    }

    /// A chart beside a table.
    pub(super) fn beside(caption: &Caption, svg: &Markup, numbers: Table) -> Chart {
        let drawn = plot::figure(caption, svg);
        Chart { drawn, numbers }
    }

    /// Bars: a row for each group, a column for each series and for its marks. `of` names the groups, of which the first
    /// `most` are drawn.
    pub(super) fn of_bars(chart: &Bars, of: &str, decimals: usize, most: usize) -> Chart {
        let has_marks = |at: usize| {
            let mut bars = chart.groups.iter().filter_map(|group| group.bars.get(at));
            bars.any(|bar| bar.reference.is_some())
        };
        let mut columns = vec![Column::text(of)];
        for (at, name) in chart.series.iter().enumerate() {
            if has_marks(at) {
                columns.push(Column::number("ours").of(name));
                columns.push(Column::number(&chart.reference).of(name));
            } else {
                columns.push(Column::number(name));
            }
        }
        let row = |group: &BarGroup| {
            let mut row: Vec<Cell> = vec![group.name.clone().into()];
            for (at, bar) in group.bars.iter().enumerate() {
                let interval = bar.interval.map(|(low, high)| [low, high]);
                row.push(number(bar.value, decimals, interval));
                if has_marks(at) {
                    row.push(number(bar.reference, decimals, None));
                }
            }
            row
        };
        let rows = chart.groups.iter().map(row).collect();
        let mut drawn = chart.clone();
        drawn.groups.truncate(most);
        Chart::new(&chart.caption, &drawn.svg(), columns, rows)
    }
}

impl Render for Chart {
    /// The chart above its numbers, which are folded away.
    fn render(&self) -> Markup {
        html! {
            div .chart {
                (self.drawn)
                (render::numbers(&self.numbers))
            }
        }
    }
}

/// A figure with an interval; missing without a value.
pub(super) fn number(value: Option<f64>, decimals: usize, interval: Option<[f64; 2]>) -> Cell {
    value.map_or(Cell::Missing, |value| {
        Cell::Figure(Figure {
            value,
            decimals,
            interval,
            ..Figure::default()
        })
    })
}
