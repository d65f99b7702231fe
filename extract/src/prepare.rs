//! From a sample to slices ready for the backbone.

mod error;
mod masks;
mod oddities;

use std::ops::{Range, RangeInclusive};
use std::path::Path;

use cache::SliceMeta;
use common::Mask;
use common::text::slashed;
use imaging::preprocess::{
    Bounds, LARGEST, NonFinite, NonFinitePolicy, Preprocess, Range as Kept, Slicing, View,
};
use imaging::read::{Reader, SampleBudget, Source, Volume};
use ndarray::Array3;
use sha2::{Digest, Sha256};

pub use self::error::SampleError;
use crate::Error;
use crate::dataset::{Dataset, Recipe, Sample, SampleOddities};

/// Preprocessing by a dataset's recipe for a model of `image_size` pixels with `mean` and `std` per
/// channel. Values that are not finite are refused, and there are no augmented views.
pub fn preprocess(recipe: &Recipe, image_size: u32, mean: [f32; 3], std: [f32; 3]) -> Preprocess {
    Preprocess {
        image_size,
        slicing: recipe.slicing,
        intensity: recipe.intensity,
        resize: recipe.resize,
        rescale: recipe.rescale,
        mean,
        std,
        non_finite: NonFinitePolicy::default(),
        views: None,
    }
}

/// One slice ready for the backbone.
#[derive(Debug)]
pub struct PreparedSlice {
    /// `[3, S, S]`.
    pub pixels: Array3<f32>,
    /// Row in the cache.
    pub meta: SliceMeta,
    /// Label map at native resolution, if the sample has one.
    pub mask: Option<Mask>,
}

/// A label map, or a binary mask and its label.
type Part = (Volume, Option<u16>);

/// An opened sample after all checks: preparing its slices cannot fail.
pub struct PreparedSample<'a> {
    dataset: &'a Dataset,
    sample: &'a Sample,
    recipe: &'a Preprocess,
    image: Volume,
    mask: Vec<Part>,
    slices: Range<usize>,
    /// Range of intensities, if it is that of the whole volume.
    bounds: Option<Bounds>,
    oddities: SampleOddities,
    /// Sorted values in the masks that become [`IGNORED`].
    ignored: Vec<u16>,
    /// The last field, so that it is dropped after the memory that it counts.
    budget: SampleBudget<'a>,
}

/// Reads the files of a sample and checks every slice, so that a damaged sample gives no slices at all
/// rather than some. `index` numbers the samples that are read, from 0, without gaps.
///
/// # Errors
///
/// Those of [`Reader::volume`] and [`Volume::cut`], [`SampleError::SliceRange`] and
/// [`SampleError::SlicesOfAnotherPlane`] if the sample names slices that do not exist,
/// [`SampleError::MaskShape`] and [`imaging::Error::MaskOrientation`] if image and mask differ,
/// [`SampleError::Constant`] if all pixels are equal, [`FileError::TooLarge`](common::FileError::TooLarge),
/// [`SampleError::NonFinite`], [`imaging::Error::LabelValue`], [`SampleError::UnnamedLabels`],
/// [`SampleError::NotBinary`] and [`SampleError::LossyMask`].
pub fn open<'a>(
    reader: &'a Reader,
    index: usize,
    dataset: &'a Dataset,
    sample: &'a Sample,
    recipe: &'a Preprocess,
) -> Result<PreparedSample<'a>, Error> {
    let budget = reader.budget(index);
    let image = reader.image_in(&budget, &sample.image)?;
    let (mask, mut oddities) = masks::open(reader, &budget, sample, &image, recipe.slicing)?;
    oddities.kinds = oddities::of_image(sample, &image, recipe);
    if sample.slices.is_some() && recipe.slicing != Slicing::StoredKXy {
        return Err(SampleError::SlicesOfAnotherPlane {
            path: image.path().to_path_buf(),
            slicing: recipe.slicing,
        }
        .into());
    }
    let image = cut(image, recipe.slicing, &budget)?;
    let slices = slice_range(sample, &image)?;
    let mut opened = PreparedSample {
        dataset,
        sample,
        recipe,
        image,
        mask,
        slices,
        bounds: None,
        oddities,
        ignored: Vec::new(),
        budget,
    };
    opened.take_plane()?;
    opened.check_image()?;
    opened.check_mask_shapes()?;
    opened.check_binary()?;
    opened.check_labels()?;
    opened.bounds = opened.volume_bounds()?;
    Ok(opened)
}

/// The volume cut along `slicing`; its memory is taken from the budget.
fn cut(volume: Volume, slicing: Slicing, budget: &SampleBudget) -> Result<Volume, Error> {
    let bytes = volume.cut_bytes(slicing);
    budget
        .take(volume.path(), "slices cut in another plane", bytes)?
        .keep();
    Ok(volume.cut(slicing)?)
}

impl PreparedSample<'_> {
    /// Positions of the slices along the slicing axis.
    pub fn slices(&self) -> Range<usize> {
        self.slices.clone()
    }

    /// Oddities of image and masks.
    pub(crate) fn oddities(&self) -> &SampleOddities {
        &self.oddities
    }

    /// Views of each slice: 0 for the plain one, then the augmented ones.
    pub fn views(&self) -> RangeInclusive<u16> {
        0..=self.recipe.views.map_or(0, |views| views.count)
    }

    /// Prepares view `view` of slice `k`, one of [`slices`](Self::slices).
    ///
    /// # Errors
    ///
    /// None, since [`open`] has checked the sample.
    pub fn slice(&self, k: usize, view: u16) -> Result<PreparedSlice, Error> {
        let is_shown = self.recipe.intensity.range == Kept::Voi;
        let plane = if is_shown {
            self.image.shown(k)
        } else {
            self.image.plane(k)
        };
        let named = self.image.window(k).filter(|_| is_shown);
        let bounds = self.bounds.or(named);
        let pixels = self
            .recipe
            .apply(plane, bounds, &self.transform(k, view))
            .map_err(|e| self.non_finite(k, e))?;
        let (meta, mask) = self.described(k, view)?;
        Ok(PreparedSlice { pixels, meta, mask })
    }

    /// The row of view `view` of slice `k` in a cache, and its mask.
    ///
    /// # Errors
    ///
    /// As [`slice`](Self::slice).
    pub(crate) fn described(
        &self,
        k: usize,
        view: u16,
    ) -> Result<(SliceMeta, Option<Mask>), Error> {
        let [_, height, width] = self.image.shape(k);
        let mask = self.mask(k)?.map(|mask| match view {
            0 => mask,
            _ => self.transform(k, view).of_mask(&mask),
        });
        let meta = SliceMeta {
            sample: self.sample.id.clone(),
            image: self.shown_path(k),
            patient: self.sample.patient.clone(),
            slice: u32::try_from(k).unwrap_or(u32::MAX),
            view,
            split: self.sample.split,
            labels: self.labels(mask.as_ref()),
            height: u32::try_from(height).unwrap_or(u32::MAX),
            width: u32::try_from(width).unwrap_or(u32::MAX),
            spacing_mm: self.image.spacing_mm(),
            placement: self.image.placement().filter(|_| view == 0),
        };
        Ok((meta, mask))
    }

    /// The augmentation of a view.
    fn transform(&self, k: usize, view: u16) -> View {
        let [_, height, width] = self.image.shape(k);
        let slice = u32::try_from(k).unwrap_or(u32::MAX);
        match self.recipe.views {
            Some(views) if view > 0 => views.draw(&self.sample.id, slice, view, height, width),
            _ => View::default(),
        }
    }

    /// SHA-256 of the sizes and stored pixels of all slices, in hex; equal for copies of an image.
    pub fn pixels_sha256(&self) -> String {
        let mut hash = Sha256::new();
        for k in self.slices() {
            for length in self.image.shape(k) {
                hash.update((length as u64).to_le_bytes());
            }
            hash.update(self.image.bytes(k));
        }
        common::hex(&hash.finalize())
    }

    /// File of slice `k` as in the cache.
    fn shown_path(&self, k: usize) -> String {
        let path = slashed(self.file_of(k));
        let pseudonyms = self.dataset.pseudonyms.as_ref();
        pseudonyms.map_or(path.clone(), |pseudonyms| pseudonyms.path(&path))
    }

    /// File of slice `k`, relative to the dataset's root.
    fn file_of(&self, k: usize) -> &Path {
        match &self.sample.image {
            Source::Stack(_) => {
                let file = self.image.file_of(k);
                file.strip_prefix(&self.dataset.root).unwrap_or(file)
            }
            source => source.file(),
        }
    }

    /// Range of intensities of the whole volume, if the recipe uses it.
    fn volume_bounds(&self) -> Result<Option<Bounds>, Error> {
        let intensity = self.recipe.intensity;
        let image = &self.image;
        let window = image.window(self.slices.start);
        if !intensity.per_volume {
            return Ok(None);
        }
        if intensity.range == Kept::Voi && window.is_some() {
            return Ok(window);
        }
        let sizes = (0..image.slices()).map(|k| image.shape(k).iter().product::<usize>());
        let total = sizes.sum::<usize>();
        let (path, bytes) = (image.path(), (total * size_of::<f32>()) as u64);
        let what = "the range of the volume's intensities (`:volume`)";
        let _taken = self.budget.take(path, what, bytes)?;
        let mut values = Vec::with_capacity(total);
        for k in 0..image.slices() {
            let plane = image.plane(k);
            let stored = plane.as_slice().unwrap_or_default().iter();
            values.extend(stored.filter(|value| value.abs() < LARGEST));
        }
        Ok(Some(intensity.bounds(&mut values, window)))
    }

    /// Takes memory for a decoded slice and one computed from it.
    fn take_plane(&self) -> Result<(), Error> {
        let image = &self.image;
        let sizes = self.slices().map(|k| image.shape(k).iter().product());
        let largest: usize = sizes.max().unwrap_or_default();
        let bytes = (2 * largest * size_of::<f32>()) as u64;
        self.budget.take(image.path(), "a slice", bytes)?.keep();
        Ok(())
    }

    fn check_image(&self) -> Result<(), Error> {
        let image = &self.image;
        if image.is_constant(self.slices()) {
            return Err(SampleError::Constant {
                path: image.path().to_path_buf(),
                value: image.plane(self.slices.start)[[0, 0, 0]],
            }
            .into());
        }
        self.slices().try_for_each(|k| {
            let total = image.shape(k).iter().product();
            let unusable = image.count_unusable(k, LARGEST);
            let checked = self.recipe.check(unusable, total);
            checked.map_err(|e| self.non_finite(k, e))
        })
    }

    fn non_finite(&self, slice: usize, source: NonFinite) -> Error {
        SampleError::NonFinite {
            path: self.image.path().to_path_buf(),
            slice,
            source,
        }
        .into()
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
    Err(SampleError::SliceRange {
        path: image.path().to_path_buf(),
        found: format!("{first}-{last}"),
        slices: image.slices(),
    }
    .into())
}

#[cfg(test)]
mod tests;
