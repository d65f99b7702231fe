//! Decoder of a scan: Annex A.

use super::super::{Failure, Layout};
use super::bits::Bits;
use super::damaged;
use super::scan::{Interleaving, Scan};

/// Orders of runs: one bit stands for `1 << J[RUNindex]` samples.
const J: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13,
    14, 15,
];

/// Statistics of the prediction errors of one context.
#[derive(Clone, Copy)]
struct Context {
    /// Sum of the magnitudes of errors (A).
    sizes: i64,
    /// Sum of errors (B), or in contexts of runs the number of negative errors (Nn).
    bias: i64,
    /// Number of errors (N).
    count: i64,
    /// Correction of predictions (C).
    correction: i32,
}

impl Context {
    /// Order of the Golomb code: the least `k` with `count << k >= sizes` (A.5.1).
    fn order(&self, sizes: i64) -> u32 {
        let mut k = 0;
        while k < 24 && self.count << k < sizes {
            k += 1;
        }
        k
    }

    fn count_one(&mut self, reset: i64) {
        if self.count == reset {
            self.sizes >>= 1;
            self.bias >>= 1;
            self.count >>= 1;
        }
        self.count += 1;
    }

    /// Adds an error: A.6.
    fn update(&mut self, error: i32, near: i32, reset: i64) {
        self.sizes += i64::from(error.abs());
        self.bias += i64::from(error * (2 * near + 1));
        self.count_one(reset);
        if self.bias <= -self.count {
            self.bias = (self.bias + self.count).max(1 - self.count);
            self.correction = (self.correction - 1).max(-128);
        } else if self.bias > 0 {
            self.bias = (self.bias - self.count).min(0);
            self.correction = (self.correction + 1).min(127);
        }
    }
}

/// Samples `[H, W]` of each component of a scan.
pub(super) fn planes(scan: &Scan, layout: &Layout, bytes: &[u8]) -> Result<Vec<Vec<u16>>, Failure> {
    let (components, width) = (scan.components, layout.columns);
    if components > layout.samples {
        return Err(damaged("the JPEG-LS scan has too many components"));
    }
    let mut planes: Vec<Vec<u16>> = (0..components)
        .map(|_| Vec::with_capacity(layout.pixels()))
        .collect();
    // One sample more at both ends of a line: `Ra` and `Rc` of its first sample, `Rd` of its last.
    let mut lines = vec![[vec![0; width + 2], vec![0; width + 2]]; components];
    let mut decoder = Decoder::new(scan, bytes);
    for _ in 0..layout.rows {
        for [above, current] in &mut lines {
            std::mem::swap(above, current);
            above[width + 1] = above[width];
            current[0] = above[1];
        }
        match scan.interleaving {
            Interleaving::Sample => decoder.lines(&mut lines, 0)?,
            _ => {
                for (k, line) in lines.iter_mut().enumerate() {
                    decoder.lines(std::slice::from_mut(line), k)?;
                }
            }
        }
        for (plane, [_, current]) in planes.iter_mut().zip(&lines) {
            plane.extend(current[1..=width].iter().map(|sample| *sample as u16));
        }
    }
    Ok(planes)
}

/// State of the decoder.
pub(super) struct Decoder<'a> {
    scan: &'a Scan,
    bits: Bits<'a>,
    contexts: Vec<Context>,
    /// Contexts of samples that interrupt a run: at a step, and within NEAR of it.
    runs: [Context; 2],
    /// RUNindex of each component.
    run_index: [usize; 4],
}

impl<'a> Decoder<'a> {
    fn new(scan: &'a Scan, bytes: &'a [u8]) -> Decoder<'a> {
        let context = Context {
            sizes: ((scan.range + 32) / 64).max(2).into(),
            bias: 0,
            count: 1,
            correction: 0,
        };
        Decoder {
            scan,
            bits: Bits::of(bytes),
            // One for each three regions whose first that is not 0 is above 0.
            contexts: vec![context; 365],
            runs: [context; 2],
            run_index: [0; 4],
        }
    }

    /// Decodes a line of component number `component`, or of all components sample by sample. Each element
    /// of `lines` is the line above and the current line, with a sample more at both ends.
    fn lines(&mut self, lines: &mut [[Vec<i32>; 2]], component: usize) -> Result<(), Failure> {
        let width = lines[0][0].len() - 2;
        let mut x = 1;
        while x <= width {
            let is_flat = lines.iter().all(|[above, current]| {
                let [d1, d2, d3] = gradients(above, current, x);
                d1.abs().max(d2.abs()).max(d3.abs()) <= self.scan.near
            });
            if is_flat {
                x += self.run(lines, x, component)?;
            } else {
                for [above, current] in lines.iter_mut() {
                    current[x] = self.regular(above, current, x)?;
                }
                x += 1;
            }
        }
        Ok(())
    }

    /// A sample with a gradient that is not 0: A.3 to A.5.
    ///
    /// The regions of the three gradients choose one of 365 contexts; a context and its negative share
    /// one, with inverted errors. The prediction is the median of `Ra`, `Rb` and `Ra + Rb - Rc`, corrected
    /// by the context.
    fn regular(&mut self, above: &[i32], current: &[i32], x: usize) -> Result<i32, Failure> {
        let scan = self.scan;
        let (a, b, c) = (current[x - 1], above[x], above[x - 1]);
        let regions = gradients(above, current, x).map(|gradient| scan.quantized(gradient));
        let index = (regions[0] * 9 + regions[1]) * 9 + regions[2];
        let sign = if index < 0 { -1 } else { 1 };
        let context = &mut self.contexts[index.unsigned_abs() as usize];
        let predicted = if c >= a.max(b) {
            a.min(b)
        } else if c <= a.min(b) {
            a.max(b)
        } else {
            a + b - c
        };
        let predicted = (predicted + sign * context.correction).clamp(0, scan.maxval);
        let k = context.order(context.sizes);
        let mapped = self.bits.golomb(k, scan.limit, scan)?;
        let mut error = unmapped(mapped);
        if scan.near == 0 && k == 0 && 2 * context.bias <= -context.count {
            error = -error - 1;
        }
        context.update(error, scan.near, scan.reset);
        Ok(scan.reconstructed(predicted, sign * error))
    }

    /// A run of equal samples from `x` on and the sample that interrupts it; returns their number: A.7.
    fn run(
        &mut self,
        lines: &mut [[Vec<i32>; 2]],
        x: usize,
        component: usize,
    ) -> Result<usize, Failure> {
        let left = lines[0][0].len() - 1 - x;
        let length = self.run_length(left, component)?;
        for [_, current] in lines.iter_mut() {
            let value = current[x - 1];
            current[x..x + length].fill(value);
        }
        if length == left {
            return Ok(length);
        }
        let at = x + length;
        let is_single = self.scan.interleaving != Interleaving::Sample;
        for [above, current] in lines.iter_mut() {
            let (a, b) = (current[at - 1], above[at]);
            let is_near = is_single && (a - b).abs() <= self.scan.near;
            let error = self.interruption(is_near, component)?;
            let (predicted, sign) = match (is_near, a > b) {
                (true, _) => (a, 1),
                (false, true) => (b, -1),
                (false, false) => (b, 1),
            };
            current[at] = self.scan.reconstructed(predicted, sign * error);
        }
        self.run_index[component] = self.run_index[component].saturating_sub(1);
        Ok(length + 1)
    }

    /// Length of a run, at most `left`.
    fn run_length(&mut self, left: usize, component: usize) -> Result<usize, Failure> {
        let mut length = 0;
        while length < left {
            let order = J[self.run_index[component]];
            if self.bits.take(1)? == 0 {
                length += self.bits.take(order)? as usize;
                return if length < left {
                    Ok(length)
                } else {
                    Err(damaged("a JPEG-LS run is longer than its line"))
                };
            }
            let whole = 1 << order;
            if length + whole <= left {
                self.run_index[component] = (self.run_index[component] + 1).min(J.len() - 1);
            }
            length = (length + whole).min(left);
        }
        Ok(length)
    }

    /// Error of a sample that interrupts a run: A.7.2.
    fn interruption(&mut self, is_near: bool, component: usize) -> Result<i32, Failure> {
        let kind = i32::from(is_near);
        let context = &mut self.runs[usize::from(is_near)];
        let k = context.order(context.sizes + i64::from(kind) * (context.count >> 1));
        let limit = self.scan.limit - J[self.run_index[component]] - 1;
        let mapped = self.bits.golomb(k, limit, self.scan)?;
        let sum = mapped + kind;
        let (size, is_odd) = ((sum + 1) / 2, sum % 2 == 1);
        let negative_if_odd = k != 0 || 2 * context.bias >= context.count;
        let error = if is_odd == negative_if_odd {
            -size
        } else {
            size
        };
        context.bias += i64::from(error < 0);
        context.sizes += i64::from((mapped + 1 - kind) >> 1);
        context.count_one(self.scan.reset);
        Ok(error)
    }
}

/// Gradients of sample `x`: `D1 = Rd - Rb`, `D2 = Rb - Rc`, `D3 = Rc - Ra` (A.3.1).
fn gradients(above: &[i32], current: &[i32], x: usize) -> [i32; 3] {
    let (a, b, c, d) = (current[x - 1], above[x], above[x - 1], above[x + 1]);
    [d - b, b - c, c - a]
}

/// Inverse of the error mapping: 0, 1, 2, 3, 4, … become 0, -1, 1, -2, 2, … (A.5.2).
fn unmapped(mapped: i32) -> i32 {
    match mapped % 2 {
        0 => mapped / 2,
        _ => -(mapped + 1) / 2,
    }
}
