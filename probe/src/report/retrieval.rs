//! Records of `probe retrieve`.

use super::read::{Study, backbone, interval, measure};
use super::table::{Cell, Column, Figure, Table};
use crate::record::RunRecord;

/// A row per cache and features; `None` without records.
pub(super) fn table(study: &Study) -> Option<Table> {
    let mut records: Vec<&RunRecord> = study.of("retrieve").collect();
    records.sort_by_key(|record| {
        (
            &record.dataset,
            &record.model,
            record.image_size,
            &record.setting,
        )
    });
    let rows: Vec<Vec<Cell>> = records.into_iter().map(row).collect();
    (!rows.is_empty()).then(|| Table {
        id: "retrieval".into(),
        title: "Retrieval".into(),
        caption: "Images of the same class among the nearest ones, without images of the same patient. mAP and P@1: means over classes (macro) with 95% intervals where patients were drawn. Chance: share of relevant images."
            .into(),
        columns: vec![
            Column::text("dataset"),
            Column::text("backbone"),
            Column::text("setting"),
            Column::number("mAP"),
            Column::number("P@1"),
            Column::number("chance"),
            Column::number("queries"),
        ],
        rows,
    })
}

fn row(record: &RunRecord) -> Vec<Cell> {
    let figure = |name: &str| {
        measure(record, name).map_or(Cell::Missing, |value| {
            Cell::Figure(Figure {
                value,
                decimals: 3,
                interval: interval(record, name),
                ..Figure::default()
            })
        })
    };
    vec![
        record.dataset.clone().into(),
        backbone(record).into(),
        record.setting.clone().into(),
        figure("map_macro"),
        figure("precision_at_1_macro"),
        figure("chance_macro"),
        Cell::Count(record.n_test),
    ]
}
