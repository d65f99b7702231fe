//! Interpolation of position tables for other input sizes than that of the training.
//!
//! All implementations use PyTorch's `interpolate(mode="bicubic", align_corners=False)`, but with other
//! scales or antialiasing. These differences exceed the error of an export, so each is followed exactly.

use ndarray::{Array3, ArrayView3, Axis};
use serde::{Deserialize, Serialize};

/// The interpolation of a position table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positions {
    /// As in torch.hub's DINOv2 without registers, and in the study: by the scale factor
    /// `(grid + 0.1) / native`, which shifts the sampling points slightly.
    Hub,
    /// As in Hugging Face's models: to the size.
    Hf,
    /// As in timm's models and torch.hub's DINOv2 with registers: to the size, with antialiasing.
    Timm,
}

impl Positions {
    /// Resizes the table `[native, native, D]` to `[grid, grid, D]`: rows first, then columns, in f64.
    pub fn resized(self, table: ArrayView3<'_, f32>, grid: usize) -> Array3<f32> {
        let native = table.len_of(Axis(0));
        if native == grid {
            return table.to_owned();
        }
        let scale = match self {
            Positions::Hub => native as f64 / (grid as f64 + 0.1),
            Positions::Hf | Positions::Timm => native as f64 / grid as f64,
        };
        let taps: Vec<_> = (0..grid)
            .map(|target| match self {
                Positions::Hub | Positions::Hf => cubic_taps(target, scale, native),
                Positions::Timm => antialiased_taps(target, scale, native),
            })
            .collect();
        let table = table.mapv(f64::from);
        let rows = along(&table, Axis(0), &taps);
        along(&rows, Axis(1), &taps).mapv(|value| value as f32)
    }
}

/// Source indices and weights of one target index.
type Taps = Vec<(usize, f64)>;

/// Interpolates one axis: `result[i] = sum of weight * table[source]` over the taps of `i`.
fn along(table: &Array3<f64>, axis: Axis, taps: &[Taps]) -> Array3<f64> {
    let mut shape = table.raw_dim();
    shape[axis.index()] = taps.len();
    let mut result = Array3::zeros(shape);
    for (mut target, taps) in result.axis_iter_mut(axis).zip(taps) {
        for &(source, weight) in taps {
            target.scaled_add(weight, &table.index_axis(axis, source));
        }
    }
    result
}

/// The four taps of PyTorch's bicubic interpolation (`a = -0.75`); the edge is repeated beyond itself.
fn cubic_taps(target: usize, scale: f64, native: usize) -> Taps {
    let centre = (target as f64 + 0.5) * scale - 0.5;
    let base = centre.floor();
    let tap = |k: f64| {
        let source = (base + k).clamp(0.0, native as f64 - 1.0) as usize;
        (source, cubic((centre - base - k).abs(), -0.75))
    };
    [-1.0, 0.0, 1.0, 2.0].map(tap).to_vec()
}

/// The taps of PyTorch's antialiased bicubic interpolation (`a = -0.5`): all that the kernel covers, widened by
/// the reduction, with weights that add up to 1; none beyond the edge.
fn antialiased_taps(target: usize, scale: f64, native: usize) -> Taps {
    let widening = scale.max(1.0);
    let (centre, support) = ((target as f64 + 0.5) * scale, 2.0 * widening);
    let first = (centre - support + 0.5).max(0.0) as usize;
    let end = ((centre + support + 0.5) as usize).min(native);
    let weight = |source: usize| cubic((source as f64 - centre + 0.5).abs() / widening, -0.5);
    let total: f64 = (first..end).map(weight).sum();
    (first..end).map(|s| (s, weight(s) / total)).collect()
}

/// The cubic convolution kernel (Keys 1981) at a distance `x >= 0`.
fn cubic(x: f64, a: f64) -> f64 {
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_table_stays_constant_at_every_size() {
        let table = Array3::from_elem((37, 37, 2), 3.5);
        for positions in [Positions::Hub, Positions::Hf, Positions::Timm] {
            for grid in [1, 16, 37, 64] {
                let resized = positions.resized(table.view(), grid);
                assert_eq!(resized.dim(), (grid, grid, 2));
                assert!(
                    resized.iter().all(|v| (v - 3.5).abs() < 1e-6),
                    "{positions:?}"
                );
            }
        }
    }

    #[test]
    fn rows_and_columns_are_not_swapped() {
        let table = Array3::from_shape_fn((4, 4, 1), |(row, _, _)| row as f32);
        let resized = Positions::Hf.resized(table.view(), 8);
        assert!(
            resized
                .index_axis(Axis(0), 0)
                .iter()
                .all(|&v| v == resized[[0, 0, 0]])
        );
        assert!(resized[[7, 0, 0]] > resized[[0, 0, 0]]);
    }
}
