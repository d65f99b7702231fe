//! Tables of learning curves.

use serde_json::Value;
use terminal::{Column, Grid};

use super::decimals;
use crate::learning_curve::measure_of;
use crate::record::RunRecord;

/// One row per number of training patients: measured and on the curve.
pub(crate) fn curve(record: &RunRecord) -> Grid {
    let params = &record.params;
    let value = |of: &Value, name: &str| of.get(name).and_then(Value::as_f64);
    let unit = params.get("unit").and_then(Value::as_str);
    let columns = vec![
        Column::number(format!("{}s", unit.unwrap_or("patient")), 0),
        Column::number("draws", 0),
        Column::number(format!("{} measured", measure_of(record)), 0),
        Column::number("on the curve", 0),
    ];
    let curve = |n: f64| {
        let of = |name: &str| value(params.get("curve")?, name);
        Some(1.0 - of("floor")? - of("scale")? * libm::pow(n, -of("exponent")?))
    };
    let points = params.get("points").and_then(Value::as_array);
    let rows = points.into_iter().flatten().map(|point| {
        let n = value(point, "n").unwrap_or(f64::NAN);
        let draws = point.get("draws").and_then(Value::as_array);
        vec![
            format!("{}", (n * 10.0).round() / 10.0),
            draws.map_or(0, Vec::len).to_string(),
            decimals(value(point, "mean"), 4),
            decimals(curve(n), 4),
        ]
    });
    Grid::new(columns, rows)
}
