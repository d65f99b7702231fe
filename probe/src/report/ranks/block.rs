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
    /// A sentence about records with other settings.
    pub(super) others: String,
}

impl Block {
    /// Results of a way; while some are missing, the dataset or backbone that lacks most is left out.
    pub(super) fn of(study: &Study, way: Way, protocol: &str) -> Block {
        let mut scores: BTreeMap<(String, String), f64> = BTreeMap::new();
        let all = study.all_of(way, protocol);
        for &record in &all.compared {
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
            others: all.note(way.title(), |task| datasets.contains(task)),
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

    /// A record of linear probing with a number of epochs.
    fn epochs(model: &str, auroc: f64, epochs: u32) -> RunRecord {
        let mut record = study(&[("d", model, auroc)]).records.remove(0);
        record.settings.insert("epochs".into(), epochs.into());
        record
    }

    #[test]
    fn records_with_other_settings_are_neither_ranked_nor_drawn_and_captions_say_so() {
        let records = vec![
            epochs("a", 0.6, 5),
            epochs("b", 0.7, 5),
            epochs("a", 0.9, 200),
        ];
        let study = Study {
            records,
            ..Study::default()
        };
        let block = Block::of(&study, Way::Linear, "strict");
        assert_eq!(block.values, [[0.6, 0.7]]);
        let mut report = crate::report::Report::of(&study, 10);
        report.draw(None);
        let left_out = "Left out: 1 record of linear probing with other settings than most backbones or than the newest: epochs=200 (not 5).";
        let text = report.markdown();
        // Ranks, the bars of Figure 3; this record has no classes.
        assert_eq!(text.matches(left_out).count(), 2, "{text}");
        let shown_in_detail = format!("Other results are in the tables. {left_out}");
        assert!(report.html().contains(&shown_in_detail));
        let settings = report.csv_of_results();
        assert!(settings.contains("epochs=200") && settings.contains("epochs=5"));
    }

    #[test]
    fn of_settings_with_as_many_backbones_the_newest_are_taken() {
        let records = vec![
            epochs("a", 0.6, 5),
            epochs("b", 0.7, 5),
            epochs("a", 0.9, 200),
            epochs("b", 0.8, 200),
        ];
        let study = Study {
            records,
            ..Study::default()
        };
        let block = Block::of(&study, Way::Linear, "strict");
        assert_eq!(block.values, [[0.9, 0.8]]);
        assert!(block.others.contains("epochs=5 (not 200)"));
    }

    #[test]
    fn tests_over_datasets_are_in_every_format() {
        let rows = [("d1", 0.9, 0.8), ("d2", 0.7, 0.6), ("d3", 0.5, 0.4)];
        let cells = rows.map(|(dataset, a, b)| [(dataset, "a", a), (dataset, "b", b)]);
        let study = study(cells.as_flattened());
        let mut report = crate::report::Report::of(&study, 10);
        report.draw(None);
        for text in [report.html(), report.markdown(), report.latex()] {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains("test of 2 backbones on 3 datasets"), "{text}");
            assert!(text.contains("Critical difference of mean ranks"), "{text}");
        }
    }

    #[test]
    fn one_backbone_is_not_ranked() {
        let study = study(&[("d1", "a", 0.9), ("d2", "a", 0.9)]);
        assert!(rankings(&study, &Resampled::default(), 10).is_empty());
    }
}
