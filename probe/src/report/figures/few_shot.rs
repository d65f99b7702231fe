//! Figure 5: results by number of shots.

use std::collections::BTreeMap;

use plot::{Axis, Caption, Line, Lines, Point, Stroke};
use serde_json::Value;

use super::MOST;
use crate::record::RunRecord;
use crate::report::alike::{self, Alike};
use crate::report::cells::{around, decoder, figure, is_plain, main_measure, task};
use crate::report::chart::{Chart, number};
use crate::report::published::PUBLISHED;
use crate::report::read::{Study, backbone, parameter};
use crate::report::table::{Cell, Column};

/// Curves of the study's two datasets.
pub(super) fn of_study(study: &Study, protocol: &str) -> Vec<Chart> {
    let datasets = ["nih-chest-xray", "montgomery"];
    let found = datasets.map(|dataset| curves(study, dataset, protocol, "study-"));
    found.into_iter().flatten().collect()
}

/// Curves of a dataset, of each protocol.
pub(in crate::report) fn of_dataset(study: &Study, dataset: &str) -> Vec<Chart> {
    let protocols = study.protocols().into_iter();
    protocols
        .flat_map(|protocol| curves(study, dataset, protocol, ""))
        .collect()
}

/// Points by number of shots, and the value with all examples.
#[derive(Default)]
struct Curve<'a> {
    points: BTreeMap<u64, &'a RunRecord>,
    all: Option<&'a RunRecord>,
}

/// A figure for each kind of head or decoder.
fn curves(study: &Study, dataset: &str, protocol: &str, prefix: &str) -> Vec<Chart> {
    let mut kinds: BTreeMap<String, Vec<&RunRecord>> = BTreeMap::new();
    for record in study.results() {
        let is_wanted = task(record) == dataset && record.protocol == protocol;
        if let (true, true, Some(kind)) = (is_wanted, is_plain(record), kind(record)) {
            kinds.entry(kind).or_default().push(record);
        }
    }
    let figures = kinds.into_iter().filter_map(|(kind, records)| {
        let shots = |record: &RunRecord| record.params.get("shots").and_then(Value::as_u64);
        let few = Alike::of(records.iter().copied().filter(|of| shots(of).is_some()));
        let settings = alike::settings(few.compared.first()?);
        let mut lines: BTreeMap<String, Curve<'_>> = BTreeMap::new();
        for record in records {
            if alike::settings(record) == settings {
                let curve = lines.entry(backbone(record)).or_default();
                match shots(record) {
                    Some(shots) => drop(curve.points.insert(shots, record)),
                    None => curve.all = Some(record),
                }
            }
        }
        lines.retain(|_, curve| !curve.points.is_empty());
        let others = few.note("few shots", |_| true);
        chart((dataset, protocol), prefix, &kind, lines, &others)
    });
    figures.collect()
}

/// `linear` of few shots, or `U-Net` of decoders.
fn kind(record: &RunRecord) -> Option<String> {
    match record.probe.as_str() {
        "few-shot" => Some(parameter(record, "head")?.to_owned()),
        "segment" => Some(format!("{} decoder", decoder(record)?)),
        _ => None,
    }
}

fn chart(
    (dataset, protocol): (&str, &str),
    prefix: &str,
    kind: &str,
    curves: BTreeMap<String, Curve<'_>>,
    others: &str,
) -> Option<Chart> {
    let mut curves: Vec<(String, Curve<'_>)> = curves.into_iter().collect();
    // The best with the most shots first.
    curves.sort_by(|(_, a), (_, b)| last(b).total_cmp(&last(a)));
    let omitted = curves.len().saturating_sub(MOST);
    curves.truncate(MOST);
    let first = curves.first()?.1.points.values().next()?;
    let measured = main_measure(first)?;
    let ticks: std::collections::BTreeSet<u64> = curves
        .iter()
        .flat_map(|(_, curve)| curve.points.keys().copied())
        .collect();
    let mut lines: Vec<Line> = curves
        .iter()
        .map(|(name, curve)| line(name, curve))
        .collect();
    let published: Vec<Line> = curves
        .iter()
        .enumerate()
        .filter_map(|(at, (_, curve))| published(dataset, (kind, measured.title), curve, at))
        .collect();
    let has_published = !published.is_empty();
    lines.extend(published);
    let all = curves
        .iter()
        .filter_map(|(name, curve)| Some(format!("{name} {:.3}", figure(curve.all?)?.value)));
    let all: Vec<String> = all.collect();
    let mut text = format!(
        "{} by number of patients or examples per class, with standard deviations over draws where there are several.",
        measured.title
    );
    if !all.is_empty() {
        text += &format!(" With all: {}.", all.join(", "));
    }
    if has_published {
        text += " Dashed: published (Figure 5 of the study).";
    }
    if omitted > 0 {
        text += &format!(" {omitted} more backbones are in the table of all results.");
    }
    text += others;
    let chart = Lines {
        caption: Caption::new(
            format!("{prefix}few-shot-{dataset}-{protocol}-{kind}"),
            format!(
                "Few shots on {dataset}: {}, protocol {protocol}",
                kind.replace("unet", "U-Net")
            ),
            text,
        ),
        x: Axis::new("shots")
            .log()
            .ticks(ticks.into_iter().map(|shots| shots as f64).collect()),
        y: Axis::new(measured.title),
        lines,
        ..Lines::default()
    };
    let columns = vec![
        Column::text("backbone"),
        Column::text("shots"),
        Column::number(measured.title),
        Column::number("published"),
    ];
    let rows = curves
        .iter()
        .flat_map(|(name, curve)| rows(dataset, (kind, measured.title), name, curve));
    Some(Chart::new(
        &chart.caption,
        &chart.svg(),
        columns,
        rows.collect(),
    ))
}

/// The numbers of a curve, a row for each number of shots.
fn rows(dataset: &str, what: (&str, &str), name: &str, curve: &Curve<'_>) -> Vec<Vec<Cell>> {
    let known = known(dataset, what, curve);
    let row = |shots: String, record: &RunRecord, published: Option<f64>| {
        vec![
            name.into(),
            shots.into(),
            figure(record).map_or(Cell::Missing, Cell::Figure),
            published.map_or(Cell::Blank, |value| number(Some(value), 3, None)),
        ]
    };
    let of = |shots: u64| {
        let mut known = known.iter();
        known
            .find(|(at, _)| u64::from(*at) == shots)
            .map(|(_, value)| *value)
    };
    let points = curve.points.iter();
    let points = points.map(|(&shots, record)| row(shots.to_string(), record, of(shots)));
    let all = curve.all.map(|record| row("all".into(), record, None));
    points.chain(all).collect()
}

fn last(curve: &Curve<'_>) -> f64 {
    let record = curve.points.values().next_back();
    record
        .and_then(|record| figure(record))
        .map_or(f64::MIN, |figure| figure.value)
}

fn line(name: &str, curve: &Curve<'_>) -> Line {
    let points = curve.points.iter().filter_map(|(&shots, record)| {
        let figure = figure(record)?;
        Some(Point {
            x: shots as f64,
            y: figure.value,
            interval: around(&figure),
        })
    });
    Line::new(name, points.collect())
}

/// The published curve of a backbone as a line.
fn published(dataset: &str, what: (&str, &str), curve: &Curve<'_>, of: usize) -> Option<Line> {
    let points = known(dataset, what, curve).into_iter();
    let points: Vec<Point> = points
        .map(|(shots, value)| Point::new(shots.into(), value))
        .collect();
    (!points.is_empty()).then(|| Line {
        points,
        stroke: Stroke::Dashed,
        of: Some(of),
        ..Line::default()
    })
}

/// The published curve of a backbone, of the same head and measure: shots and values. Empty if there is none.
fn known(dataset: &str, (kind, measure): (&str, &str), curve: &Curve<'_>) -> Vec<(u32, f64)> {
    let found = curve.points.values().next().and_then(|record| {
        PUBLISHED.curves.iter().find(|known| {
            (
                known.dataset.as_str(),
                known.kind.as_str(),
                known.measure.as_str(),
            ) == (dataset, kind, measure)
                && (&known.model, known.size) == (&record.model, record.image_size)
        })
    });
    let values = found.into_iter().flat_map(|known| &known.values);
    let shots = PUBLISHED.shots.iter().copied();
    shots.zip(values.copied()).collect()
}
