//! From a sample to slices ready for the backbone.

use std::ops::Range;
use std::path::Path;

use cache::{Labels, Mask, SliceMeta};
use ndarray::Array3;

use crate::Error;
use crate::dataset::{Dataset, Sample};
use crate::preprocess::{NonFinite, Preprocess};
use crate::read::{self, Volume};

/// One slice ready for the backbone.
#[derive(Debug)]
pub struct PreparedSlice {
    /// `[3, S, S]`.
    pub pixels: Array3<f32>,
    /// Its row in the cache.
    pub meta: SliceMeta,
    /// Its label map at native resolution, where the sample has one.
    pub mask: Option<Mask>,
}

/// An opened sample, found to be whole: what is left to do cannot fail.
pub struct PreparedSample<'a> {
    dataset: &'a Dataset,
    sample: &'a Sample,
    recipe: &'a Preprocess,
    image: Volume,
    mask: Option<Volume>,
    slices: Range<usize>,
}

/// Reads a sample's files and checks every slice of it, so that a damaged sample gives no slices
/// at all rather than some.
///
/// # Errors
///
/// What [`read::volume`] gives, [`Error::SliceRange`] if the sample asks for slices that the image
/// does not have, [`Error::MaskShape`] if image and mask differ, [`Error::Constant`] if all pixels
/// are equal, [`Error::NonFinite`] and [`Error::LabelValue`].
pub fn open<'a>(
    dataset: &'a Dataset,
    sample: &'a Sample,
    recipe: &'a Preprocess,
) -> Result<PreparedSample<'a>, Error> {
    let image = read::volume(&dataset.root.join(&sample.image))?;
    let mask = match &sample.mask {
        Some(mask) => Some(read::volume(&dataset.root.join(mask))?),
        None => None,
    };
    let slices = slice_range(sample, &image)?;
    let opened = PreparedSample {
        dataset,
        sample,
        recipe,
        image,
        mask,
        slices,
    };
    opened.check_image()?;
    opened.check_mask()?;
    Ok(opened)
}

impl PreparedSample<'_> {
    /// The positions of the slices along the slicing axis.
    pub fn slices(&self) -> Range<usize> {
        self.slices.clone()
    }

    /// Prepares slice `k`, one of [`slices`](Self::slices).
    ///
    /// # Errors
    ///
    /// None after [`open`] has checked the sample; the signature keeps a mistake from panicking.
    pub fn slice(&self, k: usize) -> Result<PreparedSlice, Error> {
        let prepared = self.recipe.apply(self.image.plane(k));
        let pixels = prepared.map_err(|e| self.non_finite(k, e))?.pixels;
        let mask = match &self.mask {
            Some(mask) => Some(mask.label_plane(k)?),
            None => None,
        };
        let meta = SliceMeta {
            sample: self.sample.id.clone(),
            image: slashed(&self.sample.image),
            patient: self.sample.patient.clone(),
            slice: u32::try_from(k).unwrap_or(u32::MAX),
            view: 0,
            split: self.sample.split,
            labels: self.labels(mask.as_ref()),
            height: u32::try_from(self.image.height()).unwrap_or(u32::MAX),
            width: u32::try_from(self.image.width()).unwrap_or(u32::MAX),
            spacing_mm: self.image.spacing_mm(),
        };
        Ok(PreparedSlice { pixels, meta, mask })
    }

    fn labels(&self, mask: Option<&Mask>) -> Labels {
        match mask {
            Some(mask) if self.dataset.labels_from_mask => {
                let classes = self.dataset.mask_classes.iter();
                let mut present = vec![false; usize::from(u16::MAX) + 1];
                mask.iter()
                    .for_each(|&value| present[usize::from(value)] = true);
                let states = classes.map(|(value, _)| present[usize::from(*value)]);
                Labels::Multi(states.map(|here| Some(i8::from(here))).collect())
            }
            _ => self.sample.labels.clone(),
        }
    }

    fn check_image(&self) -> Result<(), Error> {
        let image = &self.image;
        if image.is_constant(self.slices()) {
            return Err(Error::Constant {
                path: image.path().to_path_buf(),
                value: image.plane(self.slices.start)[[0, 0, 0]],
            });
        }
        if !image.may_be_non_finite() {
            return Ok(());
        }
        self.slices().try_for_each(|k| {
            let plane = image.plane(k);
            self.recipe.check(&plane).map_err(|e| self.non_finite(k, e))
        })
    }

    fn check_mask(&self) -> Result<(), Error> {
        let Some(mask) = &self.mask else {
            return Ok(());
        };
        let shape = |v: &Volume| [v.slices(), v.height(), v.width()];
        if shape(mask) != shape(&self.image) {
            return Err(Error::MaskShape {
                path: mask.path().to_path_buf(),
                found: shape(mask),
                expected: shape(&self.image),
            });
        }
        self.slices()
            .try_for_each(|k| mask.label_plane(k).map(|_| ()))
    }

    fn non_finite(&self, slice: usize, source: NonFinite) -> Error {
        Error::NonFinite {
            path: self.image.path().to_path_buf(),
            slice,
            source,
        }
    }
}

fn slice_range(sample: &Sample, image: &Volume) -> Result<Range<usize>, Error> {
    let Some(range) = &sample.slices else {
        return Ok(0..image.slices());
    };
    let (first, last) = (*range.start() as usize, *range.end() as usize);
    if last < image.slices() {
        return Ok(first..last + 1);
    }
    Err(Error::SliceRange {
        path: image.path().to_path_buf(),
        found: format!("{first}-{last}"),
        slices: image.slices(),
    })
}

pub(crate) fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}
