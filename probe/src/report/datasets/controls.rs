//! Negative controls beside the results that they belong to.

use plot::{Axis, Caption, Interval, Intervals};

use crate::record::RunRecord;
use crate::report::cells::{around, figure, main_measure, task};
use crate::report::chart::{Chart, number};
use crate::report::read::{Study, backbone, measure};
use crate::report::table::{Cell, Column};

/// Results that have a control, with all of their controls.
pub(super) fn chart(study: &Study, dataset: &str) -> Option<Chart> {
    let all = || study.results().filter(|record| task(record) == dataset);
    let controls: Vec<&RunRecord> = all().filter(|record| record.control.is_some()).collect();
    let title = main_measure(controls.first()?)?.title;
    let (mut rows, mut numbers): (Vec<Interval>, Vec<Vec<Cell>>) = Default::default();
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
        let beside = controls.iter().copied().filter(|record| is_of(record));
        for record in result.into_iter().chain(beside) {
            let name = record.control.as_deref().unwrap_or("result");
            let p = measure(record, "p_permutation");
            let with_p = p.map_or_else(String::new, |p| format!(" (p {p:.3})"));
            rows.push(row(&format!("{name}{with_p}"), &group, record));
            numbers.push(vec![
                record.probe.clone().into(),
                backbone(record).into(),
                record.protocol.clone().into(),
                name.into(),
                figure(record).map_or(Cell::Missing, Cell::Figure),
                p.map_or(Cell::Blank, |p| number(Some(p), 3, None)),
            ]);
        }
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
    let columns = vec![
        Column::text("probe"),
        Column::text("backbone"),
        Column::text("protocol"),
        Column::text("control"),
        Column::number(title),
        Column::number("p"),
    ];
    Some(Chart::new(&chart.caption, &chart.svg(), columns, numbers))
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
