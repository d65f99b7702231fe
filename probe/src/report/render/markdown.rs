//! Tables as Markdown (GitHub's).

use common::text::markdown as escaped;

use crate::report::table::{Cell, Table};

/// The table under its title and caption.
pub(in crate::report) fn table(table: &Table) -> String {
    let mut text = format!(
        "## {}\n\n{}\n\n",
        escaped(&table.title),
        escaped(&table.caption)
    );
    let header: Vec<String> = table
        .columns
        .iter()
        .map(|c| escaped(&c.full_name()))
        .collect();
    let rule: Vec<&str> = table
        .columns
        .iter()
        .map(|column| if column.is_number { "---:" } else { "---" })
        .collect();
    for line in [header.join(" | "), rule.join(" | ")] {
        text += &format!("| {line} |\n");
    }
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(cell).collect();
        text += &format!("| {} |\n", cells.join(" | "));
    }
    text + "\n"
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Figure(figure) if figure.is_best => {
            let more = figure.uncertainty().map(|more| format!(" {more}"));
            format!(
                "**{}**{}",
                figure.number(),
                escaped(&more.unwrap_or_default())
            )
        }
        other => escaped(&other.shown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::table::{Column, Figure};

    #[test]
    fn the_best_is_bold_and_hostile_text_stays_in_its_cell() {
        let figure = Figure {
            value: 0.75,
            decimals: 2,
            interval: Some([0.7, 0.8]),
            is_best: true,
            ..Figure::default()
        };
        let table_of = Table {
            title: "T".into(),
            caption: "C".into(),
            columns: vec![Column::text("model"), Column::number("AUROC")],
            rows: vec![vec!["a|b\n<i>*".into(), Cell::Figure(figure)]],
            ..Table::default()
        };
        let text = table(&table_of);
        assert!(text.ends_with(
            "| model | AUROC |\n| --- | ---: |\n| a\\|b\\\\n&lt;i&gt;\\* | **0.75** \\[0.70, 0.80\\] |\n\n"
        ), "{text}");
    }
}
