//! The published figures of the reference study, built in.

use std::sync::LazyLock;

use serde::Deserialize;

use super::cells::Way;

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
    /// Whether a table of times and memory follows.
    #[serde(default)]
    pub(super) costs: bool,
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
    /// Its name in Slicebank.
    pub(super) model: String,
    /// Image size; `None` for any.
    pub(super) size: Option<u32>,
    /// In place of the probe of the columns.
    pub(super) probe: Option<String>,
    #[serde(default)]
    pub(super) details: Vec<String>,
    /// By column; none if the study has no such row.
    pub(super) values: Vec<f64>,
}

impl PublishedTable {
    /// Whether rows differ in what is trained.
    pub(super) fn is_mixed(&self) -> bool {
        self.rows.iter().any(|row| row.probe.is_some())
    }
}

impl PublishedRow {
    /// What the figures of the row in a column are of.
    pub(super) fn way(&self, column: &PublishedColumn) -> Option<Way> {
        Way::named(self.probe.as_ref().unwrap_or(&column.probe))
    }

    /// Whether last blocks are adapted.
    pub(super) fn is_adapted(&self) -> bool {
        self.probe
            .as_ref()
            .is_some_and(|probe| probe.starts_with("adapt"))
    }
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
                let is_of_study = !row.values.is_empty();
                let values = if is_of_study { table.columns.len() } else { 0 };
                assert_eq!(row.values.len(), values, "{}", row.architecture);
                let mut ways = table.columns.iter().map(|column| row.way(column));
                assert!(ways.all(|way| way.is_some()), "{}", row.method);
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
