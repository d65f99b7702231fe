//! Evaluations as tables for people.

use comfy_table::{CellAlignment, Table, presets::NOTHING};

use crate::evaluate::Evaluation;

/// One row per evaluation.
pub fn summary(evaluations: &[Evaluation]) -> String {
    let header = [
        "dataset",
        "model@size",
        "setting",
        "train",
        "test",
        "AUROC macro",
        "accuracy",
        "seconds",
    ];
    let rows = evaluations.iter().map(
        |Evaluation {
             setting,
             measured,
             record,
         }| {
            vec![
                record.dataset.clone(),
                format!("{}@{}", record.model, record.image_size),
                setting.clone(),
                record.n_train.to_string(),
                record.n_test.to_string(),
                decimals(measured.auroc_macro),
                decimals(Some(measured.accuracy)),
                format!("{:.1}", record.seconds),
            ]
        },
    );
    render(header.map(String::from).to_vec(), rows, 3)
}

/// One row per class and one column of AUROC per evaluation; all are of the same cache.
pub fn per_class(evaluations: &[Evaluation], names: &[String]) -> String {
    let Some(first) = evaluations.first() else {
        return String::new();
    };
    let mut header = vec!["class".to_owned(), "positives".to_owned()];
    header.extend(evaluations.iter().map(|e| format!("AUROC {}", e.setting)));
    let rows = first.measured.classes.iter().enumerate().map(|(i, class)| {
        let mut row = vec![names[class.class].clone(), class.positives.to_string()];
        row.extend(
            evaluations
                .iter()
                .map(|e| decimals(e.measured.classes[i].auroc)),
        );
        row
    });
    render(header, rows, 1)
}

fn decimals(value: Option<f64>) -> String {
    value.map_or_else(|| "undefined".into(), |value| format!("{value:.4}"))
}

/// Columns from `first_number` on are aligned to the right.
fn render(
    header: Vec<String>,
    rows: impl Iterator<Item = Vec<String>>,
    first_number: usize,
) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header).add_rows(rows);
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
