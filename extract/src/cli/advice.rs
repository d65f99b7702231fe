//! Warnings about defaults for which an expert would choose another value.

use imaging::preprocess::{Range, Slicing};

use crate::dataset::{Dataset, DatasetCard, Recipe};

/// The parts of the recipe that the user gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) recipe: bool,
    pub(super) intensity: bool,
    pub(super) slicing: bool,
}

/// Warnings about the preprocessing: unlikely windows, and the defaults for scans of the user's own data.
pub(super) fn of_preparing(
    card: &DatasetCard,
    dataset: &Dataset,
    recipe: &Recipe,
    asked: &Asked,
) -> Vec<String> {
    let mut advice: Vec<String> = recipe.intensity.doubt().into_iter().collect();
    // The cards for the user's own data have the names of their layouts.
    let is_own = card.name == card.layout && card.source.is_empty();
    let has_scans = dataset.samples.iter().any(|sample| !sample.is_picture());
    if !is_own || asked.recipe || !has_scans {
        return advice;
    }
    let is_dicom = card.layout == "dicom";
    if !asked.intensity && recipe.intensity.range == Range::MinMax {
        let other = if is_dicom {
            "`--recipe radiology` uses the window in the files"
        } else {
            "`--recipe radiology` uses percentiles of the volume, as is usual for MR"
        };
        advice.push(format!(
            "each slice is scaled from its minimum to its maximum (`{}`), which differ from slice to \
             slice, so HU are lost; for CT, give a window, for instance \
             `--intensity window:soft-tissue --rescale bounds`; {other}",
            recipe.intensity
        ));
    }
    if !asked.slicing && !is_dicom && recipe.slicing == Slicing::StoredKXy {
        advice.push(
            "volumes are cut in their stored orientation and may be rotated; `--slicing axial` cuts \
             and orients them as a radiologist views them"
                .to_owned(),
        );
    }
    advice
}
