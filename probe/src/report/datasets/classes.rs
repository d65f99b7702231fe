//! Class balance, and results by class.

use std::collections::BTreeMap;

use plot::{Axis, Bar, BarGroup, Bars, Caption};

use super::plain;
use crate::record::RunRecord;
use crate::report::cells::{Way, figure, task};
use crate::report::chart::Chart;
use crate::report::read::{Study, backbone, by_class};

/// Backbones in a chart by class.
const BACKBONES: usize = 4;
/// Classes in a chart.
const CLASSES: usize = 30;

/// Measures by class, with their titles.
const MEASURES: [(&str, &str); 3] = [
    ("auroc_per_class", "AUROC"),
    ("dice_per_class", "Dice"),
    ("dice_pooled_per_class", "Dice, pooled"),
];

/// Class balance and, for the first way and protocol, bars by class of the best backbones.
pub(super) fn charts(study: &Study, dataset: &str) -> Vec<Chart> {
    let charts = [
        balance(study, dataset),
        by_backbone(study, dataset, false),
        by_backbone(study, dataset, true),
    ];
    charts.into_iter().flatten().collect()
}

/// Positive test cases of each class.
fn balance(study: &Study, dataset: &str) -> Option<Chart> {
    let found = plain(study, dataset).find_map(|(_, record)| {
        let counts = by_class(record, "positives");
        (!counts.is_empty()).then_some((record, counts))
    });
    let (record, mut counts) = found?;
    counts.sort_by(|a, b| b.1.total_cmp(&a.1));
    let drawn = drawn(counts.len(), true);
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
                "Positive test {}s of each class, of {} in all.{drawn}",
                unit.unwrap_or("case"),
                record.n_test
            ),
        ),
        axis: Axis::new("positive cases"),
        series: vec!["positive".into()],
        groups: groups.collect(),
        horizontal: true,
        ..Bars::default()
    };
    Some(Chart::of_bars(&chart, "class", 0, CLASSES))
}

/// Bars by class of the best backbones.
fn by_backbone(study: &Study, dataset: &str, is_segmentation: bool) -> Option<Chart> {
    let (way, protocol) = plain(study, dataset)
        .filter(|(way, _)| way.is_segmentation() == is_segmentation)
        .map(|(way, record)| (preference(way), &record.protocol, way))
        .min_by(|a, b| (a.0, std::cmp::Reverse(a.1)).cmp(&(b.0, std::cmp::Reverse(b.1))))
        .map(|(_, protocol, way)| (way, protocol))?;
    let all = study.all_of(way, protocol);
    let others = all.note(way.title(), |task| task == dataset);
    let mut records = all.compared;
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
    let (names, are_sorted) = class_names(&records, measure);
    let drawn = drawn(names.len(), are_sorted);
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
        "{title} of {} under protocol {protocol}, with 95% intervals where they are recorded.{drawn}{others}",
        way.title()
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
    Some(Chart::of_bars(&chart, "class", 3, CLASSES))
}

fn preference(way: Way) -> usize {
    super::ORDER
        .iter()
        .position(|of| *of == way)
        .unwrap_or(usize::MAX)
}

/// Names of the classes; of many, the most frequent first, if the numbers of their cases are known. Whether they are.
fn class_names(records: &[&RunRecord], measure: &str) -> (Vec<String>, bool) {
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
    if names.len() > CLASSES {
        let count = |name: &String| positives.get(name).copied().unwrap_or(0.0);
        names.sort_by(|a, b| count(b).total_cmp(&count(a)));
    }
    (names, !positives.is_empty())
}

fn interval(record: &RunRecord, measure: &str, class: &str) -> Option<(f64, f64)> {
    let bounds = record.ci.as_ref()?.get(measure)?.get(class)?.as_array()?;
    match bounds.as_slice() {
        [low, high] => Some((low.as_f64()?, high.as_f64()?)),
        _ => None,
    }
}

/// A sentence about the classes that are drawn; empty if all are.
fn drawn(classes: usize, are_sorted: bool) -> String {
    let which = if are_sorted { "most frequent" } else { "first" };
    if classes > CLASSES {
        format!(
            " The {CLASSES} {which} of {classes} classes are drawn; the table of numbers has all."
        )
    } else {
        String::new()
    }
}
