//! Oddities of images that are not errors.

use imaging::preprocess::{Preprocess, Range};
use imaging::read::{Source, Volume};

use crate::dataset::Sample;

/// Warning if no slice has the window that the recipe uses.
const NO_WINDOW: &str = "`voi`: the files name no window, so percentiles 1 to 99 were taken in its place \
                         (`--intensity window:LOW:HIGH` sets one)";

/// Warning if only some slices have a window.
const SOME_WINDOWS: &str = "`voi`: some slices name a window and others do not, for which percentiles 1 \
                            to 99 were taken: intensities of these slices do not compare";

/// Warning for a file of several frames.
const UNEVEN: &str = "files of several frames with uneven gaps between them";

/// Oddities of `image` as read, for `recipe`.
pub(super) fn of_image(sample: &Sample, image: &Volume, recipe: &Preprocess) -> Vec<&'static str> {
    let mut kinds = image.odd().to_vec();
    if recipe.intensity.range == Range::Voi {
        let has_window: Vec<bool> = image.have_windows().collect();
        match (has_window.contains(&true), has_window.contains(&false)) {
            (false, _) => kinds.push(NO_WINDOW),
            (true, true) => kinds.push(SOME_WINDOWS),
            (true, false) => {}
        }
    }
    // For a series in several files, the listing warns.
    if matches!(sample.image, Source::File(_)) && image.is_uneven() {
        kinds.push(UNEVEN);
    }
    if recipe.slicing.is_of_patient() {
        kinds.extend(image.orientation_doubt());
    }
    kinds
}
