//! Grey JPEG of 12 bits: the extended sequential process of ITU-T T.81, with Huffman codes.
//!
//! Sections in comments are those of T.81. The inverse cosine transform is computed in `f64` and rounded
//! once, so samples equal the definition of the standard, except where rounding ties.

use std::f64::consts::PI;

use super::markers::{SCAN, Segments};
use super::{Decoded, Failure, Layout};

/// Row-major index in a block of each coefficient in stored order (figure A.6).
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Level shift: samples are stored as differences from it.
const MIDDLE: f64 = 2048.0;

/// Greatest sample.
const GREATEST: f64 = 4095.0;

/// Greatest magnitude of a coefficient that is accepted; those of 12-bit images are below 2^15.
const MOST: i32 = 1 << 20;

/// Tables and parameters in front of a scan.
#[derive(Default)]
struct Tables {
    /// Quantisation tables by number; factors in stored order.
    factors: [Option<[f64; 64]>; 4],
    /// Huffman codes of the first coefficient (DC) and of the others (AC), by number.
    codes: [[Option<Codes>; 4]; 2],
    /// Number of the quantisation table of the frame.
    factors_of_frame: usize,
    /// Blocks between restarts; 0 for none.
    restart: usize,
}

/// Decodes a grey frame of the layout's size.
pub(super) fn decode(layout: &Layout, frame: &[u8]) -> Result<Decoded, Failure> {
    if layout.samples != 1 {
        return Err(Failure::Unsupported(
            "JPEG of 12 bits and several colours".to_owned(),
        ));
    }
    if layout.width() != 2 {
        return Err(damaged("the JPEG does not have BitsAllocated bits"));
    }
    let mut segments = Segments::of(frame).ok_or_else(cut_short)?;
    let mut tables = Tables::default();
    loop {
        let segment = segments.next().ok_or_else(cut_short)?;
        match segment.marker {
            0xdb => tables.read_factors(segment.content)?,
            0xc4 => tables.read_codes(segment.content)?,
            0xc1 => tables.factors_of_frame = usize::from(*segment.content.get(8).unwrap_or(&4)),
            0xdd => {
                let count = *segment.content.first_chunk().ok_or_else(cut_short)?;
                tables.restart = u16::from_be_bytes(count).into();
            }
            SCAN => {
                // Restart markers, and a byte of ones followed by 0, belong to the scan.
                let is_end = |byte: u8| byte != 0 && !(0xd0..=0xd7).contains(&byte);
                let bytes = segments.entropy_coded(is_end);
                let samples = tables.scan(layout, segment.content, bytes)?;
                return Ok(Decoded {
                    bytes: samples.into_iter().flat_map(u16::to_le_bytes).collect(),
                    planar: false,
                    photometric: layout.photometric,
                    aligned: true,
                });
            }
            _ => {}
        }
    }
}

fn damaged(reason: &str) -> Failure {
    Failure::Damaged(reason.to_owned())
}

fn cut_short() -> Failure {
    damaged("the JPEG ends too early")
}

impl Tables {
    /// Reads quantisation tables: B.2.4.1.
    fn read_factors(&mut self, mut content: &[u8]) -> Result<(), Failure> {
        while let Some((&kind, rest)) = content.split_first() {
            let width = usize::from(kind >> 4) + 1;
            let bytes = rest
                .get(..64 * width)
                .filter(|_| width <= 2)
                .ok_or_else(cut_short)?;
            let number = |bytes: &[u8]| bytes.iter().fold(0u16, |sum, b| sum << 8 | u16::from(*b));
            let slot = self
                .factors
                .get_mut(usize::from(kind & 15))
                .ok_or_else(|| damaged("the JPEG has over 4 tables"))?;
            let mut factors = [0.0; 64];
            for (factor, bytes) in factors.iter_mut().zip(bytes.chunks_exact(width)) {
                *factor = number(bytes).into();
            }
            *slot = Some(factors);
            content = &rest[64 * width..];
        }
        Ok(())
    }

    /// Reads Huffman tables: B.2.4.2.
    fn read_codes(&mut self, mut content: &[u8]) -> Result<(), Failure> {
        while let Some((&kind, rest)) = content.split_first() {
            let (lengths, rest) = rest.split_first_chunk::<16>().ok_or_else(cut_short)?;
            let count = lengths.iter().map(|count| usize::from(*count)).sum();
            let values = rest.get(..count).ok_or_else(cut_short)?;
            let slots = self.codes.get_mut(usize::from(kind >> 4));
            let slot = slots.and_then(|slots| slots.get_mut(usize::from(kind & 15)));
            *slot.ok_or_else(|| damaged("the JPEG has over 4 tables"))? =
                Some(Codes::of(lengths, values)?);
            content = &rest[count..];
        }
        Ok(())
    }

    /// Samples `[H, W]` of a scan of one component.
    ///
    /// Blocks of 8 × 8 samples follow each other row by row; those at the right and lower edge are cut.
    fn scan(&self, layout: &Layout, header: &[u8], bytes: &[u8]) -> Result<Vec<u16>, Failure> {
        // The other fields are the same for all scans of this process, and wrong in some files.
        let [1, _, numbers] = *header.first_chunk().ok_or_else(cut_short)? else {
            return Err(damaged("the JPEG scan is not one of a grey image"));
        };
        let missing = || damaged("the JPEG names a table that it does not have");
        let factors = self
            .factors
            .get(self.factors_of_frame)
            .copied()
            .flatten()
            .ok_or_else(missing)?;
        let codes = |kind: usize, number: u8| self.codes[kind].get(usize::from(number))?.as_ref();
        let first = codes(0, numbers >> 4).ok_or_else(missing)?;
        let others = codes(1, numbers & 15).ok_or_else(missing)?;
        let transform = Transform::new();
        let (rows, columns) = (layout.rows, layout.columns);
        let mut samples = vec![0; rows * columns];
        let mut bits = Bits::of(bytes);
        let mut before = 0;
        let across = columns.div_ceil(8);
        for block in 0..rows.div_ceil(8) * across {
            if self.restart > 0 && block > 0 && block.is_multiple_of(self.restart) {
                bits.restart()?;
                before = 0;
            }
            let mut stored = [0; 64];
            before += bits.difference(first)?;
            if !(-MOST..=MOST).contains(&before) {
                return Err(damaged("a JPEG coefficient is too large"));
            }
            stored[0] = before;
            bits.others(others, &mut stored)?;
            let mut coefficients = [0.0; 64];
            for (k, place) in ZIGZAG.into_iter().enumerate() {
                coefficients[place] = stored[k] as f64 * factors[k];
            }
            let values = transform.inverse(&coefficients);
            let (top, left) = (block / across * 8, block % across * 8);
            let width = (columns - left).min(8);
            for (row, values) in (top..rows).zip(values.as_chunks::<8>().0) {
                let out = &mut samples[row * columns + left..][..width];
                for (out, value) in out.iter_mut().zip(values) {
                    *out = (value + MIDDLE).round().clamp(0.0, GREATEST) as u16;
                }
            }
        }
        Ok(samples)
    }
}

/// Huffman codes: for each length the first code, the number of codes, and the index of the first value.
struct Codes {
    lengths: [(u32, u32, usize); 16],
    values: Vec<u8>,
}

impl Codes {
    /// Assigns codes to lengths: C.2.
    fn of(counts: &[u8; 16], values: &[u8]) -> Result<Codes, Failure> {
        let mut lengths = [(0, 0, 0); 16];
        let (mut code, mut start) = (0u32, 0);
        for (length, count) in counts.iter().enumerate() {
            let count = u32::from(*count);
            lengths[length] = (code, count, start);
            if code + count > 1 << (length + 1) {
                return Err(damaged("the JPEG's Huffman codes cannot be"));
            }
            code = (code + count) << 1;
            start += count as usize;
        }
        let values = values.to_vec();
        Ok(Codes { lengths, values })
    }
}

/// A cursor over bits, highest bit of a byte first; the 0 behind a byte of ones is skipped.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    current: u8,
    left: u32,
}

impl<'a> Bits<'a> {
    fn of(bytes: &'a [u8]) -> Bits<'a> {
        Bits {
            bytes,
            at: 0,
            current: 0,
            left: 0,
        }
    }

    fn bit(&mut self) -> Result<u32, Failure> {
        if self.left == 0 {
            self.current = *self.bytes.get(self.at).ok_or_else(cut_short)?;
            self.at += 1;
            if self.current == 0xff {
                match self.bytes.get(self.at) {
                    Some(0) => self.at += 1,
                    _ => return Err(cut_short()),
                }
            }
            self.left = 8;
        }
        self.left -= 1;
        Ok(u32::from(self.current >> self.left & 1))
    }

    fn take(&mut self, count: u8) -> Result<u32, Failure> {
        (0..count).try_fold(0, |bits, _| Ok(bits << 1 | self.bit()?))
    }

    /// Continues behind the next restart marker.
    fn restart(&mut self) -> Result<(), Failure> {
        self.left = 0;
        match self.bytes.get(self.at..self.at + 2) {
            Some([0xff, 0xd0..=0xd7]) => {
                self.at += 2;
                Ok(())
            }
            _ => Err(damaged("the JPEG lacks a restart marker")),
        }
    }

    fn value(&mut self, codes: &Codes) -> Result<u8, Failure> {
        let mut code = 0;
        for (first, count, start) in codes.lengths {
            code = code << 1 | self.bit()?;
            if code < first + count {
                let at = start + (code.saturating_sub(first)) as usize;
                return codes.values.get(at).copied().ok_or_else(cut_short);
            }
        }
        Err(damaged("the JPEG holds a code that it does not define"))
    }

    /// A signed number of `size` bits; the lower half of the codes stands for negative numbers (F.2.2.1).
    fn signed(&mut self, size: u8) -> Result<i32, Failure> {
        let bits = self.take(size)? as i32;
        let half = 1 << size >> 1;
        Ok(if bits < half {
            bits - 2 * half + 1
        } else {
            bits
        })
    }

    /// Difference of the first coefficient from that of the previous block.
    fn difference(&mut self, codes: &Codes) -> Result<i32, Failure> {
        match self.value(codes)? {
            size @ 0..=15 => self.signed(size),
            _ => Err(damaged("a JPEG coefficient is too large")),
        }
    }

    /// The other coefficients of a block in stored order (F.2.2.2): a run of zeros and a coefficient at a time.
    fn others(&mut self, codes: &Codes, stored: &mut [i32; 64]) -> Result<(), Failure> {
        let mut k = 1;
        while k < 64 {
            let value = self.value(codes)?;
            let (zeros, size) = (usize::from(value >> 4), value & 15);
            match (zeros, size) {
                (15, 0) => k += 16,
                (_, 0) => return Ok(()),
                _ => {
                    k += zeros;
                    let coefficient = self.signed(size)?;
                    *stored
                        .get_mut(k)
                        .ok_or_else(|| damaged("a JPEG block is too long"))? = coefficient;
                    k += 1;
                }
            }
        }
        Ok(())
    }
}

/// Cosines of the transform: `[u][x]` is `C(u) / 2 · cos((2x + 1) u π / 16)`, with `C(0) = 1/√2` and
/// `C(u) = 1`.
struct Transform([[f64; 8]; 8]);

impl Transform {
    fn new() -> Transform {
        let scale = |u: usize| if u == 0 { 0.5f64.sqrt() / 2.0 } else { 0.5 };
        Transform(std::array::from_fn(|u| {
            std::array::from_fn(|x| scale(u) * (((2 * x + 1) * u) as f64 * PI / 16.0).cos())
        }))
    }

    /// `values[y][x] = Σv Σu cosines[v][y] · cosines[u][x] · coefficients[v][u]` (A.3.3).
    ///
    /// The transform is separable: `u` is summed first, for all rows `v`, then `v`. That takes 2 · 8³
    /// products instead of 8⁴.
    fn inverse(&self, coefficients: &[f64; 64]) -> [f64; 64] {
        let mut rows = [0.0; 64];
        let mut values = [0.0; 64];
        for v in 0..8 {
            for u in 0..8 {
                for x in 0..8 {
                    rows[8 * v + x] += self.0[u][x] * coefficients[8 * v + u];
                }
            }
        }
        for v in 0..8 {
            for y in 0..8 {
                for x in 0..8 {
                    values[8 * y + x] += self.0[v][y] * rows[8 * v + x];
                }
            }
        }
        values
    }
}
