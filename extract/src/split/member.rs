//! Samples as split rules see them.

use cache::{SliceMeta, Split};
use common::text::slashed;

use crate::dataset::Sample;

/// The folder of test images in nnU-Net's layout.
const TEST_IMAGES: &str = "imagesTs";

/// A sample as a rule sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Id of the sample.
    pub sample: String,
    /// Image files relative to the dataset's root, with `/` between folders.
    pub images: Vec<String>,
    /// Patient, if known.
    pub patient: Option<String>,
    /// Official split.
    pub official: Option<Split>,
    /// Official fold.
    pub fold: Option<u16>,
}

impl Member {
    /// The samples of a dataset as a rule sees them, in their order.
    pub fn of_samples(samples: &[Sample]) -> Vec<Member> {
        let member = |sample: &Sample| Member {
            sample: sample.id.clone(),
            images: sample.image.files().iter().map(|f| slashed(f)).collect(),
            patient: sample.patient.clone(),
            official: sample.split,
            fold: sample.fold,
        };
        samples.iter().map(member).collect()
    }

    /// The samples of a cache, in their order; `official` is its column `split`.
    pub fn of_slices(slices: &[SliceMeta]) -> Vec<Member> {
        let samples = slices.chunk_by(|a, b| a.sample == b.sample);
        samples.map(Member::of_sample_slices).collect()
    }

    /// True if it is in nnU-Net's folder of test images, which often have no label maps: no random rule puts
    /// it into another split.
    pub(super) fn is_test_image(&self) -> bool {
        let folders = |image: &String| {
            image
                .split('/')
                .rev()
                .skip(1)
                .any(|part| part == TEST_IMAGES)
        };
        self.images.iter().any(folders)
    }

    fn of_sample_slices(slices: &[SliceMeta]) -> Member {
        let mut images: Vec<String> = slices.iter().map(|slice| slice.image.clone()).collect();
        images.dedup();
        Member {
            sample: slices[0].sample.clone(),
            images,
            patient: slices[0].patient.clone(),
            official: slices[0].split,
            fold: None,
        }
    }
}
