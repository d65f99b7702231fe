//! Class balance, and results by class.

use std::collections::BTreeMap;

use maud::{Markup, html};
use plot::{Axis, Bar, BarGroup, Bars, Caption};

use super::plain;
use crate::record::RunRecord;
use crate::report::cells::{Way, figure, task};
use crate::report::read::{Study, backbone, by_class};

/// Backbones in a chart by class.
const BACKBONES: usize = 4;
/// Classes in a chart; the most frequent ones are kept.
const CLASSES: usize = 30;

/// Measures by class, with their titles.
const MEASURES: [(&str, &str); 3] = [
    ("auroc_per_class", "AUROC"),
    ("dice_per_class", "Dice"),
    ("dice_pooled_per_class", "Dice, pooled"),
];

/// Class balance and, for the first way and protocol, bars by class of the best backbones.
pub(super) fn charts(study: &Study, dataset: &str) -> Markup {
    let charts = [
        balance(study, dataset),
        by_backbone(study, dataset, false),
        by_backbone(study, dataset, true),
    ];
    html! { @for chart in charts.into_iter().flatten() { (chart) } }
}

/// Positive test cases of each class.
fn balance(study: &Study, dataset: &str) -> Option<Markup> {
    let found = plain(study, dataset).find_map(|(_, record)| {
        let counts = by_class(record, "positives");
        (!counts.is_empty()).then_some((record, counts))
    });
    let (record, mut counts) = found?;
    let omitted = counts.len().saturating_sub(CLASSES);
    counts.sort_by(|a, b| b.1.total_cmp(&a.1));
    counts.truncate(CLASSES);
    let unit = record
        .params
        .get("measured_unit")
        .and_then(|unit| unit.as_str());
    let groups = counts.into_iter().map(|(name, count)| BarGroup {
        name,
        bars: vec![Bar {
            value: Some(count),
            ..Bar::default()
        }],
    });
    let chart = Bars {
        caption: Caption::new(
            format!("balance-{dataset}"),
            format!("Class balance of {dataset}"),
            format!(
                "Positive test cases ({}s) of each class, of {} in all.{}",
                unit.unwrap_or("case"),
                record.n_test,
                more(omitted)
            ),
        ),
        axis: Axis::new("positive cases"),
        series: vec!["positive".into()],
        groups: groups.collect(),
        horizontal: true,
        ..Bars::default()
    };
    Some(plot::figure(&chart.caption, &chart.svg()))
}

/// Bars by class of the best backbones.
fn by_backbone(study: &Study, dataset: &str, is_segmentation: bool) -> Option<Markup> {
    let (way, protocol) = plain(study, dataset)
        .filter(|(way, _)| way.is_segmentation() == is_segmentation)
        .map(|(way, record)| (preference(way), &record.protocol, way))
        .min_by(|a, b| (a.0, std::cmp::Reverse(a.1)).cmp(&(b.0, std::cmp::Reverse(b.1))))
        .map(|(_, protocol, way)| (way, protocol))?;
    let mut records: Vec<&RunRecord> = study.all_of(way, protocol);
    records.retain(|record| task(record) == dataset && figure(record).is_some());
    records.sort_by(|a, b| {
        let [a, b] = [a, b].map(|record| figure(record).map_or(0.0, |figure| figure.value));
        b.total_cmp(&a)
    });
    let omitted_backbones = records.len().saturating_sub(BACKBONES);
    records.truncate(BACKBONES);
    let (measure, title) = MEASURES.into_iter().find(|(name, _)| {
        records
            .iter()
            .any(|record| record.metrics.contains_key(*name))
    })?;
    let (names, omitted) = class_names(&records, measure);
    let values: Vec<BTreeMap<String, f64>> = records
        .iter()
        .map(|record| by_class(record, measure).into_iter().collect())
        .collect();
    let groups = names.into_iter().map(|name| BarGroup {
        bars: records
            .iter()
            .zip(&values)
            .map(|(record, values)| Bar {
                value: values.get(&name).copied(),
                interval: interval(record, measure, &name),
                reference: None,
            })
            .collect(),
        name,
    });
    let mut text = format!(
        "{title} of {} under protocol {protocol}, with 95% intervals where they are recorded.{}",
        way.title(),
        more(omitted)
    );
    if omitted_backbones > 0 {
        text += &format!(
            " The best {BACKBONES} of {} backbones.",
            BACKBONES + omitted_backbones
        );
    }
    let chart = Bars {
        caption: Caption::new(
            format!("classes-{dataset}-{}", u8::from(is_segmentation)),
            format!("{title} by class on {dataset}"),
            text,
        ),
        axis: Axis::new(title).range(0.0, 1.0),
        series: records.iter().map(|record| backbone(record)).collect(),
        groups: groups.collect(),
        horizontal: true,
        ..Bars::default()
    };
    Some(plot::figure(&chart.caption, &chart.svg()))
}

fn preference(way: Way) -> usize {
    super::ORDER
        .iter()
        .position(|of| *of == way)
        .unwrap_or(usize::MAX)
}

/// Names of the classes to draw, and the number of others.
fn class_names(records: &[&RunRecord], measure: &str) -> (Vec<String>, usize) {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in records.iter().flat_map(|record| by_class(record, measure)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let positives: BTreeMap<String, f64> = records
        .iter()
        .flat_map(|record| by_class(record, "positives"))
        .collect();
    let omitted = names.len().saturating_sub(CLASSES);
    if omitted > 0 {
        let count = |name: &String| positives.get(name).copied().unwrap_or(0.0);
        names.sort_by(|a, b| count(b).total_cmp(&count(a)));
        names.truncate(CLASSES);
    }
    (names, omitted)
}

fn interval(record: &RunRecord, measure: &str, class: &str) -> Option<(f64, f64)> {
    let bounds = record.ci.as_ref()?.get(measure)?.get(class)?.as_array()?;
    match bounds.as_slice() {
        [low, high] => Some((low.as_f64()?, high.as_f64()?)),
        _ => None,
    }
}

fn more(omitted: usize) -> String {
    match omitted {
        0 => String::new(),
        1 => " A rarer class is left out.".into(),
        _ => format!(" {omitted} rarer classes are left out."),
    }
}
