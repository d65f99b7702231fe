//! Results of backbones on datasets, without gaps.

use std::collections::{BTreeMap, BTreeSet};

use crate::report::cells::{Way, figure, task};
use crate::report::read::{Study, backbone};

/// A table of results without gaps.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    pub(super) datasets: Vec<String>,
    pub(super) backbones: Vec<String>,
    pub(super) values: Vec<Vec<f64>>,
    /// Datasets and backbones that were left out because of missing results.
    pub(super) left_out: Vec<String>,
}

impl Block {
    /// Results of a way; while some are missing, the dataset or backbone that lacks most is left out.
    pub(super) fn of(study: &Study, way: Way, protocol: &str) -> Block {
        let mut scores: BTreeMap<(String, String), f64> = BTreeMap::new();
        for record in study.all_of(way, protocol) {
            if let Some(figure) = figure(record) {
                scores.insert((task(record), backbone(record)), figure.value);
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

#[cfg(test)]
mod tests {
    use super::super::rankings;
    use super::*;
    use crate::record::RunRecord;
    use crate::record::tests::record;
    use crate::report::resampled::Resampled;

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
