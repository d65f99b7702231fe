//! Elementary functions and sums as plain arithmetic, which the compiler turns into vector instructions.

/// Partial sums of a row.
const LANES: usize = 16;

/// `e^x` with a relative error below 2e-7 between -87 and 88, and the value of the nearer end beyond; the
/// polynomial of Cephes' `expf` after a reduction by `ln 2`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// 1.5 · 2^23: the sum's last bits are the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4 * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_5e-2;
    let p = p * r + 1.666_666_6e-1;
    let p = p * r + 0.5;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    (p * r * r + r + 1.0) * power
}

/// Distribution function and density of N(0, 1) (Abramowitz and Stegun 7.1.26, absolute error below 1e-7).
#[inline(always)]
pub(super) fn normal(x: f32) -> (f32, f32) {
    /// `1 / sqrt(2 pi)`
    const PEAK: f32 = 0.398_942_3;
    let t = 1.0 / (1.0 + 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2 * x.abs());
    let p = 1.061_405_4 * t - 1.453_152;
    let p = p * t + 1.421_413_8;
    let p = p * t - 0.284_496_74;
    let p = p * t + 0.254_829_6;
    let power = exp(-0.5 * x * x);
    let tail = 0.5 * p * t * power;
    let below = if x > 0.0 { 1.0 - tail } else { tail };
    (below, PEAK * power)
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The sum of `term(x, y)` over two rows, in an order that depends on their length alone.
#[inline(always)]
pub(super) fn sum_of(x: &[f32], y: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (whole_x, rest_x) = x.as_chunks::<LANES>();
    let (whole_y, rest_y) = y.as_chunks::<LANES>();
    for (x, y) in whole_x.iter().zip(whole_y) {
        for lane in 0..LANES {
            sums[lane] += term(x[lane], y[lane]);
        }
    }
    for ((sum, x), y) in sums.iter_mut().zip(rest_x).zip(rest_y) {
        *sum += term(*x, *y);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0]
}

/// The largest number of a row; NaN counts for nothing.
#[inline(always)]
pub(super) fn largest(x: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        for lane in 0..LANES {
            most[lane] = most[lane].max(x[lane]);
        }
    }
    let rest = rest.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    most.into_iter().fold(rest, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_those_of_double_precision() {
        for i in -870..870 {
            let x = i as f32 / 10.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 3e-7, "{x}");
        }
        assert!(exp(f32::NAN).is_nan());
        // Φ(1.5) and φ(1.5), Φ(-0.3) of SciPy.
        let (below, density) = normal(1.5);
        assert!((below - 0.933_192_8).abs() < 3e-7 && (density - 0.129_517_6).abs() < 3e-7);
        assert!((normal(-0.3).0 - 0.382_088_6).abs() < 3e-7);
    }

    #[test]
    fn sums_have_every_number_once() {
        for length in [0, 1, 15, 16, 17, 50] {
            let x: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let expected = (0..length).map(|i| i * i).sum::<usize>();
            assert_eq!(sum_of(&x, &x, |a, b| a * b), expected as f32);
        }
        assert_eq!(largest(&[-3.0, -1.0, -2.0]), -1.0);
    }
}
