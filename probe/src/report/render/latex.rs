//! Tables as LaTeX, for `\input` into a document with the packages `booktabs` and `longtable`.

use common::text::printable;

use crate::report::table::{Cell, Table};

/// The table with caption and label, over several pages if it is long.
pub(in crate::report) fn table(table: &Table) -> String {
    let form: String = table
        .columns
        .iter()
        .map(|column| if column.is_number { 'r' } else { 'l' })
        .collect();
    let caption = format!(
        "\\textbf{{{}.}} {}",
        escaped(&table.title),
        escaped(&table.caption)
    );
    let mut text = format!(
        "{{\\small\n\\begin{{longtable}}{{{form}}}\n\\caption{{{caption}}}\\label{{{}}}\\\\\n\\toprule\n",
        label(&table.id)
    );
    text += &groups(table);
    let header: Vec<String> = table
        .columns
        .iter()
        .map(|column| escaped(&column.name))
        .collect();
    text += &format!("{} \\\\\n\\midrule\n\\endhead\n", header.join(" & "));
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(cell).collect();
        text += &format!("{} \\\\\n", cells.join(" & "));
    }
    text + "\\bottomrule\n\\end{longtable}\n}\n\n"
}

/// The row of headers of groups with a rule below each; empty without groups.
fn groups(table: &Table) -> String {
    let Some(groups) = table.groups() else {
        return String::new();
    };
    let (mut cells, mut rules, mut first) = (Vec::new(), String::new(), 1);
    for (name, columns) in groups {
        cells.push(format!(
            "\\multicolumn{{{columns}}}{{c}}{{{}}}",
            escaped(name)
        ));
        if !name.is_empty() {
            rules += &format!("\\cmidrule(lr){{{first}-{}}}", first + columns - 1);
        }
        first += columns;
    }
    format!("{} \\\\\n{rules}\n", cells.join(" & "))
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Figure(figure) if figure.is_best => {
            let more = figure.uncertainty().map(|more| format!(" {more}"));
            format!(
                "\\textbf{{{}}}{}",
                figure.number(),
                escaped(&more.unwrap_or_default())
            )
        }
        Cell::Missing => "--".into(),
        other => escaped(&other.shown()),
    }
}

/// A label of letters, digits and hyphens.
fn label(id: &str) -> String {
    let kept = id
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    kept.collect()
}

/// Text that LaTeX sets as it is.
pub(in crate::report) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '±' => out.push_str("$\\pm$"),
            '×' => out.push_str("$\\times$"),
            '–' => out.push_str("--"),
            // A bracket after a line break would be taken for its argument.
            '[' => out.push_str("{[}"),
            ']' => out.push_str("{]}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::table::{Column, Figure};

    #[test]
    fn what_latex_would_run_is_text() {
        assert_eq!(
            escaped("\\input{a}_%&#$~^<[±"),
            "\\textbackslash{}input\\{a\\}\\_\\%\\&\\#\\$\\textasciitilde{}\\textasciicircum{}\\textless{}{[}$\\pm$"
        );
    }

    #[test]
    fn groups_span_their_columns() {
        let table_of = Table {
            id: "t_1".into(),
            columns: vec![
                Column::text("model"),
                Column::number("ours").of("NIH"),
                Column::number("published").of("NIH"),
            ],
            rows: vec![vec![
                "m".into(),
                Cell::Missing,
                Cell::Figure(Figure {
                    value: 0.5,
                    decimals: 3,
                    ..Figure::default()
                }),
            ]],
            ..Table::default()
        };
        let text = table(&table_of);
        assert!(
            text.contains(
                "\\multicolumn{1}{c}{} & \\multicolumn{2}{c}{NIH} \\\\\n\\cmidrule(lr){2-3}\n"
            ),
            "{text}"
        );
        assert!(text.contains("m & -- & 0.500 \\\\\n"), "{text}");
        assert!(text.contains("\\label{t-1}"));
    }
}
