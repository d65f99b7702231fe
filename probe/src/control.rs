//! What a probe reaches that must not reach much: evaluations in which features or labels say nothing
//! of the image.

use std::collections::BTreeMap;

use cache::{SliceMeta, Split};
use half::f16;
use ndarray::{Array2, Axis, concatenate};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;

use crate::examples::Examples;
use crate::features::{Columns, Tokens};
use crate::random;
use crate::targets::Targets;

/// What is put in the place of features or labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// The labels in random orders: what remains is chance.
    ShuffledLabels {
        /// Number of orders.
        permutations: usize,
    },
    /// Height, width, voxel size and position of a slice, and the number of slices, in the place of
    /// the tokens: what remains is what the acquisition gives away.
    MetadataOnly,
    /// Normal random numbers in the place of the tokens.
    RandomFeatures,
}

impl Control {
    /// The word for it in records.
    pub fn name(self) -> &'static str {
        match self {
            Control::ShuffledLabels { .. } => "shuffled-labels",
            Control::MetadataOnly => "metadata-only",
            Control::RandomFeatures => "random-features",
        }
    }
}

/// The targets of all rows, dealt out anew within each split among its patients (samples, where no
/// patients are known). `number` tells orders of one seed apart.
///
/// A patient gets the targets of another one, example by example, and from the first again if the
/// other has fewer: so the examples of a patient stay as alike as they are.
pub(crate) fn shuffled(examples: &Examples, seed: u64, number: u64) -> Targets {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    let mut source: Vec<usize> = (0..examples.targets.len()).collect();
    for split in Split::ALL {
        let mut patients: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for example in examples.of(&[split]) {
            let patient = examples.cases[example].cluster();
            patients.entry(patient).or_default().push(example);
        }
        let patients: Vec<Vec<usize>> = patients.into_values().collect();
        let mut dealt: Vec<&Vec<usize>> = patients.iter().collect();
        random::shuffle(&mut dealt, &mut rng);
        for (to, from) in patients.iter().zip(dealt) {
            for (&to, &from) in to.iter().zip(from.iter().cycle()) {
                for &row in &examples.rows[to] {
                    source[row] = examples.rows[from][0];
                }
            }
        }
    }
    examples.targets.select(&source)
}

/// Puts random numbers into all features.
pub(crate) fn randomise(examples: &mut Examples, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let draw = || f16::from_f64(random::normal(&mut rng));
    examples.features = Array2::from_shape_simple_fn(examples.features.dim(), draw);
}

/// What the slices' table says of each row, every column of mean 0 and standard deviation 1, in the
/// place of each token.
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
