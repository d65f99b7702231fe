//! Tables as CSV (RFC 4180).

use common::text::printable;

use crate::report::table::{Cell, Table};

/// The table with a header. A column with intervals is followed by their bounds, one with standard
/// deviations by these; figures have all their digits.
pub(in crate::report) fn table(table: &Table) -> String {
    let mut text = String::new();
    for row in rows(table) {
        let cells: Vec<String> = row.iter().map(|cell| quoted(&printable(cell))).collect();
        text += &cells.join(",");
        text += "\r\n";
    }
    text
}

/// Cells by row, the header first; also the data of the page.
pub(in crate::report) fn rows(table: &Table) -> Vec<Vec<String>> {
    let uncertainties: Vec<[bool; 2]> = (0..table.columns.len())
        .map(|column| table.uncertainties(column))
        .collect();
    let mut header = Vec::new();
    for (column, &[intervals, deviations]) in table.columns.iter().zip(&uncertainties) {
        let name = column.full_name();
        header.push(name.clone());
        if intervals {
            header.extend([format!("{name} low"), format!("{name} high")]);
        }
        if deviations {
            header.push(format!("{name} sd"));
        }
    }
    let mut all = vec![header];
    for row in &table.rows {
        let mut cells = Vec::new();
        for (cell, &uncertainty) in row.iter().zip(&uncertainties) {
            push(&mut cells, cell, uncertainty);
        }
        all.push(cells);
    }
    all
}

fn push(cells: &mut Vec<String>, cell: &Cell, [intervals, deviations]: [bool; 2]) {
    let figure = match cell {
        Cell::Figure(figure) => Some(figure),
        _ => None,
    };
    cells.push(match cell {
        Cell::Figure(figure) => figure.value.to_string(),
        Cell::Missing => String::new(),
        other => other.shown(),
    });
    if intervals {
        let bounds = figure.and_then(|figure| figure.interval);
        let text = |bound: Option<f64>| bound.map_or_else(String::new, |bound| bound.to_string());
        cells.push(text(bounds.map(|[low, _]| low)));
        cells.push(text(bounds.map(|[_, high]| high)));
    }
    if deviations {
        let deviation = figure.and_then(|figure| figure.deviation);
        cells.push(deviation.map_or_else(String::new, |deviation| deviation.to_string()));
    }
}

/// A cell in quotes where needed. A spreadsheet takes text that begins with `=`, `+`, `-` or `@` for a formula:
/// unless it is a number, it gets an apostrophe first.
fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let safe = if is_formula && cell.parse::<f64>().is_err() {
        format!("'{cell}")
    } else {
        cell.to_owned()
    };
    if safe.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", safe.replace('"', "\"\""))
    } else {
        safe
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::table::{Column, Figure};

    #[test]
    fn figures_have_all_digits_and_hostile_text_is_quoted() {
        let figure = Figure {
            value: 0.123_456_789,
            decimals: 3,
            interval: Some([0.1, -0.5]),
            ..Figure::default()
        };
        let table_of = Table {
            columns: vec![Column::text("model"), Column::number("AUROC").of("NIH")],
            rows: vec![
                vec!["a,\"b\"\n\u{1b}[2J".into(), Cell::Figure(figure)],
                vec!["=1+1".into(), Cell::Missing],
            ],
            ..Table::default()
        };
        assert_eq!(
            table(&table_of),
            "model,NIH AUROC,NIH AUROC low,NIH AUROC high\r\n\"a,\"\"b\"\"\\n\\u001b[2J\",0.123456789,0.1,-0.5\r\n'=1+1,,,\r\n"
        );
    }
}
