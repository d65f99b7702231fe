//! Tables that commands print.

mod compared;
mod curve;
mod summary;
mod trust;

use cache::{COLUMNS, Listed, RANKS, TEXT_COLUMNS};
use serde_json::{Map, Value};
pub use terminal::{Column, Grid, markdown};

pub use self::compared::{comparison_values, comparisons, meaning};
pub(crate) use self::curve::{curve, curve_values};
pub use self::summary::{notes, per_class, runs, summary, values};
pub(crate) use self::trust::{trust, trust_notes};

/// The caches below a folder, a row each.
pub(crate) fn caches(found: &[Listed]) -> Grid {
    let columns = COLUMNS.into_iter().zip(RANKS).enumerate();
    let columns = columns.map(|(at, (header, rank))| {
        if at < TEXT_COLUMNS {
            Column::text(header, rank)
        } else {
            Column::number(header, rank)
        }
    });
    let rows = found.iter().map(|cache| cache.cells().to_vec());
    Grid::new(columns.collect(), rows)
}

fn number(measures: &Map<String, Value>, name: &str) -> Option<f64> {
    measures.get(name).and_then(Value::as_f64)
}

fn p_value(p: Option<f64>) -> String {
    match p {
        Some(p) if p < 0.001 => "<0.001".into(),
        Some(p) => format!("{p:.3}"),
        None => "-".into(),
    }
}

fn decimals(value: Option<f64>, places: usize) -> String {
    value.map_or_else(|| "undefined".into(), |value| format!("{value:.places$}"))
}
