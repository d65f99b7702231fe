//! Weighted least squares of the inverse power law.

use super::Curve;

/// A mean error with its weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) n: f64,
    pub(super) error: f64,
    pub(super) deviation: f64,
}

/// The exponents that are searched: below, the curve is a logarithm; above, a step.
const EXPONENTS: [f64; 2] = [0.01, 10.0];
/// Exponents tried, at equal ratios, before the best is refined.
const TRIED: usize = 150;

/// A curve with its sum of squares, and the slope of that by the exponent.
struct Tried {
    curve: Curve,
    squares: f64,
    slope: f64,
}

/// The curve of least weighted squares with `floor >= 0` and `scale >= 0`, or the end of the range of exponents
/// at which the best lies.
///
/// Given the exponent, the other two parameters are linear; the exponent is where the slope of the remaining
/// squares changes its sign next to the best of a grid (variable projection, Golub and Pereyra 1973). The
/// optimum is global to the resolution of the grid, whatever the start.
pub(super) fn law(points: &[Point]) -> Result<Curve, f64> {
    let [least, most] = EXPONENTS;
    let ratio = (most / least).ln() / (TRIED - 1) as f64;
    let exponent = |at: usize| least * (ratio * at as f64).exp();
    let tried: Vec<Tried> = (0..TRIED).map(|at| given(points, exponent(at))).collect();
    let best = (0..TRIED).min_by(|&a, &b| tried[a].squares.total_cmp(&tried[b].squares));
    let best = best.unwrap_or(0);
    if best == 0 || best == TRIED - 1 || tried[best].curve.scale <= 0.0 {
        return Err(tried[best].curve.exponent);
    }
    let (mut low, mut high) = (exponent(best - 1), exponent(best + 1));
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if given(points, middle).slope < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(given(points, (low + high) / 2.0).curve)
}

/// The best curve of an exponent.
fn given(points: &[Point], exponent: f64) -> Tried {
    // In relation to the middle of the sizes, powers are near 1.
    let middle = points.iter().map(|point| point.n.ln()).sum::<f64>() / points.len() as f64;
    let power = |point: &Point| ((middle - point.n.ln()) * exponent).exp();
    let weight = |point: &Point| point.deviation.powi(-2);
    let (mut all, mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for point in points {
        let (w, p) = (weight(point), power(point));
        all += w;
        x += w * p;
        y += w * point.error;
        xx += w * p * p;
        xy += w * p * point.error;
    }
    let scale = (all * xy - x * y) / (all * xx - x * x);
    let floor = (y - scale * x) / all;
    let (floor, scale) = if scale <= 0.0 || !scale.is_finite() {
        (y / all, 0.0)
    } else if floor < 0.0 {
        (0.0, xy / xx)
    } else {
        (floor, scale)
    };
    let (mut squares, mut slope) = (0.0, 0.0);
    for point in points {
        let part = scale * power(point);
        let rest = point.error - floor - part;
        squares += weight(point) * rest * rest;
        slope += 2.0 * weight(point) * rest * part * (point.n.ln() - middle);
    }
    Tried {
        curve: Curve {
            floor,
            scale: scale * (middle * exponent).exp(),
            exponent,
        },
        squares,
        slope,
    }
}
