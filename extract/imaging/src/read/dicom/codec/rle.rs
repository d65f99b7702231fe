//! RLE Lossless (PS3.5 annex G): PackBits over the planes of bytes of the samples, greatest byte first.

use common::counted;

use super::{Decoded, Failure, Layout};

/// Greatest number of segments of a frame.
const MAX_SEGMENTS: usize = 15;

/// Bytes of the table of segments.
const TABLE: usize = 64;

/// Decodes a frame, plane by plane.
pub(super) fn decode(layout: &Layout, frame: &[u8]) -> Result<Decoded, Failure> {
    let (pixels, width) = (layout.pixels(), layout.width());
    let expected = layout.samples * width;
    let segments = segments(frame)
        .filter(|segments| width > 0 && segments.len() == expected)
        .ok_or_else(|| {
            let segments = counted(expected, "segment");
            Failure::Damaged(format!("its RLE table does not name {segments}"))
        })?;
    let mut bytes = vec![0; pixels * expected];
    for (k, segment) in segments.into_iter().enumerate() {
        let (sample, byte) = (k / width, width - 1 - k % width);
        let plane = &mut bytes[sample * pixels * width..][..pixels * width];
        let found = unpack(segment, plane.iter_mut().skip(byte).step_by(width));
        if found < pixels {
            return Err(Failure::Damaged(format!(
                "RLE segment {k} holds {}, expected {pixels}",
                counted(found, "pixel")
            )));
        }
    }
    Ok(Decoded {
        bytes,
        planar: true,
        photometric: super::unshared(layout.photometric),
        aligned: false,
    })
}

/// Segments of the table, or `None` if it is invalid.
fn segments(frame: &[u8]) -> Option<Vec<&[u8]>> {
    let (numbers, _) = frame.get(..TABLE)?.as_chunks::<4>();
    let numbers: Vec<usize> = numbers
        .iter()
        .map(|n| u32::from_le_bytes(*n) as usize)
        .collect();
    let count = numbers[0];
    let starts = numbers.get(1..=count).filter(|_| count <= MAX_SEGMENTS)?;
    let ends = starts.iter().skip(1).copied().chain([frame.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| frame.get(start..end))
        .collect()
}

/// Unpacks bytes until either side ends; returns their number.
fn unpack<'a>(mut packed: &[u8], mut out: impl Iterator<Item = &'a mut u8>) -> usize {
    let mut written = 0;
    while let Some((&count, rest)) = packed.split_first() {
        let count = count as i8;
        packed = match count {
            // No operation.
            i8::MIN => rest,
            0.. => {
                let (literal, after) = rest.split_at((count as usize + 1).min(rest.len()));
                for (byte, out) in literal.iter().zip(out.by_ref()) {
                    *out = *byte;
                    written += 1;
                }
                after
            }
            _ => {
                let length = usize::from(count.unsigned_abs()) + 1;
                let run = rest.first().into_iter().cycle().take(length);
                for (byte, out) in run.zip(out.by_ref()) {
                    *out = *byte;
                    written += 1;
                }
                rest.get(1..).unwrap_or_default()
            }
        };
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(packed: &[u8], length: usize) -> (Vec<u8>, usize) {
        let mut out = vec![0; length];
        let written = unpack(packed, out.iter_mut());
        (out, written)
    }

    #[test]
    fn runs_and_literals_are_unpacked() {
        // Three literals, nothing, five times 9.
        let packed = [2, 1, 2, 3, 0x80, 0xfc, 9];
        assert_eq!(unpacked(&packed, 8), (vec![1, 2, 3, 9, 9, 9, 9, 9], 8));
        assert_eq!(unpacked(&packed, 4), (vec![1, 2, 3, 9], 4));
        assert_eq!(unpacked(&[5, 1, 2], 4), (vec![1, 2, 0, 0], 2));
        assert_eq!(unpacked(&[0xfc], 4).1, 0);
    }

    #[test]
    fn tables_that_lie_are_refused() {
        let mut frame = vec![0; 70];
        for count in [0, 2, 16, u32::MAX] {
            frame[..4].copy_from_slice(&count.to_le_bytes());
            frame[4..8].copy_from_slice(&80u32.to_le_bytes());
            assert!(
                segments(&frame).is_none_or(|segments| segments.is_empty()),
                "{count}"
            );
        }
        assert!(segments(&frame[..63]).is_none());
    }
}
