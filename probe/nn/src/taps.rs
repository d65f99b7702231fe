//! Resampling along an axis, and its adjoint.

/// A linear map along an axis: each output is a weighted sum of some inputs, `out[i] = Σ w · in[j]`
/// over the taps `(j, w)` of `i`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Taps {
    /// The taps of output `i` are the entries `starts[i]..starts[i + 1]`.
    starts: Vec<usize>,
    entries: Vec<(usize, f32)>,
    inputs: usize,
}

impl Taps {
    /// The taps of `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`: output `i`
    /// lies at `(i + ½) · input / output − ½`, between two inputs.
    pub(crate) fn bilinear(input: usize, output: usize) -> Self {
        Self::new(input, output, |place| {
            let centre = (place as f64 + 0.5) * input as f64 / output as f64 - 0.5;
            linear(centre.max(0.0))
        })
    }

    /// The taps of `interpolate(mode="bilinear", align_corners=True)`: the first and the last outputs lie
    /// on the first and the last inputs.
    pub(crate) fn aligned(input: usize, output: usize) -> Self {
        Self::new(input, output, |place| {
            let last = output.saturating_sub(1).max(1);
            linear(place as f64 * (input - 1) as f64 / last as f64)
        })
    }

    /// The taps of `interpolate(mode="bicubic", align_corners=False)`: cubic convolution (Keys 1981,
    /// equation 4) with a = −0.75.
    pub(crate) fn bicubic(input: usize, output: usize) -> Self {
        const A: f64 = -0.75;
        let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
        let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
        Self::new(input, output, |place| {
            let centre = (place as f64 + 0.5) * input as f64 / output as f64 - 0.5;
            let (first, t) = (centre.floor() as isize, centre - centre.floor());
            vec![
                (first - 1, far(t + 1.0)),
                (first, near(t)),
                (first + 1, near(1.0 - t)),
                (first + 2, far(2.0 - t)),
            ]
        })
    }

    /// The taps that `taps` gives for each output; places beyond an end count as the end.
    fn new(inputs: usize, outputs: usize, taps: impl Fn(usize) -> Vec<(isize, f64)>) -> Self {
        assert!(inputs > 0 && outputs > 0);
        let rows = (0..outputs).map(|place| {
            let mut row: Vec<(usize, f64)> = Vec::new();
            for (from, weight) in taps(place) {
                let from = from.clamp(0, inputs as isize - 1) as usize;
                match row.iter_mut().find(|(other, _)| *other == from) {
                    Some((_, sum)) => *sum += weight,
                    None => row.push((from, weight)),
                }
            }
            row.retain(|(_, weight)| *weight != 0.0);
            row.into_iter().map(|(from, weight)| (from, weight as f32))
        });
        Self::of_rows(inputs, rows)
    }

    fn of_rows(
        inputs: usize,
        rows: impl IntoIterator<Item: IntoIterator<Item = (usize, f32)>>,
    ) -> Self {
        let mut result = Self {
            starts: vec![0],
            entries: Vec::new(),
            inputs,
        };
        for row in rows {
            result.entries.extend(row);
            result.starts.push(result.entries.len());
        }
        result
    }

    /// The taps that carry a gradient of the output back to the input.
    pub(crate) fn adjoint(&self) -> Self {
        let mut rows = vec![Vec::new(); self.inputs];
        for place in 0..self.outputs() {
            for &(from, weight) in self.of(place) {
                rows[from].push((place, weight));
            }
        }
        Self::of_rows(self.outputs(), rows)
    }

    /// The length of the output.
    pub(crate) fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    /// The length of the input.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// The taps of an output.
    #[inline(always)]
    pub(crate) fn of(&self, place: usize) -> &[(usize, f32)] {
        &self.entries[self.starts[place]..self.starts[place + 1]]
    }

    /// Applies the taps along a row of pixels of `channels` numbers. Pixels of `out` are `stride`
    /// numbers apart.
    #[inline(always)]
    pub(crate) fn along(&self, row: &[f32], channels: usize, out: &mut [f32], stride: usize) {
        if channels == 1 && stride == 1 {
            for (place, out) in out[..self.outputs()].iter_mut().enumerate() {
                *out = self.of(place).iter().map(|&(from, w)| row[from] * w).sum();
            }
            return;
        }
        for place in 0..self.outputs() {
            let out = &mut out[place * stride..][..channels];
            weighted_sum(
                self.of(place),
                #[inline(always)]
                |from| &row[from * channels..][..channels],
                out,
            );
        }
    }
}

/// The two places around `centre` and their shares.
fn linear(centre: f64) -> Vec<(isize, f64)> {
    let (first, t) = (centre.floor() as isize, centre - centre.floor());
    vec![(first, 1.0 - t), (first + 1, t)]
}

/// `out = Σ weight · row(from)` over `taps`, two at a time: half as many passes over `out`.
#[inline(always)]
pub(crate) fn weighted_sum<'a>(
    taps: &[(usize, f32)],
    row: impl Fn(usize) -> &'a [f32],
    out: &mut [f32],
) {
    let mut rest = taps;
    let mut fresh = true;
    while !rest.is_empty() || fresh {
        match *rest {
            [(a, s), (b, t), ..] => {
                let (a, b) = (row(a), row(b));
                if fresh {
                    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                        *out = a * s + b * t;
                    }
                } else {
                    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                        *out += a * s + b * t;
                    }
                }
                rest = &rest[2..];
            }
            [(a, s)] => {
                let a = row(a);
                if fresh {
                    for (out, a) in out.iter_mut().zip(a) {
                        *out = a * s;
                    }
                } else {
                    for (out, a) in out.iter_mut().zip(a) {
                        *out += a * s;
                    }
                }
                rest = &[];
            }
            [] => out.fill(0.0),
        }
        fresh = false;
    }
}
