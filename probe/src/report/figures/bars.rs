//! Figures 3 and 4: bars of backbones by dataset, and of both decoders.

use std::collections::BTreeMap;

use plot::{Axis, Bar, BarGroup, Bars, Caption};

use super::MOST;
use crate::record::RunRecord;
use crate::report::cells::{Way, figure, main_measure, task};
use crate::report::chart::Chart;
use crate::report::published::PUBLISHED;
use crate::report::read::{Study, backbone};

/// The models of the study's Figure 3.
const FIGURE_3: [&str; 6] = [
    "mae-l16",
    "msn-l16",
    "clip-l14",
    "openclip-h14",
    "dinov2-l14",
    "dinov2-g14",
];

/// Linear probing by dataset: of the study's backbones if there are two of them, else of the first ones.
pub(super) fn linear_probing(study: &Study, protocol: &str) -> Option<Chart> {
    let segmented: Vec<&str> = study
        .of("segment")
        .map(|record| record.dataset.as_str())
        .collect();
    let all = study.all_of(Way::Linear, protocol);
    let mut records = all.compared.clone();
    if records
        .iter()
        .any(|record| !segmented.contains(&record.dataset.as_str()))
    {
        records.retain(|record| !segmented.contains(&record.dataset.as_str()));
    }
    let is_known = |record: &&&RunRecord| FIGURE_3.contains(&record.model.as_str());
    let known: Vec<&RunRecord> = records.iter().filter(is_known).copied().collect();
    let mut series = names(&known);
    if series.len() < 2 {
        series = names(&records);
    }
    let omitted = series.len().saturating_sub(MOST);
    series.truncate(MOST);
    let groups = records
        .chunk_by(|a, b| task(a) == task(b))
        .map(|of_dataset| BarGroup {
            name: task(of_dataset[0]),
            bars: series
                .iter()
                .map(|name| {
                    let record = of_dataset.iter().find(|record| backbone(record) == *name);
                    record.map_or_else(Bar::default, |record| {
                        bar(record, published(Way::Linear, record))
                    })
                })
                .collect(),
        });
    let groups: Vec<BarGroup> = groups.collect();
    if groups.len() * series.len() < 2 {
        return None;
    }
    let title = main_measure(records.first()?)?.title;
    let mut more = marks(&groups, "published figures of the study, where it has one");
    if omitted > 0 {
        more += &format!(" {omitted} more backbones are in the tables.");
    }
    more += &all.note(Way::Linear.title(), |task| {
        groups.iter().any(|group| group.name == *task)
    });
    let chart = Bars {
        caption: Caption::new(
            format!("linear-{protocol}"),
            format!("Linear probing, protocol {protocol}"),
            format!(
                "As Figure 3 of the study: {title} of linear probing by dataset and backbone, with 95% intervals where they are recorded.{more}"
            ),
        ),
        axis: Axis::new(title).range(lowest(&groups), 1.0),
        series,
        groups,
        reference: "published".into(),
        horizontal: false,
    };
    Some(Chart::of_bars(&chart, "dataset", 3, usize::MAX))
}

/// Linear decoder beside U-Net, for the backbone that has both on most datasets.
pub(super) fn decoders(study: &Study, protocol: &str) -> Option<Chart> {
    let ways = [Way::SegmentLinear, Way::UNet];
    let all = ways.map(|way| study.all_of(way, protocol));
    let records = all.each_ref().map(|of| &of.compared);
    let mut both: BTreeMap<String, usize> = BTreeMap::new();
    for linear in records[0] {
        let is_same =
            |unet: &&RunRecord| task(unet) == task(linear) && backbone(unet) == backbone(linear);
        if records[1].iter().copied().any(|unet| is_same(&unet)) {
            *both.entry(backbone(linear)).or_default() += 1;
        }
    }
    // Of several, the study's, then the last by name.
    let of_study = |name: &str| name.starts_with("dinov2-l14@");
    let (chosen, _) = both
        .into_iter()
        .max_by_key(|(name, count)| (*count, of_study(name)))?;
    let mut groups: BTreeMap<String, Vec<Bar>> = BTreeMap::new();
    for (at, (way, records)) in ways.into_iter().zip(records).enumerate() {
        for record in records.iter().filter(|record| backbone(record) == chosen) {
            let bars = groups
                .entry(task(record))
                .or_insert_with(|| vec![Bar::default(); 2]);
            bars[at] = bar(record, published(way, record));
        }
    }
    let groups = groups
        .into_iter()
        .map(|(name, bars)| BarGroup { name, bars });
    let groups: Vec<BarGroup> = groups.collect();
    let title = main_measure(records[0].first()?)?.title;
    let others = ways.iter().zip(&all).map(|(way, of)| {
        of.note(way.title(), |task| {
            groups.iter().any(|group| group.name == *task)
        })
    });
    let others: String = others.collect();
    let chart = Bars {
        caption: Caption::new(
            format!("decoders-{protocol}"),
            format!("Linear decoder and U-Net on {chosen}, protocol {protocol}"),
            format!(
                "As Figure 4 of the study: {title} by dataset.{}{others}",
                marks(
                    &groups,
                    "published figures of the U-Net, where the measure is the study's"
                )
            ),
        ),
        axis: Axis::new(title).range(0.0, 1.0),
        series: vec!["linear decoder".into(), "U-Net".into()],
        groups,
        reference: "published".into(),
        horizontal: false,
    };
    Some(Chart::of_bars(&chart, "dataset", 3, usize::MAX))
}

/// A sentence about the marks; empty without any.
fn marks(groups: &[BarGroup], what: &str) -> String {
    let mut bars = groups.iter().flat_map(|group| &group.bars);
    let has_marks = bars.any(|bar| bar.reference.is_some());
    if has_marks {
        format!(" Marks: {what}.")
    } else {
        String::new()
    }
}

/// Backbones in the order of the study, then of their names.
fn names(records: &[&RunRecord]) -> Vec<String> {
    let mut found: Vec<(usize, String)> = records
        .iter()
        .map(|record| {
            let place = FIGURE_3.iter().position(|name| *name == record.model);
            (place.unwrap_or(FIGURE_3.len()), backbone(record))
        })
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().map(|(_, name)| name).collect()
}

pub(super) fn bar(record: &RunRecord, reference: Option<f64>) -> Bar {
    let figure = figure(record);
    Bar {
        value: figure.map(|figure| figure.value),
        interval: figure
            .and_then(|figure| figure.interval)
            .map(|[low, high]| (low, high)),
        reference,
    }
}

/// The published figure of the same measure.
fn published(way: Way, record: &RunRecord) -> Option<f64> {
    let measure = main_measure(record)?.title;
    let tables = PUBLISHED
        .tables
        .iter()
        .filter(|table| table.measure == measure);
    tables
        .flat_map(|table| table.rows.iter().map(move |row| (table, row)))
        .find_map(|(table, row)| {
            let is_row = row.model == record.model && row.size == Some(record.image_size);
            let column = table.columns.iter().position(|column| {
                column.dataset == record.dataset && row.way(column) == Some(way)
            });
            let value = column.filter(|_| is_row).map(|at| row.values.get(at));
            value.flatten().copied()
        })
}

/// A round number below all values and bounds, so that differences are seen: at least 0, at most 0.5.
fn lowest(groups: &[BarGroup]) -> f64 {
    let bars = groups.iter().flat_map(|group| &group.bars);
    let values = bars.flat_map(|bar| {
        let low = bar.interval.map(|(low, _)| low);
        [bar.value, bar.reference, low].into_iter().flatten()
    });
    let least = values.fold(0.5, f64::min);
    if least < 0.5 { 0.0 } else { 0.5 }
}
