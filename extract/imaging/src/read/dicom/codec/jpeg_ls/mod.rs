//! JPEG-LS, lossless and near-lossless: ITU-T T.87.
//!
//! Sections in comments are those of T.87. Variables have the names of the standard: `Ra`, `Rb`, `Rc` and
//! `Rd` are the neighbours of a sample to the left, above, above left and above right.

mod bits;
mod decoder;
mod scan;

use self::scan::{Preset, Scan};
use super::markers::{END, SCAN, Segments};
use super::{Decoded, Failure, Layout, unshared};

/// Start of a frame.
const FRAME: u8 = 0xf7;

/// Parameters and tables.
const PRESET: u8 = 0xf8;

/// Application data 8, in which HP's encoder declares a colour transform.
const APPLICATION_8: u8 = 0xe8;

/// Decodes a frame.
pub(super) fn decode(layout: &Layout, frame: &[u8]) -> Result<Decoded, Failure> {
    let mut segments = Segments::of(frame).ok_or_else(|| damaged("a frame is no JPEG-LS"))?;
    let mut bits = 0;
    let mut preset = None;
    let mut planes: Vec<Vec<u16>> = Vec::new();
    while planes.len() < layout.samples {
        let segment = segments.next().ok_or_else(cut_short)?;
        match segment.marker {
            FRAME => bits = precision(layout, segment.content)?,
            PRESET => preset = Some(Preset::of(segment.content)?),
            APPLICATION_8 if transforms_colours(segment.content) => {
                return Err(unsupported("transformed colours"));
            }
            SCAN if bits > 0 => {
                let scan = Scan::of(segment.content, bits, preset)?;
                // The bit after a byte of ones is 1 in markers only.
                let bytes = segments.entropy_coded(|byte| byte & 0x80 != 0);
                planes.extend(decoder::planes(&scan, layout, bytes)?);
            }
            END | SCAN => return Err(cut_short()),
            0xc0..=0xcf => return Err(damaged("a frame is JPEG, not JPEG-LS")),
            0xdd => return Err(unsupported("restart intervals")),
            _ => {}
        }
    }
    let samples = planes.iter().take(layout.samples).flatten();
    let bytes = match layout.width() {
        1 if bits <= 8 => samples.map(|sample| *sample as u8).collect(),
        2 => samples.flat_map(|sample| sample.to_le_bytes()).collect(),
        _ => {
            return Err(damaged(
                "the JPEG-LS image does not have BitsAllocated bits",
            ));
        }
    };
    Ok(Decoded {
        bytes,
        planar: true,
        photometric: unshared(layout.photometric),
        aligned: true,
    })
}

fn transforms_colours(content: &[u8]) -> bool {
    content.starts_with(b"mrfx") && content.get(4).is_some_and(|transform| *transform != 0)
}

fn damaged(reason: &str) -> Failure {
    Failure::Damaged(reason.to_owned())
}

fn cut_short() -> Failure {
    damaged("the JPEG-LS image ends too early")
}

fn unsupported(what: &str) -> Failure {
    Failure::Unsupported(format!("JPEG-LS with {what}"))
}

/// Bits of a sample, after a check that the frame has the layout's size.
fn precision(layout: &Layout, content: &[u8]) -> Result<u32, Failure> {
    let [bits, r1, r2, c1, c2, components] = *content.first_chunk().ok_or_else(cut_short)?;
    let side = |high, low| usize::from(u16::from_be_bytes([high, low]));
    let found = [side(r1, r2), side(c1, c2), components.into()];
    let expected = [layout.rows, layout.columns, layout.samples];
    if found != expected {
        let text = "rows, columns and samples of the JPEG-LS image are";
        return Err(Failure::Damaged(format!(
            "{text} {found:?}, expected {expected:?}"
        )));
    }
    match bits {
        2..=16 => Ok(bits.into()),
        _ => Err(Failure::Damaged(format!(
            "JPEG-LS with samples of {bits} bits"
        ))),
    }
}
