//! Figure 1: mean ranks on segmentation against those on classification.

use std::collections::{BTreeMap, BTreeSet};

use plot::{Axis, Caption, Cloud, Scatter};

use crate::report::cells::{self, Way};
use crate::report::chart::{Chart, number};
use crate::report::read::Study;
use crate::report::table::{Cell, Column};

/// The figure; `None` unless two backbones have results of linear probing and of a U-Net on the same datasets.
pub(super) fn figure(study: &Study, protocol: &str) -> Option<Chart> {
    let [(classification, others), (segmentation, more)] =
        [Way::Linear, Way::UNet].map(|way| scores(study, way, protocol));
    let models: BTreeSet<&String> = classification.keys().collect();
    let models: Vec<&String> = models
        .into_iter()
        .filter(|model| segmentation.contains_key(*model))
        .collect();
    let (y, classified) = mean_ranks(&classification, &models)?;
    let (x, segmented) = mean_ranks(&segmentation, &models)?;
    let clouds = models.iter().enumerate().map(|(at, model)| Cloud {
        name: (*model).clone(),
        points: vec![(x[at], y[at])],
        titles: vec![format!(
            "{model}: segmentation {:.2}, classification {:.2}",
            x[at], y[at]
        )],
    });
    let worst = models.len() as f64 + 0.5;
    let listed = models.iter().zip(x.iter().zip(&y));
    let listed: Vec<String> = listed
        .map(|(model, (x, y))| format!("{model} {x:.2} and {y:.2}"))
        .collect();
    let description = format!(
        "As Figure 1 of the study: mean rank of {} backbones over {segmented} segmentation datasets (U-Net) to the right and over {classified} classification datasets (linear probing) upwards; 1 is best. Only datasets with a result of each backbone count, of a backbone in several sizes the largest. {}.{others}{more}",
        models.len(),
        listed.join("; ")
    );
    let chart = Scatter {
        caption: Caption::new(
            format!("cross-task-{protocol}"),
            format!("Ranks across tasks, protocol {protocol}"),
            description,
        ),
        x: Axis::new("mean rank, segmentation").range(0.5, worst),
        y: Axis::new("mean rank, classification").range(0.5, worst),
        clouds: clouds.collect(),
        map: false,
    };
    let columns = vec![
        Column::text("model"),
        Column::number("mean rank, segmentation"),
        Column::number("mean rank, classification"),
    ];
    let rows = models.iter().enumerate().map(|(at, model)| {
        let rank = |of: f64| number(Some(of), 2, None);
        vec![Cell::Text((*model).clone()), rank(x[at]), rank(y[at])]
    });
    Some(Chart::new(
        &chart.caption,
        &chart.svg(),
        columns,
        rows.collect(),
    ))
}

/// Figures by model, then dataset; of the largest size.
type Scores = BTreeMap<String, BTreeMap<String, f64>>;

/// The figures, and a sentence about records with other settings.
fn scores(study: &Study, way: Way, protocol: &str) -> (Scores, String) {
    let mut found = Scores::new();
    // In the order of the sizes, so that the largest stays. Only datasets of masks are segmented, and these are
    // not ranked as classification.
    let segmented: BTreeSet<&str> = study
        .results()
        .filter(|record| record.probe == "segment")
        .map(|record| record.dataset.as_str())
        .collect();
    let all = study.all_of(way, protocol);
    for &record in &all.compared {
        let is_of_task = way.is_segmentation() || !segmented.contains(record.dataset.as_str());
        if is_of_task && let Some(figure) = cells::figure(record) {
            let of_model = found.entry(record.model.clone()).or_default();
            of_model.insert(cells::task(record), figure.value);
        }
    }
    let others = all.note(way.title(), |task| {
        found.values().any(|of_model| of_model.contains_key(task))
    });
    (found, others)
}

/// Mean ranks of the models over the datasets that all of them have, and the number of these.
fn mean_ranks(scores: &Scores, models: &[&String]) -> Option<(Vec<f64>, usize)> {
    let datasets: BTreeSet<&String> = scores.values().flat_map(BTreeMap::keys).collect();
    let row = |dataset: &&String| -> Vec<Option<f64>> {
        let of = |model: &&String| scores.get(*model)?.get(*dataset).copied();
        models.iter().map(of).collect()
    };
    let table = stats::Table::new(datasets.iter().map(row).collect()).ok()?;
    let ranks = table.ranks().ok()?;
    Some((ranks.mean, ranks.used.len()))
}
