//! Numbers of files in single precision, with checks that a cache can hold them.

use std::path::Path;

use half::{bf16, f16};

use crate::Error;

/// Least magnitude that rounds to infinity in half precision.
const TOO_LARGE: f32 = 65_520.0;

/// Least magnitude that half precision keeps with all its digits.
const LEAST_NORMAL: f32 = 6.103_515_6e-5;

/// Type of the numbers in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F16,
    Bf16,
    F32,
    F64,
}

/// Encoding of the numbers in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) kind: Kind,
    pub(super) is_big_endian: bool,
}

impl Kind {
    /// Bytes of a number.
    pub(super) fn bytes(self) -> usize {
        match self {
            Kind::F16 | Kind::Bf16 => 2,
            Kind::F32 => 4,
            Kind::F64 => 8,
        }
    }

    /// Little-endian numbers of this type.
    pub(super) fn little_endian(self) -> Encoding {
        Encoding {
            kind: self,
            is_big_endian: false,
        }
    }
}

impl Encoding {
    /// Appends the numbers, multiplied by `scale`, to `out`. Numbers in double precision, and products, are rounded
    /// to half precision at once.
    pub(super) fn decode(self, bytes: &[u8], scale: f64, out: &mut Vec<f32>) {
        match self.kind {
            Kind::F16 => self.extend(bytes, out, |bytes: [u8; 2]| {
                scaled(f16::from_le_bytes(bytes).to_f32(), scale)
            }),
            Kind::Bf16 => self.extend(bytes, out, |bytes: [u8; 2]| {
                scaled(bf16::from_le_bytes(bytes).to_f32(), scale)
            }),
            Kind::F32 => self.extend(bytes, out, |bytes: [u8; 4]| {
                scaled(f32::from_le_bytes(bytes), scale)
            }),
            Kind::F64 => self.extend(bytes, out, |bytes: [u8; 8]| {
                rounded(f64::from_le_bytes(bytes) * scale)
            }),
        }
    }

    fn extend<const BYTES: usize>(
        self,
        bytes: &[u8],
        out: &mut Vec<f32>,
        number: impl Fn([u8; BYTES]) -> f32,
    ) {
        let numbers = bytes.as_chunks::<BYTES>().0.iter();
        out.extend(numbers.map(|bytes| {
            let mut bytes = *bytes;
            if self.is_big_endian {
                bytes.reverse();
            }
            number(bytes)
        }));
    }
}

#[expect(clippy::float_cmp, reason = "1 is given as such")]
fn scaled(value: f32, scale: f64) -> f32 {
    if scale == 1.0 {
        value
    } else {
        rounded(f64::from(value) * scale)
    }
}

/// The number in half precision; in single precision if it is too large for that.
fn rounded(value: f64) -> f32 {
    let half = f16::from_f32(to_odd(value));
    if half.is_finite() {
        half.to_f32()
    } else {
        value as f32
    }
}

/// The number in single precision, rounded such that rounding the result again gives what rounding the number once
/// does: towards zero, with the last bit set if it is not exact.
fn to_odd(value: f64) -> f32 {
    let near = value as f32;
    let back = f64::from(near);
    if back.to_bits() == value.to_bits() || !near.is_finite() {
        return near;
    }
    let beyond = u32::from(back.abs() > value.abs());
    f32::from_bits((near.to_bits() - beyond) | 1)
}

/// Place of numbers in a file, for messages.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    /// Row in the file, from 0.
    pub(super) row: u64,
    pub(super) sample: &'a str,
}

/// Refuses numbers of a row that a cache cannot hold.
///
/// # Errors
///
/// [`Error::Layout`] for NaN, infinities, and magnitudes beyond half precision.
pub(super) fn check(numbers: &[f32], place: Place<'_>) -> Result<(), Error> {
    let is_good = |value: &f32| value.abs() < TOO_LARGE;
    // All at once first, since a search that may end at each number is slower.
    if numbers.iter().fold(true, |all, value| all & is_good(value)) {
        return Ok(());
    }
    let bad = numbers.iter().zip(0..).find(|(value, _)| !is_good(value));
    bad.map_or(Ok(()), |(value, column)| {
        Err(refused(*value, column, place))
    })
}

fn refused(value: f32, column: usize, place: Place<'_>) -> Error {
    let Place { path, row, sample } = place;
    let at = format!("in row {row} (from 0), number {column}, sample `{sample}`");
    let (found, expected, hint) = if value.is_finite() {
        (
            format!("{value} {at}"),
            "magnitudes below 65520, since a cache holds half precision",
            "multiply all numbers by a factor, for instance `--scale 0.01`; or the file is damaged: copy it again",
        )
    } else {
        (
            format!("{value} {at}"),
            "finite numbers",
            "leave such rows out of the file and the table, or compute them again; or the file is damaged: copy it again",
        )
    };
    Error::Layout {
        path: path.to_path_buf(),
        found,
        expected: expected.to_owned(),
        hint: hint.to_owned(),
    }
}

/// Whether a row has numbers other than 0, and half precision keeps none of them with all its digits.
pub(super) fn is_tiny(numbers: &[f32]) -> bool {
    let greatest = numbers.iter().fold(0.0_f32, |most, n| most.max(n.abs()));
    greatest > 0.0 && greatest < LEAST_NORMAL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoding: Encoding, bytes: &[u8], scale: f64) -> Vec<f32> {
        let mut out = Vec::new();
        encoding.decode(bytes, scale, &mut out);
        out
    }

    #[test]
    fn all_types_and_byte_orders_give_the_same_numbers() {
        let value = -1.5_f32;
        let big = |kind| Encoding {
            kind,
            is_big_endian: true,
        };
        let f64s = [
            f64::from(value).to_le_bytes(),
            f64::from(value).to_be_bytes(),
        ];
        for (encoding, bytes) in [
            (
                Kind::F16.little_endian(),
                &f16::from_f32(value).to_le_bytes()[..],
            ),
            (big(Kind::F16), &f16::from_f32(value).to_be_bytes()),
            (
                Kind::Bf16.little_endian(),
                &bf16::from_f32(value).to_le_bytes(),
            ),
            (Kind::F32.little_endian(), &value.to_le_bytes()),
            (big(Kind::F32), &value.to_be_bytes()),
            (Kind::F64.little_endian(), &f64s[0]),
            (big(Kind::F64), &f64s[1]),
        ] {
            assert_eq!(decoded(encoding, bytes, 1.0), [value], "{encoding:?}");
            assert_eq!(decoded(encoding, bytes, 4.0), [-6.0], "{encoding:?}");
        }
    }

    #[test]
    fn doubles_are_rounded_once() {
        // Between two halves, and so near to the middle that single precision rounds it to the middle.
        let value = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        let found = decoded(Kind::F64.little_endian(), &value.to_le_bytes(), 1.0);
        assert_eq!(found, [1.0 + 2f32.powi(-10)]);
        let value = -1.0 - 2f64.powi(-11) + 2f64.powi(-40);
        let found = decoded(Kind::F64.little_endian(), &value.to_le_bytes(), 1.0);
        assert_eq!(found, [-1.0]);
    }

    #[test]
    fn numbers_that_half_precision_cannot_hold_are_named() {
        let place = Place {
            path: Path::new("x.npy"),
            row: 7,
            sample: "s",
        };
        assert!(check(&[65_519.0, -65_519.0, 0.0], place).is_ok());
        for (bad, hint) in [
            (65_520.0, "--scale"),
            (f32::NAN, "leave"),
            (f32::INFINITY, "leave"),
        ] {
            let text = check(&[0.0, bad], place).unwrap_err().to_string();
            let parts = ["`x.npy`", "row 7 (from 0), number 1, sample `s`", hint];
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
        assert!(is_tiny(&[1e-6, 0.0]) && !is_tiny(&[0.0]) && !is_tiny(&[1e-6, 1.0]));
    }
}
