//! Negative controls beside the results that they belong to.

use maud::Markup;
use plot::{Axis, Caption, Interval, Intervals};

use crate::record::RunRecord;
use crate::report::cells::{around, figure, main_measure, task};
use crate::report::read::{Study, backbone, measure};

/// Results that have a control, with all of their controls.
pub(super) fn chart(study: &Study, dataset: &str) -> Option<Markup> {
    let all = || study.results().filter(|record| task(record) == dataset);
    let controls: Vec<&RunRecord> = all().filter(|record| record.control.is_some()).collect();
    let title = main_measure(controls.first()?)?.title;
    let mut rows: Vec<Interval> = Vec::new();
    let mut known: Vec<String> = Vec::new();
    for control in &controls {
        let group = format!(
            "{} {} {}",
            control.probe,
            backbone(control),
            control.protocol
        );
        if known.contains(&group) {
            continue;
        }
        let is_of = |record: &&RunRecord| {
            let of = |record: &RunRecord| {
                (
                    record.probe.clone(),
                    backbone(record),
                    record.protocol.clone(),
                )
            };
            of(record) == of(control) && record.split == control.split
        };
        let result = all()
            .filter(is_of)
            .filter(|record| record.control.is_none())
            .last();
        rows.extend(result.map(|record| row("result", &group, record)));
        let beside = controls.iter().copied().filter(|record| is_of(record));
        rows.extend(beside.map(|record| {
            let name = record.control.clone().unwrap_or_default();
            let p = measure(record, "p_permutation");
            let p = p.map_or_else(String::new, |p| format!(" (p {p:.3})"));
            row(&format!("{name}{p}"), &group, record)
        }));
        known.push(group);
    }
    let chart = Intervals {
        caption: Caption::new(
            format!("controls-{dataset}"),
            format!("Negative controls on {dataset}"),
            format!(
                "{title} of results and of their controls: shuffled labels (p: of the permutation test), features replaced by random numbers, and metadata only. A control far from 0.5 says that something other than the image gives the class away."
            ),
        ),
        axis: Axis::new(title).range(0.0, 1.0),
        rows,
        reference: (title == "AUROC").then_some(0.5),
    };
    Some(plot::figure(&chart.caption, &chart.svg()))
}

fn row(name: &str, group: &str, record: &RunRecord) -> Interval {
    let figure = figure(record);
    Interval {
        name: name.into(),
        group: group.into(),
        value: figure.map(|figure| figure.value),
        interval: figure.as_ref().and_then(around),
    }
}
