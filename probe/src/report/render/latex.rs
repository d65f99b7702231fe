//! Tables as LaTeX, for `\input` into a document with the packages `array`, `booktabs` and `longtable`.

use common::text::printable;

use super::columns::{Part, parts, pieces};
use crate::report::table::{Cell, Column, Table};

/// The table with caption and label, over several pages if it is long. Text that is too long wraps; columns for which
/// a page of `article` is too narrow are in further parts, each with the first columns.
pub(in crate::report) fn table(table: &Table) -> String {
    let parts = parts(table);
    let count = parts.len();
    let parts = (1..).zip(&parts);
    parts
        .map(|(number, of)| part(table, of, (number, count)))
        .collect()
}

fn part(table: &Table, part: &Part, (number, count): (usize, usize)) -> String {
    let columns: Vec<&Column> = part.columns.iter().map(|&at| &table.columns[at]).collect();
    let forms = columns.iter().zip(&part.widths);
    let forms = forms.map(|(column, width)| match (width, column.is_number) {
        (Some(letters), _) => {
            let em = *letters as f64 * EM;
            format!(">{{\\raggedright\\arraybackslash}}p{{{em:.1}em}}")
        }
        (None, true) => "r".into(),
        (None, false) => "l".into(),
    });
    let mut title = escaped(&table.title);
    if count > 1 {
        title += &format!(" (part {number} of {count})");
    }
    // Further parts and pages need not say again what the table shows.
    let caption = match number {
        1 => format!("\\textbf{{{title}.}} {}", escaped(&table.caption)),
        _ => format!("\\textbf{{{title}.}}"),
    };
    let mut label = label(&table.id);
    if number > 1 {
        label += &format!("-{number}");
    }
    let mut text = format!(
        "{{\\footnotesize\\setlength{{\\tabcolsep}}{{4pt}}\n\\begin{{longtable}}{{{}}}\n\\caption{{{caption}}}\\label{{{label}}}\\\\\n\\toprule\n",
        forms.collect::<String>()
    );
    let mut head = groups(&columns);
    let header = columns.iter().zip(&part.widths);
    let header = header.map(|(column, width)| match width {
        None => stacked(&column.name, if column.is_number { 'r' } else { 'l' }),
        Some(_) => escaped(&column.name),
    });
    head += &format!(
        "{} \\\\\n\\midrule\n",
        header.collect::<Vec<_>>().join(" & ")
    );
    text += &format!(
        "{head}\\endfirsthead\n\\caption[]{{\\textbf{{{title}}}, continued.}}\\\\\n\\toprule\n{head}\\endhead\n"
    );
    for row in &table.rows {
        let cells = part.columns.iter().zip(&part.widths);
        let cells = cells.map(|(&at, width)| match width {
            Some(_) => breakable(&row[at].shown()),
            None => cell(&row[at]),
        });
        text += &format!("{} \\\\\n", cells.collect::<Vec<_>>().join(" & "));
    }
    text + "\\bottomrule\n\\end{longtable}\n}\n\n"
}

/// Lines that LaTeX leaves out.
pub(in crate::report) fn comment(text: &str) -> String {
    let lines = text.lines().map(|line| format!("% {}\n", printable(line)));
    lines.collect()
}

/// Width of a letter of text.
const EM: f64 = 0.52;

/// Letters of a line of the header of a column that does not wrap.
const HEADER: usize = 10;

/// The header of a column that does not wrap, in several lines if it is long, at the side `r` or `l`.
fn stacked(name: &str, side: char) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in name.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < HEADER => {
                *line += &format!(" {word}");
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let lines: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
    match &lines[..] {
        [line] => line.clone(),
        lines => format!("\\shortstack[{side}]{{{}}}", lines.join("\\\\")),
    }
}

/// Text whose long words may be broken after characters that join their parts.
fn breakable(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let pieces: Vec<String> = pieces(word).into_iter().map(escaped).collect();
        pieces.join("\\allowbreak{}")
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The row of headers of groups with a rule below each; empty without groups.
fn groups(columns: &[&Column]) -> String {
    if columns.iter().all(|column| column.group.is_none()) {
        return String::new();
    }
    let runs = columns.chunk_by(|a, b| a.group == b.group);
    let groups = runs.map(|run| (run[0].group.as_deref().unwrap_or_default(), run.len()));
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
        Cell::Figure(figure) => {
            let number = if figure.is_best {
                format!("\\textbf{{{}}}", figure.number())
            } else {
                figure.number()
            };
            match figure.uncertainty() {
                Some(more) => {
                    let more = escaped(&more);
                    format!(
                        "\\begin{{tabular}}[t]{{@{{}}r@{{}}}}{number}\\\\\\tiny {more}\\end{{tabular}}"
                    )
                }
                None => number,
            }
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
    fn long_headers_are_stacked_and_long_words_may_break() {
        assert_eq!(stacked("AUROC", 'r'), "AUROC");
        assert_eq!(
            stacked("accuracy or (D + J) / 2", 'r'),
            "\\shortstack[r]{accuracy\\\\or (D + J)\\\\/ 2}"
        );
        let parameters = stacked("trainable parameters", 'l');
        assert_eq!(parameters, "\\shortstack[l]{trainable\\\\parameters}");
        assert_eq!(
            breakable("a few-shot_head"),
            "a few-\\allowbreak{}shot\\_\\allowbreak{}head"
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

    #[test]
    fn captions_are_repeated_in_short() {
        let columns = (0..9).map(|at| Column::number(&format!("column {at}")));
        let table_of = Table {
            title: "Title".into(),
            caption: "What it shows.".into(),
            columns: std::iter::once(Column::text("model"))
                .chain(columns)
                .collect(),
            rows: vec![vec![Cell::Missing; 10]],
            ..Table::default()
        };
        let text = table(&table_of);
        assert!(
            text.contains("\\caption{\\textbf{Title (part 2 of 2).}}"),
            "{text}"
        );
        assert_eq!(text.matches("What it shows.").count(), 1, "{text}");
        assert_eq!(text.matches("continued").count(), 2, "{text}");
    }
}
