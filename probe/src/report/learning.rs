//! Learning curves: records of `--curve` of `probe few-shot` and `probe segment`.

use plot::{Axis, Caption, Line, Lines, Point, Stroke};
use serde_json::Value;

use super::chart::{Chart, number};
use super::read::{Study, backbone, parameter};
use super::table::{Cell, Column, Table};
use crate::learning_curve::measure_of;
use crate::record::RunRecord;

/// A row per curve and target; `None` without records.
pub(super) fn table(study: &Study) -> Option<Table> {
    let rows: Vec<Vec<Cell>> = study.of("curve").flat_map(rows).collect();
    (!rows.is_empty()).then(|| Table {
        id: "learning-curves".into(),
        title: "Learning curves".into(),
        caption: "Power laws fitted to results of few shots: 1 - measure = floor + scale n^-exponent for n training patients, or samples where no patients are known. Needed: their number for the target, with a 95% interval; it is an extrapolation where it exceeds what was measured."
            .into(),
        columns: vec![
            Column::text("dataset"),
            Column::text("backbone"),
            Column::text("head"),
            Column::text("measure"),
            Column::number("target"),
            Column::number("needed"),
            Column::text("unit"),
            Column::text("interval"),
            Column::text("remarks"),
        ],
        rows,
    })
}

fn rows(record: &RunRecord) -> Vec<Vec<Cell>> {
    let row = |target: Cell, needed: Cell, interval: String, remarks: &str| {
        vec![
            record.dataset.clone().into(),
            backbone(record).into(),
            record.setting.clone().into(),
            measure_of(record).into(),
            target,
            needed,
            parameter(record, "unit").unwrap_or("patient").into(),
            interval.into(),
            remarks.to_owned().into(),
        ]
    };
    if let Some(refused) = parameter(record, "refused") {
        return vec![row(Cell::Missing, Cell::Missing, String::new(), refused)];
    }
    let targets = record.params.get("targets").and_then(Value::as_array);
    let targets = targets.into_iter().flatten().map(|target| {
        let number = |name: &str| target.get(name).and_then(Value::as_f64);
        let wanted = Cell::plain(number("target"));
        let Some(patients) = number("patients") else {
            let refused = target.get("refused").and_then(Value::as_str);
            return row(
                wanted,
                Cell::Missing,
                String::new(),
                refused.unwrap_or_default(),
            );
        };
        let end = |name: &str| number(name).map_or("not known".into(), |n| n.ceil().to_string());
        let beyond = target.get("extrapolated") == Some(&Value::Bool(true));
        row(
            wanted,
            Cell::Count(patients.ceil() as usize),
            format!("{} to {}", end("low"), end("high")),
            if beyond { "extrapolated" } else { "" },
        )
    });
    targets.collect()
}

/// The fitted curves with what was measured.
pub(super) fn charts(study: &Study) -> Vec<Chart> {
    study.of("curve").filter_map(chart).collect()
}

/// The list `name` of the parameters: numbers of patients with the AUROC and its interval.
fn points(record: &RunRecord, name: &str) -> Option<Vec<Point>> {
    let points = record.params.get(name)?.as_array()?.iter().map(|point| {
        let number = |name: &str| point.get(name).and_then(Value::as_f64);
        Some(Point {
            x: number("n")?,
            y: number("mean")?,
            interval: number("low").zip(number("high")),
        })
    });
    points.collect()
}

fn chart(record: &RunRecord) -> Option<Chart> {
    let unit = parameter(record, "unit").unwrap_or("patient");
    let (measured, fitted) = (points(record, "points")?, points(record, "line")?);
    let chart = Lines {
        caption: Caption::new(
            format!("curve-{}", record.key),
            format!(
                "Learning curve of {} on {}: {}",
                backbone(record),
                record.dataset,
                record.setting
            ),
            "Points: measured means over draws. Dashed: the fitted power law with its 95% interval.",
        ),
        x: Axis::new(format!("training {unit}s")).log(),
        y: Axis::new(measure_of(record)),
        lines: vec![
            Line {
                stroke: Stroke::Points,
                ..Line::new("measured", measured)
            },
            Line {
                stroke: Stroke::Dashed,
                spread: plot::Spread::Band,
                ..Line::new("fitted", fitted)
            },
        ],
        ..Lines::default()
    };
    let columns = vec![
        Column::text("points"),
        Column::number(&format!("training {unit}s")),
        Column::number(measure_of(record)),
    ];
    let rows = chart.lines.iter().flat_map(|line| {
        line.points.iter().map(|point| {
            let interval = point.interval.map(|(low, high)| [low, high]);
            vec![
                line.name.clone().into(),
                number(Some(point.x), 1, None),
                number(Some(point.y), 3, interval),
            ]
        })
    });
    let rows = rows.collect();
    Some(Chart::new(&chart.caption, &chart.svg(), columns, rows))
}
