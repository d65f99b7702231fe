//! Samples as split rules see them.

use cache::{CacheReader, SliceMeta, Split};
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

    /// The samples of a cache, in their order, and the number of slices of each, augmented views not counted;
    /// `official` is its column `split`.
    ///
    /// # Errors
    ///
    /// [`cache::Error::Parquet`] and [`cache::Error::Io`] if a shard cannot be read.
    pub fn of_cache(reader: &CacheReader) -> Result<(Vec<Member>, Vec<usize>), cache::Error> {
        let (mut members, mut counts) = (Vec::new(), Vec::new());
        for slices in reader.slices_by_shard() {
            for slice in &slices? {
                Member::add_slice(&mut members, slice);
                counts.resize(members.len(), 0);
                if let Some(count) = counts.last_mut() {
                    *count += usize::from(slice.view == 0);
                }
            }
        }
        Ok((members, counts))
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

    /// Adds the next slice, which is of the last sample or of another one.
    fn add_slice(members: &mut Vec<Member>, slice: &SliceMeta) {
        match members.last_mut() {
            Some(member) if member.sample == slice.sample => {
                if member.images.last() != Some(&slice.image) {
                    member.images.push(slice.image.clone());
                }
            }
            _ => members.push(Member {
                sample: slice.sample.clone(),
                images: vec![slice.image.clone()],
                patient: slice.patient.clone(),
                official: slice.split,
                fold: None,
            }),
        }
    }
}
