//! Parameters of a scan.

use super::super::Failure;
use super::{cut_short, damaged, unsupported};

/// MAXVAL, T1, T2, T3 and RESET of a file; 0 for the default of the standard.
#[derive(Clone, Copy)]
pub(super) struct Preset([i32; 5]);

impl Preset {
    pub(super) fn of(content: &[u8]) -> Result<Preset, Failure> {
        match content.split_first() {
            Some((1, rest)) => {
                let numbers: [u8; 10] = *rest.first_chunk().ok_or_else(cut_short)?;
                let (numbers, _) = numbers.as_chunks::<2>();
                let mut preset = [0; 5];
                for (value, bytes) in preset.iter_mut().zip(numbers) {
                    *value = u16::from_be_bytes(*bytes).into();
                }
                Ok(Preset(preset))
            }
            Some((2 | 3, _)) => Err(unsupported("mapping tables")),
            _ => Err(unsupported("sizes beyond 65,535")),
        }
    }
}

/// Order of the samples of several components in a scan.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Interleaving {
    None,
    Line,
    Sample,
}

/// The parameters of a scan.
pub(super) struct Scan {
    pub(super) components: usize,
    pub(super) interleaving: Interleaving,
    pub(super) near: i32,
    pub(super) maxval: i32,
    pub(super) thresholds: [i32; 3],
    pub(super) reset: i64,
    pub(super) range: i32,
    pub(super) qbpp: u32,
    pub(super) limit: u32,
}

impl Scan {
    /// Reads the header of a scan of samples of `bits`.
    pub(super) fn of(content: &[u8], bits: u32, preset: Option<Preset>) -> Result<Scan, Failure> {
        let components = usize::from(*content.first().ok_or_else(cut_short)?);
        let rest = content.get(1 + 2 * components..).ok_or_else(cut_short)?;
        let [near, interleaving, transform] = *rest.first_chunk().ok_or_else(cut_short)?;
        let interleaving = match (interleaving, components) {
            (0, 1) => Interleaving::None,
            (1, 1..=4) => Interleaving::Line,
            (2, 1..=4) => Interleaving::Sample,
            _ => return Err(damaged("the JPEG-LS scan's interleaving is wrong")),
        };
        if transform != 0 {
            return Err(unsupported("a point transform"));
        }
        let preset = preset.map_or([0; 5], |Preset(preset)| preset);
        let or = |value: i32, default: i32| if value == 0 { default } else { value };
        let (near, greatest) = (i32::from(near), (1 << bits) - 1);
        let maxval = or(preset[0], greatest);
        let defaults = default_thresholds(maxval, near);
        let thresholds = [0, 1, 2].map(|k| or(preset[k + 1], defaults[k]));
        let [t1, t2, t3] = thresholds;
        let reset = or(preset[4], 64);
        let makes_sense = maxval <= greatest && near <= maxval / 2 && near < t1;
        if !(makes_sense && t1 <= t2 && t2 <= t3 && t3 <= maxval && reset >= 3) {
            return Err(damaged("the JPEG-LS parameters make no sense"));
        }
        let range = (maxval + 2 * near) / (2 * near + 1) + 1;
        let bpp = bits_of(maxval + 1).max(2);
        Ok(Scan {
            components,
            interleaving,
            near,
            maxval,
            thresholds,
            reset: reset.into(),
            range,
            qbpp: bits_of(range),
            limit: 2 * (bpp + bpp.max(8)),
        })
    }

    /// Region of a gradient, -4 to 4 (A.3.3).
    pub(super) fn quantized(&self, gradient: i32) -> i32 {
        let [t1, t2, t3] = self.thresholds;
        let size = gradient.abs();
        let region = if size <= self.near {
            0
        } else {
            1 + i32::from(size >= t1) + i32::from(size >= t2) + i32::from(size >= t3)
        };
        region * gradient.signum()
    }

    /// Sample at `error` steps of `2 NEAR + 1` from the predicted one, modulo the range (A.4.4, A.4.5).
    pub(super) fn reconstructed(&self, predicted: i32, error: i32) -> i32 {
        let step = 2 * self.near + 1;
        let mut sample = predicted + error * step;
        if sample < -self.near {
            sample += self.range * step;
        } else if sample > self.maxval + self.near {
            sample -= self.range * step;
        }
        sample.clamp(0, self.maxval)
    }
}

/// Number of bits for `values` different values: `ceil(log2(values))`.
fn bits_of(values: i32) -> u32 {
    32 - (values - 1).leading_zeros()
}

/// Defaults of T1, T2 and T3: C.2.4.1.1.
fn default_thresholds(maxval: i32, near: i32) -> [i32; 3] {
    let clamped = |value: i32, low: i32| {
        if (low..=maxval).contains(&value) {
            value
        } else {
            low
        }
    };
    let [t1, t2, t3] = if maxval >= 128 {
        let factor = (maxval.min(4095) + 128) / 256;
        [factor + 2, factor * 4 + 3, factor * 17 + 4]
    } else {
        let factor = 256 / (maxval + 1);
        [
            (3 / factor).max(2),
            (7 / factor).max(3),
            (21 / factor).max(4),
        ]
    };
    let t1 = clamped(t1 + 3 * near, near + 1);
    let t2 = clamped(t2 + 5 * near, t1);
    [t1, t2, clamped(t3 + 7 * near, t2)]
}
