//! Label maps as runs of equal values.

use common::Mask;

/// A label map `[H, W]` as runs of equal values, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Runs {
    height: usize,
    width: usize,
    /// The pixel after each run, and the value of the run.
    runs: Vec<(u32, u16)>,
}

impl Runs {
    /// The runs of a map of at most 2^32 - 1 pixels.
    pub(super) fn of(mask: &Mask) -> Runs {
        let mut runs: Vec<(u32, u16)> = Vec::new();
        for (at, &value) in mask.iter().enumerate() {
            let end = at as u32 + 1;
            match runs.last_mut() {
                Some(last) if last.1 == value => last.0 = end,
                _ => runs.push((end, value)),
            }
        }
        runs.shrink_to_fit();
        Runs {
            height: mask.nrows(),
            width: mask.ncols(),
            runs,
        }
    }

    /// The values of the runs.
    pub(super) fn values(&self) -> impl Iterator<Item = u16> {
        self.runs.iter().map(|&(_, value)| value)
    }

    /// All pixels `[H, W]`, with values mapped by `translate`.
    pub(super) fn pixels(&self, translate: impl Fn(u16) -> u16) -> Vec<u16> {
        let mut pixels = Vec::with_capacity(self.height * self.width);
        for &(end, value) in &self.runs {
            pixels.resize(end as usize, translate(value));
        }
        pixels
    }

    /// Resizes the map to `[side, side]`, with values mapped by `translate`: each pixel has the value at its
    /// centre, as PyTorch's `nearest-exact`.
    pub(super) fn square(&self, side: usize, translate: impl Fn(u16) -> u16, out: &mut [u16]) {
        let pixels = self.pixels(translate);
        let from = |length: usize| -> Vec<usize> {
            let scale = length as f32 / side as f32;
            let at = |k: usize| (((k as f32 + 0.5) * scale) as usize).min(length - 1);
            (0..side).map(at).collect()
        };
        let (rows, columns) = (from(self.height), from(self.width));
        for (out, row) in out.chunks_exact_mut(side).zip(rows) {
            let pixels = &pixels[row * self.width..][..self.width];
            for (out, &column) in out.iter_mut().zip(&columns) {
                *out = pixels[column];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn runs_keep_every_pixel() {
        let mask = array![[0, 0, 7], [7, 7, 1]];
        let runs = Runs::of(&mask);
        assert_eq!(runs.pixels(|v| v), mask.iter().copied().collect::<Vec<_>>());
        assert_eq!(runs.values().collect::<Vec<_>>(), [0, 7, 1]);
    }

    /// `torch.nn.functional.interpolate(mode="nearest-exact")`.
    #[test]
    fn resizing_takes_the_pixel_at_each_centre() {
        let runs = Runs::of(&array![[1, 2, 3], [4, 5, 6]]);
        let mut out = [0; 16];
        runs.square(4, |v| v, &mut out);
        assert_eq!(out, [1, 2, 2, 3, 1, 2, 2, 3, 4, 5, 5, 6, 4, 5, 5, 6]);
        let mut out = [0];
        runs.square(1, |v| 2 * v, &mut out);
        assert_eq!(out, [10]);
    }
}
