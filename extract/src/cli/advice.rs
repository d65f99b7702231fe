//! What is done where the user chose nothing, and what an expert would choose.

use imaging::preprocess::{Range, Slicing};

use crate::dataset::{Dataset, DatasetCard, Recipe};

/// Which parts of the recipe the user has asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) recipe: bool,
    pub(super) intensity: bool,
    pub(super) slicing: bool,
}

/// What to tell of how slices are prepared: doubts about a window, and for data of one's own, of
/// which the program knows nothing, what is done by default with scans.
pub(super) fn of_preparing(
    card: &DatasetCard,
    dataset: &Dataset,
    recipe: &Recipe,
    asked: &Asked,
) -> Vec<String> {
    let mut advice: Vec<String> = recipe.intensity.doubt().into_iter().collect();
    // The cards for data of one's own are called as their layouts.
    let is_own = card.name == card.layout && card.source.is_empty();
    let has_scans = dataset.samples.iter().any(|sample| !sample.is_picture());
    if !is_own || asked.recipe || !has_scans {
        return advice;
    }
    let is_dicom = card.layout == "dicom";
    if !asked.intensity && recipe.intensity.range == Range::MinMax {
        let other = if is_dicom {
            "`--recipe radiology` takes the window that the files name"
        } else {
            "`--recipe radiology` takes percentiles of the volume, as is usual for MR"
        };
        advice.push(format!(
            "each slice is scaled from its least to its greatest value (`{}`), which differs from \
             slice to slice and keeps no HU; for CT an expert would give a window, for instance \
             `--intensity window:soft-tissue --rescale bounds`; {other}",
            recipe.intensity
        ));
    }
    if !asked.slicing && !is_dicom && recipe.slicing == Slicing::StoredKXy {
        advice.push(
            "volumes are cut as they are stored, and so may lie on their side; `--slicing axial` \
             cuts and turns them as a radiologist sees them"
                .to_owned(),
        );
    }
    advice
}
