//! Tables of learning curves.

use serde_json::Value;
use terminal::{Column, Grid};

use super::{decimals, values};
use crate::learning_curve::{measure_of, on_curve, place};
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
    let points = params.get("points").and_then(Value::as_array);
    let rows = points.into_iter().flatten().map(|point| {
        let n = value(point, "n").unwrap_or(f64::NAN);
        let draws = point.get("draws").and_then(Value::as_array);
        vec![
            format!("{}", (n * 10.0).round() / 10.0),
            draws.map_or(0, Vec::len).to_string(),
            decimals(value(point, "mean"), 4),
            decimals(on_curve(record, n), 4),
        ]
    });
    Grid::new(columns, rows)
}

/// Results with the curves that were fitted to them, as data: the columns of [`values`], the number of units, the measure
/// on the curve there, the coefficients of the curve, and the units needed for each target.
pub(crate) fn curve_values(found: &[(Vec<RunRecord>, RunRecord)]) -> Grid {
    let results: Vec<RunRecord> = found
        .iter()
        .flat_map(|(results, _)| results)
        .cloned()
        .collect();
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let named = |of: Option<&Value>, name: &str| of?.get(name)?.as_f64();
    let targets: Vec<f64> = found
        .first()
        .map(|(_, curve)| {
            needs(curve)
                .iter()
                .filter_map(|need| named(Some(*need), "target"))
                .collect()
        })
        .unwrap_or_default();
    let names = ["n", "on_curve", "floor", "scale", "exponent"];
    let mut columns = vec![Column::text("curve", 0), Column::text("curve_unit", 0)];
    columns.extend(names.map(|name| Column::number(format!("curve_{name}"), 0)));
    for target in &targets {
        let parts = ["", "_low", "_high"];
        columns.extend(parts.map(|part| Column::number(format!("needed_for_{target}{part}"), 0)));
    }
    let rows = found.iter().flat_map(|(results, curve)| {
        results.iter().map(|result| {
            let n = place(result, curve);
            let coefficient = |name| named(curve.params.get("curve"), name);
            let unit = curve.params.get("unit").and_then(Value::as_str);
            let mut row = vec![curve.name.clone(), unit.unwrap_or_default().to_owned()];
            row.extend([Some(n), on_curve(curve, n)].map(number));
            row.extend(["floor", "scale", "exponent"].map(|name| number(coefficient(name))));
            let needs = needs(curve);
            for target in &targets {
                let need = needs
                    .iter()
                    .find(|need| named(Some(*need), "target") == Some(*target));
                let parts = ["patients", "low", "high"];
                row.extend(parts.map(|part| number(named(need.copied(), part))));
            }
            row
        })
    });
    values(&results).followed_by(columns, rows)
}

/// What a curve needs for each target.
fn needs(curve: &RunRecord) -> Vec<&Value> {
    let targets = curve.params.get("targets").and_then(Value::as_array);
    targets.into_iter().flatten().collect()
}
