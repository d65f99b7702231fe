//! JPEG: Baseline and Lossless.

use jpeg_decoder::{ColorTransform, Decoder, Error, PixelFormat};

use super::{Decoded, Failure, Layout, Photometric};

/// What stands in front of the compressed samples.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    rows: usize,
    columns: usize,
    components: usize,
    lossless: bool,
    /// Whether a marker says that colours are brightness and differences.
    says_ybr: bool,
}

/// Decodes a frame; colours become RGB.
pub(super) fn decode(layout: &Layout, frame: &[u8]) -> Result<Decoded, Failure> {
    let damaged = |reason: &str| Failure::Damaged(reason.to_owned());
    let head = head(frame).ok_or_else(|| damaged("a frame is no JPEG"))?;
    // Checked first: the decoder takes memory for what the head says.
    let found = [head.rows, head.columns, head.components];
    let expected = [layout.rows, layout.columns, layout.samples];
    if found != expected {
        let text = "rows, columns and samples of the JPEG are";
        return Err(Failure::Damaged(format!(
            "{text} {found:?}, expected {expected:?}"
        )));
    }
    let mut decoder = Decoder::new(frame);
    if layout.samples == 3 {
        let is_rgb = layout.photometric == Photometric::Rgb;
        decoder.set_color_transform(match is_rgb && !head.says_ybr {
            true => ColorTransform::RGB,
            false => ColorTransform::YCbCr,
        });
    }
    let samples = decoder.decode().map_err(explain)?;
    let format = decoder.info().map(|info| info.pixel_format);
    let stored = match format {
        Some(PixelFormat::L16) => 2,
        _ => 1,
    };
    let is_whole = samples.len() == layout.pixels() * layout.samples * stored;
    let bytes = match (stored, layout.width()) {
        _ if !is_whole => None,
        (1, width) if width > 0 => Some(widened(samples, width)),
        (2, 2) => Some(little_endian(&samples)),
        _ => None,
    };
    let bytes = bytes.ok_or_else(|| damaged("the JPEG does not have BitsAllocated bits"))?;
    Ok(Decoded {
        bytes,
        planar: false,
        photometric: match layout.samples {
            3 if !head.lossless => Photometric::Rgb,
            _ => super::unshared(layout.photometric),
        },
        aligned: true,
    })
}

fn widened(samples: Vec<u8>, width: usize) -> Vec<u8> {
    if width == 1 {
        return samples;
    }
    let mut wide = vec![0; samples.len() * width];
    wide.iter_mut()
        .step_by(width)
        .zip(samples)
        .for_each(|(wide, sample)| *wide = sample);
    wide
}

/// The decoder gives 16-bit samples as this machine has them.
fn little_endian(samples: &[u8]) -> Vec<u8> {
    let (samples, _) = samples.as_chunks::<2>();
    let samples = samples.iter().map(|sample| u16::from_ne_bytes(*sample));
    samples.flat_map(u16::to_le_bytes).collect()
}

fn explain(error: Error) -> Failure {
    match error {
        Error::Unsupported(what) => Failure::Unsupported(format!("JPEG with {what:?}")),
        other => Failure::Damaged(other.to_string()),
    }
}

/// Reads the markers up to the size of the frame.
fn head(frame: &[u8]) -> Option<Head> {
    let mut rest = frame.strip_prefix(&[0xff, 0xd8])?;
    let mut says_ybr = false;
    loop {
        let (marker, after) = rest.strip_prefix(&[0xff])?.split_first()?;
        if *marker == 0xff {
            rest = &rest[1..];
            continue;
        }
        let length = usize::from(u16::from_be_bytes(*after.first_chunk()?));
        let segment = after.get(2..length)?;
        match marker {
            0xe0 => says_ybr |= segment.starts_with(b"JFIF\0"),
            0xee => says_ybr |= segment.starts_with(b"Adobe") && segment.get(11) == Some(&1),
            // Starts of frames; the three others are tables.
            0xc0..=0xcf if ![0xc4, 0xc8, 0xcc].contains(marker) => {
                let [_, r1, r2, c1, c2, components] = *segment.first_chunk()?;
                return Some(Head {
                    rows: u16::from_be_bytes([r1, r2]).into(),
                    columns: u16::from_be_bytes([c1, c2]).into(),
                    components: components.into(),
                    lossless: *marker == 0xc3,
                    says_ybr,
                });
            }
            _ => {}
        }
        rest = &after[length..];
    }
}
