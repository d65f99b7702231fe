//! Ranks of backbones over datasets, with tests and intervals.

mod block;
mod figures;

use stats::borda::{Borda, over_datasets, over_draws};
use stats::resample::Draws;

use self::block::Block;
use super::cells::Way;
use super::chart::number;
use super::read::Study;
use super::resampled::{LEVEL, Resampled};
use super::table::{Cell, Column, Table};

/// Ranks of the backbones by one way of evaluation.
#[derive(Debug)]
pub(super) struct Ranking {
    way: Way,
    protocol: String,
    /// Results `[N, K]` of the datasets below and the backbones.
    block: Block,
    ranks: stats::Ranks,
    scores: stats::Table,
    /// Intervals of ranks by resampling datasets.
    datasets: Option<Borda>,
    /// Intervals of ranks by resampling patients; `None` without saved scores.
    patients: Option<Borda>,
}

/// Fewest datasets that are resampled: draws of fewer repeat each other.
const FEWEST_DATASETS: usize = 5;

/// Rankings of all ways and protocols with at least two backbones.
pub(super) fn rankings(study: &Study, resampled: &Resampled, draws: usize) -> Vec<Ranking> {
    let mut found = Vec::new();
    for way in Way::ALL {
        for protocol in study.protocols() {
            let block = Block::of(study, way, protocol);
            found.extend(Ranking::of(block, way, protocol, resampled, draws));
        }
    }
    found
}

impl Ranking {
    fn of(
        block: Block,
        way: Way,
        protocol: &str,
        resampled: &Resampled,
        count: usize,
    ) -> Option<Ranking> {
        let rows = block
            .values
            .iter()
            .map(|row| row.iter().copied().map(Some).collect());
        let scores = stats::Table::new(rows.collect()).ok()?;
        let draws = Draws {
            count,
            seed: 0,
            level: 1.0 - LEVEL,
        };
        Some(Ranking {
            ranks: scores.ranks().ok()?,
            datasets: (block.datasets.len() >= FEWEST_DATASETS)
                .then(|| over_datasets(&scores, &draws).ok())
                .flatten(),
            patients: by_patients(&block, way, protocol, resampled, &scores, &draws),
            way,
            protocol: protocol.into(),
            block,
            scores,
        })
    }

    fn title(&self) -> String {
        format!("{}, protocol {}", self.way.title(), self.protocol)
    }

    fn id(&self) -> String {
        let way = self.way.title().replace([' ', ','], "-");
        format!("ranks-{way}-{}", self.protocol)
    }

    /// The standings, best first.
    pub(super) fn table(&self) -> Table {
        let mut columns = vec![
            Column::text("backbone"),
            Column::number("mean rank"),
            Column::number("place"),
        ];
        let resampled = [("datasets", &self.datasets), ("patients", &self.patients)];
        let resampled = resampled
            .iter()
            .filter_map(|(of, borda)| Some((of, borda.as_ref()?)));
        for (of, _) in resampled.clone() {
            columns.push(Column::number(&format!("place, {of} resampled")));
            columns.push(Column::number(&format!("first, {of} resampled")));
        }
        let places = stats::average_ranks(&self.ranks.mean);
        let rows = self.ranks.order().into_iter().map(|at| {
            let mut row: Vec<Cell> = vec![
                self.block.backbones[at].clone().into(),
                number(Some(self.ranks.mean[at]), 2, None),
                number(Some(places[at]), 1, None),
            ];
            for (_, borda) in resampled.clone() {
                let standing = borda.models[at];
                row.push(
                    standing
                        .place_interval
                        .map_or(Cell::Missing, |[low, high]| {
                            format!("{low:.1} to {high:.1}").into()
                        }),
                );
                row.push(standing.first.map_or(Cell::Missing, |share| {
                    format!("{:.0}%", 100.0 * share).into()
                }));
            }
            row
        });
        Table {
            id: self.id(),
            title: format!("Ranks: {}", self.title()),
            caption: self.rule(),
            columns,
            rows: rows.collect(),
        }
    }

    fn rule(&self) -> String {
        let datasets = self.block.datasets.join(", ");
        let mut text = format!("Rule: {}. Datasets: {datasets}. ", stats::borda::RULE);
        if self.block.datasets.len() >= FEWEST_DATASETS {
            text += "Datasets resampled: 95% interval over draws of datasets with replacement, what other datasets of the kind would have given; ";
        } else {
            text += "Fewer than five datasets are not resampled; ";
        }
        text += match &self.patients {
            Some(_) => {
                "patients resampled: over draws of test patients of the same datasets, the same for all backbones. First: share of draws with the lowest mean rank."
            }
            None => {
                "patients are not resampled, because scores of some of these results are not saved, are of other cases or of fewer than six patients, or are of pooled pixels."
            }
        };
        if !self.block.left_out.is_empty() {
            text += &format!(
                " Left out, because results are missing: {}.",
                self.block.left_out.join(", ")
            );
        }
        format!("{text}{} {}", self.block.others, self.tests())
    }
}

/// Intervals by draws of patients; `None` unless all results of the block have them.
fn by_patients(
    block: &Block,
    way: Way,
    protocol: &str,
    resampled: &Resampled,
    scores: &stats::Table,
    draws: &Draws,
) -> Option<Borda> {
    let rows = block.datasets.iter().map(|dataset| {
        let group = resampled.group(dataset, way, protocol)?;
        block
            .backbones
            .iter()
            .map(|backbone| group.get(backbone))
            .collect::<Option<Vec<_>>>()
    });
    let rows: Vec<Vec<&Vec<Option<f64>>>> = rows.collect::<Option<_>>()?;
    // Large files have fewer draws.
    let fewest = rows.iter().flatten().map(|draws| draws.len()).min()?;
    let draws = &Draws {
        count: draws.count.min(fewest),
        ..*draws
    };
    let of_draw = |number: usize| {
        let row = |row: &Vec<&Vec<Option<f64>>>| row.iter().map(|draws| draws[number]).collect();
        rows.iter().map(row).collect()
    };
    over_draws(scores, draws, of_draw).ok()
}

/// A p-value for people.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 {
        "below 0.001".into()
    } else {
        format!("{p:.3}")
    }
}
