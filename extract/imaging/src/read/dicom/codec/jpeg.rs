//! JPEG: Baseline, Extended and Lossless.

use jpeg_decoder::{ColorTransform, Decoder, Error, PixelFormat};

use super::markers::{Segment, Segments};
use super::{Decoded, Failure, Layout, Photometric, jpeg_12};

/// Start of an extended sequential frame (Huffman codes, up to 12 bits).
const EXTENDED: u8 = 0xc1;

/// Start of a lossless frame.
const LOSSLESS: u8 = 0xc3;

/// Parameters in front of the compressed samples.
#[derive(Debug, PartialEq, Eq)]
struct FrameHeader {
    /// Bits of a sample.
    bits: u8,
    rows: usize,
    columns: usize,
    components: usize,
    /// Marker of the frame: the coding process.
    process: u8,
    /// Whether a JFIF or Adobe marker declares luma and colour differences.
    says_ybr: bool,
}

/// Decodes a frame. Colours are not converted: their kind is that of the markers, or else that of the
/// attributes.
pub(super) fn decode(layout: &Layout, frame: &[u8]) -> Result<Decoded, Failure> {
    let damaged = |reason: &str| Failure::Damaged(reason.to_owned());
    let head = head(frame).ok_or_else(|| damaged("a frame is no JPEG"))?;
    // Checked first: the decoder allocates memory by the header.
    let found = [head.rows, head.columns, head.components];
    let expected = [layout.rows, layout.columns, layout.samples];
    if found != expected {
        let text = "rows, columns and samples of the JPEG are";
        return Err(Failure::Damaged(format!(
            "{text} {found:?}, expected {expected:?}"
        )));
    }
    if (head.process, head.bits) == (EXTENDED, 12) {
        return jpeg_12::decode(layout, frame);
    }
    let mut decoder = Decoder::new(frame);
    // No conversion: colours of all codecs are converted in the same way, and rounded once.
    decoder.set_color_transform(ColorTransform::RGB);
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
        photometric: match (layout.samples, layout.photometric) {
            (3, Photometric::Rgb) if head.process != LOSSLESS && head.says_ybr => {
                Photometric::YbrFull
            }
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

/// 16-bit samples in the byte order of this machine, as the decoder gives them, as little-endian ones.
fn little_endian(samples: &[u8]) -> Vec<u8> {
    let (samples, _) = samples.as_chunks::<2>();
    samples
        .iter()
        .flat_map(|sample| u16::from_ne_bytes(*sample).to_le_bytes())
        .collect()
}

fn explain(error: Error) -> Failure {
    match error {
        Error::Unsupported(what) => Failure::Unsupported(format!("JPEG with {what:?}")),
        other => Failure::Damaged(other.to_string()),
    }
}

/// Reads the markers up to the size of the frame.
fn head(frame: &[u8]) -> Option<FrameHeader> {
    let mut segments = Segments::of(frame)?;
    let mut says_ybr = false;
    loop {
        let Segment { marker, content } = segments.next()?;
        match marker {
            0xe0 => says_ybr |= content.starts_with(b"JFIF\0"),
            0xee => says_ybr |= content.starts_with(b"Adobe") && content.get(11) == Some(&1),
            // Starts of frames; the three others are tables.
            0xc0..=0xcf if ![0xc4, 0xc8, 0xcc].contains(&marker) => {
                let [bits, r1, r2, c1, c2, components] = *content.first_chunk()?;
                return Some(FrameHeader {
                    bits,
                    rows: u16::from_be_bytes([r1, r2]).into(),
                    columns: u16::from_be_bytes([c1, c2]).into(),
                    components: components.into(),
                    process: marker,
                    says_ybr,
                });
            }
            _ => {}
        }
    }
}
