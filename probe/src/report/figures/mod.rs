//! Figures of the reference study, of any backbones and datasets.

mod bars;
mod cross_task;
mod few_shot;

use super::chart::Chart;
use super::read::Study;

pub(super) use self::few_shot::of_dataset as few_shot_of;

/// Series in a figure; more are hard to tell apart.
pub(super) const MOST: usize = 7;

/// The figures for which there are records.
pub(super) fn figures(study: &Study) -> Vec<Chart> {
    let mut all = Vec::new();
    for protocol in study.protocols() {
        all.extend(cross_task::figure(study, protocol));
        all.extend(bars::linear_probing(study, protocol));
        all.extend(bars::decoders(study, protocol));
        all.extend(few_shot::of_study(study, protocol));
    }
    all
}
