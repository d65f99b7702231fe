//! Records by what a table or figure asks for: dataset, backbone, probe and protocol.

use std::collections::BTreeSet;

use serde_json::Value;

use super::alike::Alike;
use super::read::{Study, interval, measure, parameter};
use super::table::Figure;
use crate::record::RunRecord;

/// The rule by which [`Study::find`] takes a record, for captions.
pub(super) const RULE: &str = "Of a dataset, records are shown with the settings of most backbones or, of several such settings, the newest; of several records of a cell, the last one recorded. Records of other settings, of controls, of other labels, of other splits and of single folds are not.";

/// What is evaluated: a probe with its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// `knn`, with the `k` that was chosen.
    Knn,
    Linear,
    Logreg,
    Ridge,
    /// `segment --decoder linear`.
    SegmentLinear,
    /// `segment --decoder unet`.
    UNet,
    /// `scripts/finetune` of a whole backbone for classes.
    FineTuning(Trained),
    /// A network for segmentation from scratch, by `scripts/finetune`.
    Scratch,
    /// `adapt` of a number of last blocks.
    Adapt(Trained, u64),
}

/// What of a backbone is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trained {
    All,
    Lora,
    BitFit,
}

impl Trained {
    fn named(name: &str) -> Option<Trained> {
        match name {
            "full" => Some(Trained::All),
            "lora" => Some(Trained::Lora),
            "bitfit" => Some(Trained::BitFit),
            _ => None,
        }
    }
}

impl Way {
    pub(super) const ALL: [Way; 10] = [
        Way::Knn,
        Way::Linear,
        Way::Logreg,
        Way::Ridge,
        Way::SegmentLinear,
        Way::UNet,
        Way::FineTuning(Trained::All),
        Way::FineTuning(Trained::Lora),
        Way::FineTuning(Trained::BitFit),
        Way::Scratch,
    ];

    /// The way with a name of the published tables.
    pub(super) fn named(name: &str) -> Option<Way> {
        match name {
            "knn" => Some(Way::Knn),
            "linear" => Some(Way::Linear),
            "unet" => Some(Way::UNet),
            "fine-tuning" => Some(Way::FineTuning(Trained::All)),
            "scratch" => Some(Way::Scratch),
            name => match name.strip_prefix("adapt ") {
                Some(adapt) => {
                    let (method, blocks) = adapt.split_once(' ')?;
                    Some(Way::Adapt(Trained::named(method)?, blocks.parse().ok()?))
                }
                None => Trained::named(name).map(Way::FineTuning),
            },
        }
    }

    /// The way of a record; `None` for others, such as results of few shots.
    pub(super) fn of(record: &RunRecord) -> Option<Way> {
        match record.probe.as_str() {
            // Without a mark there is a single `k`.
            "knn" => (record.chosen != Some(false)).then_some(Way::Knn),
            "linear" => Some(Way::Linear),
            "logreg" => Some(Way::Logreg),
            "ridge" => Some(Way::Ridge),
            "segment" if record.params.get("shots").is_none_or(Value::is_null) => {
                match decoder(record) {
                    Some("linear") => Some(Way::SegmentLinear),
                    Some("unet") => Some(Way::UNet),
                    _ => None,
                }
            }
            "finetune" => match (parameter(record, "task"), parameter(record, "method")?) {
                (Some("segmentation"), "scratch") => Some(Way::Scratch),
                (Some("classification"), method) => Trained::named(method).map(Way::FineTuning),
                _ => None,
            },
            "adapt" => {
                let method = Trained::named(parameter(record, "method")?)?;
                Some(Way::Adapt(method, record.params.get("blocks")?.as_u64()?))
            }
            _ => None,
        }
    }

    /// Words for people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Way::Knn => "k nearest neighbours",
            Way::Linear => "linear probing",
            Way::Logreg => "logistic regression",
            Way::Ridge => "ridge regression",
            Way::SegmentLinear => "segmentation, linear decoder",
            Way::UNet => "segmentation, U-Net",
            Way::FineTuning(Trained::All) => "fine-tuning",
            Way::FineTuning(Trained::Lora) => "LoRA",
            Way::FineTuning(Trained::BitFit) => "BitFit",
            Way::Scratch => "segmentation from scratch",
            Way::Adapt(..) => "adapted last blocks",
        }
    }

    pub(super) fn is_segmentation(self) -> bool {
        matches!(self, Way::SegmentLinear | Way::UNet | Way::Scratch)
    }
}

/// A measure with its name for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
}

/// The measure by which a record is compared with others.
pub(super) fn main_measure(record: &RunRecord) -> Option<Measured> {
    const KNOWN: [Measured; 3] = [
        Measured {
            name: "dice_jaccard_mean",
            title: "(Dice + Jaccard) / 2",
        },
        Measured {
            name: "dice_macro",
            title: "Dice",
        },
        Measured {
            name: "auroc_macro",
            title: "AUROC",
        },
    ];
    let mut known = KNOWN.into_iter();
    known.find(|measured| measure(record, measured.name).is_some())
}

/// The main measure of a record as a figure.
pub(super) fn figure(record: &RunRecord) -> Option<Figure> {
    let name = main_measure(record)?.name;
    Some(Figure {
        value: measure(record, name)?,
        decimals: 3,
        interval: interval(record, name),
        deviation: record.deviation(name),
        is_best: false,
    })
}

/// The interval of a figure, or else a standard deviation to both sides, within 0 to 1, where AUROC and Dice lie.
pub(super) fn around(figure: &Figure) -> Option<(f64, f64)> {
    let interval = figure.interval.map(|[low, high]| (low, high));
    let value = figure.value;
    let spread = figure
        .deviation
        .map(|sd| ((value - sd).max(0.0), (value + sd).min(1.0)));
    interval.or(spread)
}

/// The decoder of a segmentation.
pub(super) fn decoder(record: &RunRecord) -> Option<&str> {
    let setting = || record.settings.get("decoder").and_then(Value::as_str);
    parameter(record, "decoder").or_else(setting)
}

/// Dataset, split and labels that a record is of: figures of other splits or labels are not compared with it.
pub(super) fn task(record: &RunRecord) -> String {
    let mut text = record.dataset.clone();
    if let Some(name) = &record.split_name {
        text += &match name.strip_prefix("kfold:") {
            Some(folds) => format!(", {folds} folds"),
            None => format!(", split {name}"),
        };
    }
    if let Some(name) = &record.labels_name {
        text += &format!(", labels {name}");
    }
    text
}

/// Whether a record counts as a result: evaluated on `test`, or on all folds together, with true labels and
/// features. Single folds of a cross-validation do not count.
pub(super) fn is_plain(record: &RunRecord) -> bool {
    record.control.is_none() && record.split == "test" && !record.is_of_fold()
}

/// Whether a record counts in tables of the study: with the splits of the extraction or all folds together, and the
/// labels of the extraction.
fn is_of_study(record: &RunRecord) -> bool {
    let split = record.split_name.as_ref();
    is_plain(record)
        && record.labels_name.is_none()
        && split.is_none_or(|name| name.starts_with("kfold:"))
}

impl Study {
    /// The record of a cell. Without a size, that of 224 pixels before others, then the largest.
    pub(super) fn find(
        &self,
        way: Way,
        protocol: &str,
        dataset: &str,
        (model, size): (&str, Option<u32>),
    ) -> Option<&RunRecord> {
        let fits = |record: &&RunRecord| {
            record.dataset == dataset
                && record.protocol == protocol
                && is_of_study(record)
                && Way::of(record) == Some(way)
        };
        let is_of_row = |record: &&RunRecord| {
            record.model == model && size.is_none_or(|size| record.image_size == size)
        };
        let found = Alike::of(self.results().filter(fits)).compared.into_iter();
        // Of equal ones the last.
        found
            .filter(is_of_row)
            .max_by_key(|record| (record.image_size == 224, record.image_size))
    }

    /// The tasks of all results, sorted.
    pub(super) fn tasks(&self) -> BTreeSet<String> {
        let plain = self.results().filter(|record| is_plain(record));
        plain.map(task).collect()
    }

    /// Protocols of the results, `strict` first.
    pub(super) fn protocols(&self) -> Vec<&str> {
        let mut found: Vec<&str> = self
            .results()
            .map(|record| record.protocol.as_str())
            .collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.dedup();
        found
    }

    /// Results of a way under a protocol: of those with equal settings, the last of each [`task`] and backbone, in this
    /// order.
    pub(super) fn all_of(&self, way: Way, protocol: &str) -> Alike<'_> {
        let is_of = |record: &&RunRecord| {
            is_plain(record) && record.protocol == protocol && Way::of(record) == Some(way)
        };
        let mut all = Alike::of(self.results().filter(is_of));
        let mut found: std::collections::BTreeMap<(String, &str, u32), &RunRecord> =
            std::collections::BTreeMap::new();
        for record in all.compared {
            let place = (task(record), record.model.as_str(), record.image_size);
            found.insert(place, record);
        }
        all.compared = found.into_values().collect();
        all
    }
}
