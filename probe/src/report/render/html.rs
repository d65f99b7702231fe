//! Tables as HTML.

use common::text::printable;
use maud::{Markup, html};

use crate::report::table::{Cell, Column, Table};

/// Rows of a table that is shown at once; longer ones scroll.
const LONG: usize = 40;

/// The table with its caption, in a container that scrolls.
pub(in crate::report) fn table(table: &Table) -> Markup {
    let id = id(&table.id);
    html! {
        figure .table id=(id) {
            div .head {
                h3 id={ (id) "-title" } { (shown(&table.title)) }
            }
            (scrolled(table))
            figcaption id={ (id) "-caption" } { (shown(&table.caption)) }
        }
    }
}

/// The numbers of a figure, folded away.
pub(in crate::report) fn numbers(table: &Table) -> Markup {
    html! {
        details .numbers {
            summary { "Numbers" span .hidden { " of " (shown(&table.title)) } }
            figure .table id=(id(&table.id)) {
                div .head {}
                (scrolled(table))
                figcaption id={ (id(&table.id)) "-caption" } { (shown(&table.caption)) }
            }
        }
    }
}

fn scrolled(table: &Table) -> Markup {
    html! {
        div .scroll .tall[table.rows.len() > LONG] tabindex="0" role="region" aria-label={ (shown(&table.title)) ", table" } {
            table data-table=(id(&table.id)) aria-describedby={ (id(&table.id)) "-caption" } {
                caption .hidden { (shown(&table.title)) }
                thead { (head(table)) }
                tbody {
                    @for row in &table.rows { (body_row(&table.columns, row)) }
                }
            }
        }
    }
}

fn head(table: &Table) -> Markup {
    html! {
        @if let Some(groups) = table.groups() {
            tr {
                @for (name, columns) in groups {
                    @if name.is_empty() {
                        td colspan=(columns) {}
                    } @else {
                        th scope="colgroup" colspan=(columns) { (shown(name)) }
                    }
                }
            }
        }
        tr .names {
            @for column in &table.columns {
                th scope="col" .number[column.is_number] { (shown(&column.name)) }
            }
        }
    }
}

fn body_row(columns: &[Column], row: &[Cell]) -> Markup {
    html! {
        tr {
            @for (at, (column, cell)) in columns.iter().zip(row).enumerate() {
                @if at == 0 {
                    th scope="row" { (value(cell)) }
                } @else {
                    td .number[column.is_number] .missing[*cell == Cell::Missing] .long[is_long(cell)] { (value(cell)) }
                }
            }
        }
    }
}

/// Whether a cell has more text than fits on a line.
fn is_long(cell: &Cell) -> bool {
    matches!(cell, Cell::Text(text) if text.chars().count() > 36)
}

fn value(cell: &Cell) -> Markup {
    match cell {
        Cell::Figure(figure) => html! {
            @if figure.is_best { strong { (figure.number()) } } @else { (figure.number()) }
            @if let Some(more) = figure.uncertainty() { " " small { (more) } }
        },
        Cell::Missing => html! { span title="no record" { "–" } },
        Cell::Count(_) | Cell::Blank => html! { (cell.shown()) },
        Cell::Text(text) => html! { (shown(text)) },
    }
}

/// A chart with a caption that is shorter than its description for those who do not see it.
pub(in crate::report) fn figure(title: &str, text: &str, svg: &Markup) -> Markup {
    html! {
        figure .plot-figure {
            div .plot-box tabindex="0" role="group" aria-label=(shown(title)) { (svg) }
            figcaption { b { (shown(title)) } " " (shown(text)) }
        }
    }
}

/// Text on one line, without characters that turn it around.
pub(in crate::report) fn shown(text: &str) -> String {
    printable(text).into_owned()
}

/// An id for links and files: lower-case letters, digits and hyphens. Text with other characters gets a hash (FNV-1a), so
/// that `a b` and `a_b` differ.
pub(in crate::report) fn id(text: &str) -> String {
    let is_safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.chars().all(is_safe) {
        return text.to_owned();
    }
    let safe = text.to_ascii_lowercase().replace(|c| !is_safe(c), "-");
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{safe}-{hash:08x}")
}
