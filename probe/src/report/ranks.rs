//! Ranks of backbones over datasets, with tests and intervals.

use std::collections::{BTreeMap, BTreeSet};

use common::counted;
use maud::{Markup, html};
use plot::{Caption, CriticalDifference, RankLine, Ranks as RankPlot};
use stats::borda::{Borda, over_datasets, over_draws};
use stats::cliques::cliques;
use stats::resample::Draws;

use super::cells::{Way, figure};
use super::read::{Study, backbone};
use super::render::html as render;
use super::resampled::{LEVEL, Resampled};
use super::table::{Cell, Column, Figure, Table};

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

/// A table of results without gaps.
#[derive(Clone, Debug, Default)]
struct Block {
    datasets: Vec<String>,
    backbones: Vec<String>,
    values: Vec<Vec<f64>>,
    /// Datasets and backbones that were left out because of missing results.
    left_out: Vec<String>,
}

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

impl Block {
    /// Results of a way; while some are missing, the dataset or backbone that lacks most is left out.
    fn of(study: &Study, way: Way, protocol: &str) -> Block {
        let mut scores: BTreeMap<(String, String), f64> = BTreeMap::new();
        for record in study.all_of(way, protocol) {
            if let Some(figure) = figure(record) {
                scores.insert((record.dataset.clone(), backbone(record)), figure.value);
            }
        }
        let mut datasets: BTreeSet<&String> = scores.keys().map(|(dataset, _)| dataset).collect();
        let mut backbones: BTreeSet<&String> =
            scores.keys().map(|(_, backbone)| backbone).collect();
        let mut left_out = Vec::new();
        let has = |dataset: &String, backbone: &String| {
            scores.contains_key(&(dataset.clone(), backbone.clone()))
        };
        loop {
            let lacking = |dataset: &String| {
                let missing = backbones
                    .iter()
                    .filter(|backbone| !has(dataset, backbone))
                    .count();
                missing as f64 / backbones.len() as f64
            };
            let worst = datasets.iter().map(|of| (lacking(of), *of));
            let worst_dataset = worst.max_by(|a, b| a.0.total_cmp(&b.0));
            let lacking = |backbone: &String| {
                let missing = datasets
                    .iter()
                    .filter(|dataset| !has(dataset, backbone))
                    .count();
                missing as f64 / datasets.len() as f64
            };
            let worst = backbones.iter().map(|of| (lacking(of), *of));
            let worst_backbone = worst.max_by(|a, b| a.0.total_cmp(&b.0));
            let (Some((a, dataset)), Some((b, name))) = (worst_dataset, worst_backbone) else {
                break;
            };
            if a == 0.0 && b == 0.0 {
                break;
            }
            if a > b {
                left_out.push(dataset.clone());
                datasets.remove(dataset);
            } else {
                left_out.push(name.clone());
                backbones.remove(name);
            }
        }
        let row = |dataset: &&String| {
            let of = |backbone: &&String| scores[&((*dataset).clone(), (*backbone).clone())];
            backbones.iter().map(of).collect()
        };
        Block {
            values: datasets.iter().map(row).collect(),
            datasets: datasets.into_iter().cloned().collect(),
            backbones: backbones.into_iter().cloned().collect(),
            left_out,
        }
    }
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
            datasets: over_datasets(&scores, &draws).ok(),
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
            Column::number("place, datasets resampled"),
            Column::number("first, datasets resampled"),
        ];
        if self.patients.is_some() {
            columns.push(Column::number("place, patients resampled"));
            columns.push(Column::number("first, patients resampled"));
        }
        let places = stats::average_ranks(&self.ranks.mean);
        let rows = self.ranks.order().into_iter().map(|at| {
            let mut row: Vec<Cell> = vec![
                self.block.backbones[at].clone().into(),
                number(self.ranks.mean[at], 2),
                number(places[at], 1),
            ];
            for of in [&self.datasets, &self.patients] {
                let standing = of.as_ref().map(|borda| borda.models[at]);
                if of.is_none() && std::ptr::eq(of, &self.patients) {
                    continue;
                }
                let interval = standing.and_then(|standing| standing.place_interval);
                row.push(interval.map_or(Cell::Missing, |[low, high]| {
                    format!("{low:.1} to {high:.1}").into()
                }));
                let first = standing.and_then(|standing| standing.first);
                row.push(first.map_or(Cell::Missing, |share| {
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
        if self.block.datasets.len() > 1 {
            text += "Datasets resampled: 95% interval over draws of datasets with replacement, what other datasets of the kind would have given; ";
        } else {
            text += "One dataset cannot be resampled; ";
        }
        text += match &self.patients {
            Some(_) => {
                "patients resampled: over draws of test patients of the same datasets, the same for all backbones. First: share of draws with the lowest mean rank."
            }
            None => {
                "patients are not resampled, because scores of some of these results are not saved, are of other cases, or are of pooled pixels."
            }
        };
        if !self.block.left_out.is_empty() {
            text += &format!(
                " Left out, because results are missing: {}.",
                self.block.left_out.join(", ")
            );
        }
        text
    }

    /// Tests, diagrams and ranks by dataset.
    pub(super) fn figures(&self) -> Markup {
        let count = self.block.datasets.len();
        html! {
            p { (self.friedman()) }
            @if count > 1 {
                div .grid {
                    (self.nemenyi())
                    (self.wilcoxon())
                }
            }
            (self.by_dataset())
        }
    }

    fn friedman(&self) -> String {
        let (models, datasets) = (self.block.backbones.len(), self.block.datasets.len());
        if datasets < 2 {
            return "Tests over datasets need at least two of them.".into();
        }
        match self.ranks.friedman() {
            Some(found) => {
                let verdict = if found.p < LEVEL {
                    "the backbones differ"
                } else {
                    "no difference between the backbones is shown"
                };
                format!(
                    "Friedman's test of {models} backbones on {datasets} datasets: chi-square {:.2}, p {}: {verdict} at {LEVEL}.",
                    found.chi_square,
                    p_value(found.p)
                )
            }
            None => "All backbones have the same results: there is nothing to test.".into(),
        }
    }

    fn nemenyi(&self) -> Markup {
        let found = self.ranks.nemenyi();
        let differ = |a: usize, b: usize| found.p[a][b] < LEVEL;
        let difference = found.critical_difference(LEVEL).ok();
        let ruler = difference.map_or_else(String::new, |difference| {
            format!(" (critical difference {difference:.2})")
        });
        let text = format!(
            "Mean ranks; 1 is best. Nemenyi's test tells {} apart at {LEVEL}{ruler}; bars join backbones that it cannot tell apart.",
            self.told_apart(differ)
        );
        self.diagram("Nemenyi", &text, differ, difference)
    }

    fn wilcoxon(&self) -> Markup {
        let found = self.scores.wilcoxon_holm();
        let differ = |a: usize, b: usize| {
            let mut pairs = found.iter();
            pairs.any(|pair| (pair.first, pair.second) == (a, b) && pair.p_holm < LEVEL)
        };
        let mut text = format!(
            "Mean ranks. Wilcoxon's signed-rank test with Holm's correction tells {} apart at {LEVEL}; bars join backbones that it cannot tell apart.",
            self.told_apart(differ)
        );
        let datasets = self.block.datasets.len();
        let least = 0.5_f64.powi(datasets as i32 - 1);
        if least * found.len() as f64 > LEVEL {
            text += &format!(
                " With {datasets} datasets it could not tell any of so many pairs apart: its least p is {least:.3} before the correction."
            );
        }
        self.diagram("Wilcoxon–Holm", &text, differ, None)
    }

    /// Number of pairs that a test tells apart: `3 of 15 pairs`.
    fn told_apart(&self, differ: impl Fn(usize, usize) -> bool) -> String {
        let count = self.block.backbones.len();
        let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
        let apart = pairs.filter(|&(a, b)| differ(a, b)).count();
        format!("{apart} of {}", counted(count * (count - 1) / 2, "pair"))
    }

    /// Words for the groups that cannot be told apart.
    fn alike(&self, groups: &[Vec<usize>]) -> String {
        let named = groups.iter().map(|group| {
            let names: Vec<&str> = group
                .iter()
                .map(|&at| self.block.backbones[at].as_str())
                .collect();
            format!("Not told apart: {}.", names.join(", "))
        });
        let named: Vec<String> = named.collect();
        if named.is_empty() {
            "All pairs are told apart.".into()
        } else {
            named.join(" ")
        }
    }

    /// A diagram whose description for those who do not see it lists the groups.
    fn diagram(
        &self,
        test: &str,
        text: &str,
        differ: impl Fn(usize, usize) -> bool,
        difference: Option<f64>,
    ) -> Markup {
        let cliques = cliques(self.block.backbones.len(), differ);
        let description = format!("{text} {}", self.alike(&cliques));
        let names = self.block.backbones.iter().cloned();
        let chart = CriticalDifference {
            caption: Caption::new(
                format!("{}-{test}", self.id()),
                format!("{test}: {}", self.title()),
                description,
            ),
            ranks: names.zip(self.ranks.mean.iter().copied()).collect(),
            cliques,
            difference,
        };
        render::figure(&chart.caption.title, text, &chart.svg())
    }

    fn by_dataset(&self) -> Markup {
        let models = self
            .block
            .backbones
            .iter()
            .enumerate()
            .map(|(at, name)| RankLine {
                name: name.clone(),
                ranks: self.ranks.rows.iter().map(|row| Some(row[at])).collect(),
            });
        let chart = RankPlot {
            caption: Caption::new(
                format!("{}-by-dataset", self.id()),
                format!("Rank on each dataset: {}", self.title()),
                "1 is best; equal results share their mean rank. A rank says nothing about the size of a difference: see the tables.",
            ),
            datasets: self.block.datasets.clone(),
            models: models.collect(),
        };
        plot::figure(&chart.caption, &chart.svg())
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
    // The decoders' scores by volume are not those of pooled pixels.
    if way.is_segmentation() && protocol == "paper" {
        return None;
    }
    let rows = block.datasets.iter().map(|dataset| {
        let group = resampled.group(dataset, way, protocol)?;
        block
            .backbones
            .iter()
            .map(|backbone| group.get(backbone))
            .collect::<Option<Vec<_>>>()
    });
    let rows: Vec<Vec<&Vec<Option<f64>>>> = rows.collect::<Option<_>>()?;
    let of_draw = |number: usize| {
        let row = |row: &Vec<&Vec<Option<f64>>>| row.iter().map(|draws| draws[number]).collect();
        rows.iter().map(row).collect()
    };
    over_draws(scores, draws, of_draw).ok()
}

fn number(value: f64, decimals: usize) -> Cell {
    Cell::Figure(Figure {
        value,
        decimals,
        ..Figure::default()
    })
}

/// A p-value for people.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 {
        "below 0.001".into()
    } else {
        format!("{p:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RunRecord;
    use crate::record::tests::record;

    fn study(cells: &[(&str, &str, f64)]) -> Study {
        let record = |&(dataset, model, auroc): &(&str, &str, f64)| RunRecord {
            dataset: dataset.into(),
            model: model.into(),
            probe: "linear".into(),
            metrics: serde_json::Map::from_iter([("auroc_macro".into(), auroc.into())]),
            ..record()
        };
        Study {
            records: cells.iter().map(record).collect(),
            ..Study::default()
        }
    }

    #[test]
    fn what_lacks_most_results_is_left_out_and_the_last_record_counts() {
        let study = study(&[
            ("d1", "a", 0.1),
            ("d1", "a", 0.9),
            ("d1", "b", 0.8),
            ("d2", "a", 0.7),
            ("d2", "b", 0.6),
            ("d3", "a", 0.5),
            ("d1", "c", 0.4),
        ]);
        let block = Block::of(&study, Way::Linear, "strict");
        assert_eq!(block.datasets, ["d1", "d2"]);
        assert_eq!(block.backbones, ["a@224", "b@224"]);
        assert_eq!(block.values, [[0.9, 0.8], [0.7, 0.6]]);
        assert_eq!(block.left_out.len(), 2);
    }

    #[test]
    fn one_backbone_is_not_ranked() {
        let study = study(&[("d1", "a", 0.9), ("d2", "a", 0.9)]);
        assert!(rankings(&study, &Resampled::default(), 10).is_empty());
    }
}
