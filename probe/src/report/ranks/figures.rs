//! Tests and diagrams of a ranking.

use common::counted;
use maud::{Markup, html};
use plot::{Caption, CriticalDifference, RankLine, Ranks as RankPlot};
use stats::cliques::cliques;

use super::{Ranking, p_value};
use crate::report::chart::{Chart, number};
use crate::report::render::html as render;
use crate::report::resampled::LEVEL;
use crate::report::table::{Cell, Column, Table};

impl Ranking {
    /// Diagrams and ranks by dataset.
    pub(in crate::report) fn figures(&self) -> Markup {
        let count = self.block.datasets.len();
        html! {
            @if count > 1 {
                div .grid {
                    (self.nemenyi())
                    (self.wilcoxon())
                }
                (render::numbers(&self.pairs()))
            }
            (self.by_dataset())
        }
    }

    /// The numbers of the figures.
    pub(in crate::report) fn numbers(&self) -> Vec<Table> {
        let pairs = (self.block.datasets.len() > 1).then(|| self.pairs());
        let by_dataset = self.by_dataset().numbers;
        pairs.into_iter().chain([by_dataset]).collect()
    }

    /// The tests of each pair of backbones.
    fn pairs(&self) -> Table {
        let nemenyi = self.ranks.nemenyi();
        let names = &self.block.backbones;
        let tests = self.scores.wilcoxon_holm().into_iter();
        let rows = tests.map(|pair| {
            let p = |p: f64| number(Some(p), 3, None);
            vec![
                names[pair.first].clone().into(),
                names[pair.second].clone().into(),
                p(nemenyi.p[pair.first][pair.second]),
                p(pair.test.p),
                p(pair.p_holm),
            ]
        });
        Table {
            id: format!("{}-pairs", self.id()),
            title: format!("Pairs of backbones: {}", self.title()),
            caption: format!(
                "p of tests over {} datasets: Nemenyi's, which corrects for all pairs, and Wilcoxon's signed-rank test before and after Holm's correction.",
                self.block.datasets.len()
            ),
            columns: vec![
                Column::text("first"),
                Column::text("second"),
                Column::number("Nemenyi p"),
                Column::number("Wilcoxon p"),
                Column::number("Wilcoxon p, Holm"),
            ],
            rows: rows.collect(),
        }
    }

    /// Friedman's test, and the least difference of mean ranks that Nemenyi's test tells apart.
    pub(super) fn tests(&self) -> String {
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
                let difference = self.ranks.nemenyi().critical_difference(LEVEL).ok();
                let difference = difference.map_or_else(String::new, |difference| {
                    format!(
                        " Critical difference of mean ranks by Nemenyi's test: {difference:.2}."
                    )
                });
                format!(
                    "Friedman's test of {models} backbones on {datasets} datasets: chi-square {:.2}, p {}: {verdict} at {LEVEL}.{difference}",
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

    fn by_dataset(&self) -> Chart {
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
        let mut columns = vec![Column::text("backbone")];
        columns.extend(chart.datasets.iter().map(|name| Column::number(name)));
        let rows = chart.models.iter().map(|model| {
            let ranks = model.ranks.iter().map(|rank| number(*rank, 1, None));
            let name = Cell::Text(model.name.clone());
            [name].into_iter().chain(ranks).collect()
        });
        let rows = rows.collect();
        Chart::new(&chart.caption, &chart.svg(), columns, rows)
    }
}
