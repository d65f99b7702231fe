//! What looks odd in an image and is no error.

use imaging::preprocess::{Preprocess, Range};
use imaging::read::{Source, Volume};

use crate::dataset::Sample;

/// Said where a window is asked for and no slice names one.
const NO_WINDOW: &str = "`voi`: the files name no window, so percentiles 1 to 99 were taken in its place \
                         (`--intensity window:LOW:HIGH` sets one)";

/// Said where only some slices name a window.
const SOME_WINDOWS: &str = "`voi`: some slices name a window and others do not, for which percentiles 1 \
                            to 99 were taken: intensities of these slices do not compare";

/// Said of a file of several frames.
const UNEVEN: &str = "files of several frames with uneven gaps between them";

/// The kinds of oddities of `image`, as read, for `recipe`.
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
    // Of a series in several files, the listing says it.
    if matches!(sample.image, Source::File(_)) && image.is_uneven() {
        kinds.push(UNEVEN);
    }
    if recipe.slicing.is_of_patient() {
        kinds.extend(image.orientation_doubt());
    }
    kinds
}
