//! Label maps in PNG and TIFF: stored numbers instead of grey values and colours.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, GrayImage, ImageDecoder, ImageFormat, ImageReader};
use png::{Decoder, Limits, Transformations};

use super::budget::SampleBudget;
use super::bytes::first_bytes;
use super::limits::contained;
use super::raster::{MAX_BYTES, check_size, planes, slice, upright};
use super::volume::Volume;
use crate::Error;

/// Slope and intercept from the grey values of [`read`](super::raster::read), scaled to 0..=255, to the
/// stored values of 1, 2 or 4 bits; `None` for any other file.
pub(super) fn scale(path: &Path) -> Option<(f64, f64)> {
    let bits = match first_bytes(path).ok()?.as_slice() {
        // Behind signature, chunk, width and height: bits of a sample, and 0 for grey.
        [0x89, b'P', b'N', b'G', rest @ ..] => match rest.get(20..22)? {
            [bits @ (1 | 2 | 4), 0] => *bits,
            _ => return None,
        },
        [b'I', b'I', ..] | [b'M', b'M', ..] => {
            let file = BufReader::new(File::open(path).ok()?);
            let decoder = ImageReader::with_format(file, ImageFormat::Tiff).into_decoder();
            let is_binary = decoder.ok()?.original_color_type() == ExtendedColorType::L1;
            is_binary.then_some(1)?
        }
        _ => return None,
    };
    Some((f64::from((1_u8 << bits) - 1) / 255.0, 0.0))
}

/// Whether a file is a PNG with a palette.
pub(super) fn is_indexed(path: &Path) -> bool {
    // Behind signature, chunk, width, height and bits of a sample.
    let is_palette = |start: Vec<u8>| start.starts_with(b"\x89PNG") && start.get(25) == Some(&3);
    first_bytes(path).is_ok_and(is_palette)
}

/// Reads the indices of a PNG with a palette as one slice.
pub(super) fn indices(path: &Path, budget: &SampleBudget) -> Result<Volume, Error> {
    contained(|| unpack(path, budget))
        .unwrap_or_else(|| Err(Error::damaged(path, "the decoder panicked")))
}

fn unpack(path: &Path, budget: &SampleBudget) -> Result<Volume, Error> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let damaged = |error| Error::damaged(path, error);
    let limits = Limits {
        bytes: MAX_BYTES as usize,
    };
    let mut decoder = Decoder::new_with_limits(file, limits);
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (width, height) = reader.info().size();
    let pixels = u64::from(width) * u64::from(height);
    check_size(path, (width, height), pixels)?;
    budget.take(path, "pixels", pixels)?.keep();
    let exif = reader.info().exif_metadata.as_deref();
    let orientation = exif
        .and_then(Orientation::from_exif_chunk)
        .unwrap_or(Orientation::NoTransforms);
    let mut packed = vec![0; reader.output_buffer_size().unwrap_or_default()];
    let frame = reader.next_frame(&mut packed).map_err(damaged)?;
    let bits = frame.bit_depth as usize;
    let rows = packed.chunks_exact(frame.line_size);
    let indices = rows.flat_map(|row| {
        let indices = (0..width as usize).map(|x| x * bits);
        indices.map(|at| (row[at / 8] << (at % 8)) >> (8 - bits))
    });
    let indices = GrayImage::from_raw(width, height, indices.collect());
    let indices = DynamicImage::ImageLuma8(indices.expect("an index for each pixel"));
    let indices = upright(path, indices, orientation, budget)?.into_luma8();
    let shape = [indices.height() as usize, indices.width() as usize, 1, 1];
    Ok(slice(path, planes(shape, indices.into_raw())))
}
