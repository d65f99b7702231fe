//! JPEG 2000, decoded by a Rust translation of OpenJPEG.

use jpeg2k::{DecodeParameters, Image};

use super::{Decoded, Failure, Layout};

/// Greatest number of tiles of a frame; the decoder allocates memory for each.
const MAX_TILES: u64 = 8192;

/// The start of a code stream and of its SIZ marker.
const START: [u8; 4] = [0xff, 0x4f, 0xff, 0x51];

/// Decodes a frame. The decoder inverts the colour transforms of the standard (YBR_RCT, YBR_ICT).
pub(super) fn decode(layout: &Layout, frame: &[u8]) -> Result<Decoded, Failure> {
    check_size(layout, frame).map_err(Failure::Damaged)?;
    let (pixels, samples, width) = (layout.pixels(), layout.samples, layout.width());
    // If not strict, it would fill missing samples with zeros.
    let parameters = DecodeParameters::new().strict(true);
    let image = Image::from_bytes_with(frame, parameters)
        .map_err(|error| Failure::Damaged(error.to_string()))?;
    let components = image.components();
    let fits = |k: usize| {
        let component = &components[k];
        let side = |length: u32| length as usize;
        (side(component.height()), side(component.width())) == (layout.rows, layout.columns)
            && component.precision() as usize <= 8 * width
    };
    if components.len() != samples || !(0..samples).all(fits) {
        let reason = "the JPEG 2000 image does not have the size and bits that the file says";
        return Err(Failure::Damaged(reason.to_owned()));
    }
    let mut bytes = vec![0; pixels * samples * width];
    for (component, plane) in components
        .iter()
        .zip(bytes.chunks_exact_mut(pixels * width))
    {
        let values = component.data().iter();
        for (value, sample) in values.zip(plane.chunks_exact_mut(width)) {
            sample.copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }
    Ok(Decoded {
        bytes,
        planar: true,
        photometric: super::unshared(layout.photometric),
        aligned: true,
    })
}

/// Checks the SIZ marker before the decoder allocates memory by it.
fn check_size(layout: &Layout, frame: &[u8]) -> Result<(), String> {
    let start = frame.windows(4).position(|bytes| bytes == START);
    let siz = start
        .and_then(|start| frame.get(start + 8..)?.first_chunk::<34>())
        .ok_or("a frame is no JPEG 2000")?;
    let (numbers, components) = siz.as_chunks::<4>();
    let number = |k: usize| u64::from(u32::from_be_bytes(numbers[k]));
    let side = |k: usize| number(k).saturating_sub(number(k + 2)) as usize;
    let components = usize::from(u16::from_be_bytes([components[0], components[1]]));
    let (found, expected) = (
        [side(1), side(0), components],
        [layout.rows, layout.columns, layout.samples],
    );
    if found != expected {
        let text = "rows, columns and samples of the JPEG 2000 image are";
        return Err(format!("{text} {found:?}, expected {expected:?}"));
    }
    let tiles = |k: usize| number(k).div_ceil(number(k + 4).max(1));
    match tiles(0).saturating_mul(tiles(1)) {
        0..=MAX_TILES => Ok(()),
        count => Err(format!(
            "a frame is cut into {count} tiles, the limit is {MAX_TILES}"
        )),
    }
}
