//! The published figures of the reference study, built in.

use std::sync::LazyLock;

use serde::Deserialize;

/// The figures of the study.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Published {
    /// Tables 3 to 9.
    #[serde(rename = "table")]
    pub(super) tables: Vec<PublishedTable>,
    /// Numbers of shots of the curves.
    pub(super) shots: Vec<u32>,
    /// Curves of Figure 5.
    #[serde(rename = "curve")]
    pub(super) curves: Vec<Curve>,
}

/// A table of the study.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishedTable {
    pub(super) number: u32,
    pub(super) title: String,
    /// What its values are.
    pub(super) measure: String,
    /// What is to know when figures are compared.
    pub(super) note: Option<String>,
    /// Headers of columns of text after method and architecture.
    #[serde(default)]
    pub(super) details: Vec<String>,
    pub(super) columns: Vec<PublishedColumn>,
    pub(super) rows: Vec<PublishedRow>,
}

/// A column of figures.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishedColumn {
    pub(super) dataset: String,
    pub(super) header: String,
    pub(super) probe: String,
}

/// A row of a table: a backbone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishedRow {
    pub(super) method: String,
    pub(super) architecture: String,
    /// Its name in Slicebank; `None` if Slicebank does not run it.
    pub(super) model: Option<String>,
    /// Image size; `None` for any.
    pub(super) size: Option<u32>,
    #[serde(default)]
    pub(super) details: Vec<String>,
    pub(super) values: Vec<f64>,
}

/// A few-shot curve.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Curve {
    pub(super) dataset: String,
    pub(super) model: String,
    pub(super) size: u32,
    /// The head or decoder.
    pub(super) kind: String,
    pub(super) measure: String,
    /// By number of shots.
    pub(super) values: Vec<f64>,
}

/// The figures of the study.
pub(super) static PUBLISHED: LazyLock<Published> = LazyLock::new(|| {
    toml::from_str(include_str!("published.toml")).expect("a test reads the file that is built in")
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_value_for_each_column() {
        let numbers: Vec<u32> = PUBLISHED.tables.iter().map(|table| table.number).collect();
        assert_eq!(numbers, [3, 4, 5, 6, 7, 8, 9]);
        for table in &PUBLISHED.tables {
            for row in &table.rows {
                assert_eq!(
                    row.values.len(),
                    table.columns.len(),
                    "{}",
                    row.architecture
                );
                assert_eq!(row.details.len(), table.details.len());
                assert!(row.values.iter().all(|value| (0.0..1.0).contains(value)));
            }
        }
        let shots = PUBLISHED.shots.len();
        assert!(
            PUBLISHED
                .curves
                .iter()
                .all(|curve| curve.values.len() == shots)
        );
    }
}
