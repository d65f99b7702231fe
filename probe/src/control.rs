//! Negative controls: evaluations without information about the image in features or labels.

use cache::SliceMeta;
use half::f16;
use ndarray::{Array2, Axis, concatenate};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;

use crate::features::{Columns, Tokens};
use crate::random;

/// A negative control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Labels in random order: the result is chance level.
    ShuffledLabels {
        /// Number of random permutations.
        permutations: usize,
    },
    /// Height, width, voxel size and position of a slice, and the number of slices, in place of the
    /// tokens: the result shows what the acquisition alone predicts.
    MetadataOnly,
    /// Normal random numbers in place of the tokens.
    RandomFeatures,
}

impl Control {
    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Control::ShuffledLabels { .. } => "shuffled-labels",
            Control::MetadataOnly => "metadata-only",
            Control::RandomFeatures => "random-features",
        }
    }
}

/// Normal random numbers in place of `features`.
pub(crate) fn randomise(features: &mut Array2<f16>, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let draw = || f16::from_f64(random::normal(&mut rng));
    *features = Array2::from_shape_simple_fn(features.dim(), draw);
}

/// Metadata of the slices of each row, each column with mean 0 and standard deviation 1, in place of each
/// token.
pub(crate) fn metadata(
    slices: &[SliceMeta],
    members: &[Vec<usize>],
    tokens: &Tokens,
) -> (Array2<f16>, Columns) {
    let rows: Vec<[f64; 7]> = members.iter().map(|rows| described(slices, rows)).collect();
    let mut values = Array2::from_shape_fn((rows.len(), 7), |(row, column)| rows[row][column]);
    for mut column in values.columns_mut() {
        let mean = column.mean().unwrap_or(0.0);
        let spread = column.std(0.0);
        column.mapv_inplace(|x| {
            if spread > 0.0 {
                (x - mean) / spread
            } else {
                0.0
            }
        });
    }
    let values = values.mapv(f16::from_f64);
    let columns = Columns {
        cls: vec![values.ncols(); tokens.cls.len()],
        mean: values.ncols() * tokens.mean.len(),
    };
    let copies = vec![values.view(); tokens.cls.len() + tokens.mean.len()];
    let features = concatenate(Axis(1), &copies).unwrap_or_default();
    (features, columns)
}

fn described(slices: &[SliceMeta], rows: &[usize]) -> [f64; 7] {
    let slice = &slices[rows[0]];
    let [z, y, x] = slice.spacing_mm.unwrap_or([0.0; 3]).map(f64::from);
    let size = [slice.height, slice.width, slice.slice].map(f64::from);
    [size[0], size[1], z, y, x, size[2], rows.len() as f64]
}
