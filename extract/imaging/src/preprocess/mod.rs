//! Preprocessing from voxels to a model's pixels.

mod intensity;
mod resize;
mod slicing;
mod views;

use common::{Picture, counted};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis, s};
use serde::{Deserialize, Serialize};

pub use intensity::{BadIntensity, Bounds, Intensity, Range, WINDOWS};
pub use slicing::Slicing;
pub use views::{Augment, View, Views};

/// Magnitude from which a value counts as not finite, since interpolation could overflow.
pub const LARGEST: f32 = 1e30;

/// Ratio of the range of values to their magnitude below which there is no contrast, only rounding.
const FLAT: f32 = 1e-6;

/// Recipe from a slice to the pixels of a model; part of a cache's `meta.json`.
///
/// The order is: values that are not finite, clipping of intensities, cropping, resizing, flips and
/// rotation, rescaling, normalisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Height and width `S` of the result, in pixels.
    pub image_size: u32,
    /// Plane of slices.
    pub slicing: Slicing,
    /// Range of intensities.
    pub intensity: Intensity,
    /// Resizing to `image_size`.
    pub resize: Resize,
    /// Rescaling of intensities to 0..=1.
    pub rescale: Rescale,
    /// Subtracted from each channel after rescaling.
    pub mean: [f32; 3],
    /// Divides each channel after `mean` is subtracted.
    pub std: [f32; 3],
    /// Treatment of NaN and infinity.
    pub non_finite: NonFinitePolicy,
    /// The augmented views; `None` for the plain slice only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub views: Option<Views>,
}

/// Resizing to the model's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Bicubic (a = -0.75) without antialiasing, to a square whatever the aspect ratio.
    #[default]
    BicubicSquash,
    /// `bicubic-squash` to 8/7 of the size (256 for 224), then a central crop, as in the study for
    /// nearest neighbours.
    BicubicSquashCrop,
}

impl Resize {
    /// The channel `[H, W]` as `[size, size]`.
    fn apply(self, channel: ArrayView2<f32>, size: usize) -> Array2<f32> {
        match self {
            Resize::BicubicSquash => resize::bicubic(channel, size),
            Resize::BicubicSquashCrop => {
                let side = size * 8 / 7;
                // As torchvision's `CenterCrop` rounds.
                let first = ((side - size) as f64 / 2.0).round_ties_even() as usize;
                let middle = first..first + size;
                let squashed = resize::bicubic(channel, side);
                squashed.slice(s![middle.clone(), middle]).to_owned()
            }
        }
    }
}

/// Rescaling of intensities to 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Rescale {
    /// By the least and greatest value of each channel after resizing.
    #[default]
    #[serde(rename = "min-max-per-channel")]
    MinMaxPerChannel,
    /// By the ends of the range of intensities, so that equal intensities stay equal in all slices.
    #[serde(rename = "bounds")]
    Bounds,
}

/// Mean and standard deviation for the normalisation of channels in 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Normalise {
    /// Mean and standard deviation that the model was trained with.
    #[default]
    Model,
    /// Mean and standard deviation of ImageNet for every model, as in the study.
    Imagenet,
}

/// Treatment of values that are NaN, infinite or beyond 1e30.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NonFinitePolicy {
    /// An error.
    #[default]
    Error,
    /// 0 instead.
    Zero,
}

/// A slice holds values that are NaN, infinite or beyond 1e30.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not finite: {count} of {}\nhint: `--non-finite zero` sets such values to 0",
    counted(*total, "value")
)]
pub struct NonFinite {
    /// Number of such values.
    pub count: usize,
    /// Number of all values.
    pub total: usize,
}

impl Preprocess {
    /// Pixels `[3, S, S]` of `view` of a slice `[1, H, W]` or `[3, H, W]`, `H` and `W` at least 1.
    ///
    /// A grey slice gives three equal channels, each normalised with its own mean and std; a channel
    /// without contrast is 0 before that. `bounds` is the range of intensities if it is known, else that
    /// of the slice is computed.
    ///
    /// # Errors
    ///
    /// [`NonFinite`] if the slice holds NaN or infinity and `non_finite` is
    /// [`NonFinitePolicy::Error`].
    ///
    /// # Panics
    ///
    /// If the slice has no pixels or another number of channels.
    pub fn apply(
        &self,
        mut plane: Array3<f32>,
        bounds: Option<Bounds>,
        view: &View,
    ) -> Result<Array3<f32>, NonFinite> {
        let channels = plane.len_of(Axis(0));
        assert!(channels == 1 || channels == 3, "{channels} channels");
        self.handle_non_finite(&mut plane)?;
        let bounds = bounds.unwrap_or_else(|| self.bounds(&plane));
        self.intensity.clip(&mut plane, bounds);
        let scaled: Vec<Option<Array2<f32>>> = plane
            .outer_iter()
            .map(|channel| self.rescaled(channel, bounds, view))
            .collect();
        let size = self.image_size as usize;
        let mut pixels = Array3::zeros((3, size, size));
        for (k, mut out) in pixels.outer_iter_mut().enumerate() {
            let (mean, std) = (self.mean[k], self.std[k]);
            match &scaled[k.min(channels - 1)] {
                Some(values) => out.zip_mut_with(values, |out, v| *out = (v - mean) / std),
                None => out.fill(-mean / std),
            }
        }
        Ok(pixels)
    }

    /// Pixels `[3, S, S]` of [`apply`](Self::apply) as a picture `[S, S]`: the mean of the channels before
    /// normalisation, with 0 as black and 1 as white.
    pub fn picture(&self, pixels: ArrayView3<f32>) -> Picture {
        let (_, height, width) = pixels.dim();
        let mut sums = Array2::<f32>::zeros((height, width));
        for (channel, (mean, std)) in pixels.outer_iter().zip(self.mean.iter().zip(self.std)) {
            sums.zip_mut_with(&channel, |sum, value| *sum += value * std + mean);
        }
        // `as` clamps to 0..=255.
        sums.mapv(|sum| (sum / 3.0 * 255.0).round() as u8)
    }

    /// Range of intensities of a slice of finite values.
    fn bounds(&self, plane: &Array3<f32>) -> Bounds {
        let is_needless = self.intensity.is_fixed()
            || self.intensity.range == Range::MinMax && self.rescale == Rescale::MinMaxPerChannel;
        let mut values = if is_needless {
            Vec::new()
        } else {
            plane.iter().copied().collect()
        };
        self.intensity.bounds(&mut values, None)
    }

    /// Checks the number of values that are not finite, `count` of `total`.
    ///
    /// # Errors
    ///
    /// [`NonFinite`] if there is any and `non_finite` is [`NonFinitePolicy::Error`].
    pub fn check(&self, count: usize, total: usize) -> Result<(), NonFinite> {
        if count > 0 && self.non_finite == NonFinitePolicy::Error {
            Err(NonFinite { count, total })
        } else {
            Ok(())
        }
    }

    fn handle_non_finite(&self, plane: &mut Array3<f32>) -> Result<(), NonFinite> {
        let count = match plane.as_slice() {
            Some(values) => count_unusable(values),
            None => plane.iter().filter(|value| !usable(**value)).count(),
        };
        self.check(count, plane.len())?;
        if count > 0 {
            plane.mapv_inplace(|v| if usable(v) { v } else { 0.0 });
        }
        Ok(())
    }

    /// The channel resized and rescaled to 0..=1, or `None` if it has no contrast.
    fn rescaled(
        &self,
        channel: ArrayView2<f32>,
        bounds: Bounds,
        view: &View,
    ) -> Option<Array2<f32>> {
        let channel = view.cropped(channel);
        if self.rescale == Rescale::MinMaxPerChannel {
            contrast(channel)?;
        }
        let mut resized = self.resize.apply(channel, self.image_size as usize);
        if view.turns() {
            resized = view.turned(&resized, self.outside(bounds));
        }
        match self.rescale {
            Rescale::MinMaxPerChannel => {
                let (low, range) = contrast(resized.view())?;
                resized.mapv_inplace(|value| (value - low) / range);
            }
            Rescale::Bounds => {
                let Bounds { low, high } = bounds;
                let range = high - low;
                if range <= FLAT * low.abs().max(high.abs()) {
                    return None;
                }
                resized.mapv_inplace(|value| ((value - low) / range).clamp(0.0, 1.0));
            }
        }
        Some(resized)
    }

    /// Intensity outside of the image: 0 as in the study, or the lower end of the range.
    fn outside(&self, bounds: Bounds) -> f32 {
        match self.rescale {
            Rescale::MinMaxPerChannel => 0.0,
            Rescale::Bounds => bounds.low,
        }
    }
}

fn usable(value: f32) -> bool {
    value.abs() < LARGEST
}

fn count_unusable(values: &[f32]) -> usize {
    // Counted in 32 bits, the width of a value, so that the compiler vectorises. Chunks are short enough
    // for the sums not to overflow.
    let chunks = values.chunks(u16::MAX.into());
    let counts = chunks.map(|chunk| chunk.iter().map(|v| u32::from(!usable(*v))).sum::<u32>());
    counts.map(|count| count as usize).sum()
}

/// Least value and range, or `None` if the range is rounding only.
fn contrast(values: ArrayView2<f32>) -> Option<(f32, f32)> {
    let values = values.as_standard_layout();
    let (low, high) = extremes(values.as_slice().unwrap_or_default());
    let range = high - low;
    (range > FLAT * low.abs().max(high.abs())).then_some((low, range))
}

/// Least and greatest value. Sixteen independent lanes, which the compiler keeps in vector registers,
/// are reduced at the end.
fn extremes(values: &[f32]) -> (f32, f32) {
    const LANES: usize = 16;
    let mut low = [f32::INFINITY; LANES];
    let mut high = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            low[lane] = low[lane].min(chunk[lane]);
            high[lane] = high[lane].max(chunk[lane]);
        }
    }
    let low = low
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::INFINITY, f32::min);
    let high = high
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, f32::max);
    (low, high)
}

#[cfg(test)]
mod tests;
