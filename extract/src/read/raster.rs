//! PNG and JPEG.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use image::error::{ImageError, ImageResult};
use image::{DynamicImage, ImageFormat, ImageReader, Limits};

use super::MAX_SIDE;
use super::volume::{Order, Volume, VoxelType};
use crate::Error;

/// Most memory that an unpacked image may take.
const MAX_BYTES: u64 = 1 << 30;

/// Reads a PNG or JPEG as one slice.
///
/// Grey stays one channel, colour and palettes give three, alpha is dropped; 16-bit samples stay
/// 16-bit, and 1-, 2- and 4-bit ones are spread over 0..=255.
pub(super) fn read(path: &Path, format: ImageFormat) -> Result<Volume, Error> {
    if format == ImageFormat::Jpeg {
        check_jpeg_end(path)?;
    }
    let image = decode(path, format).map_err(|error| explain(path, error))?;
    let color = image.color();
    let channels = usize::from(color.channel_count() - u8::from(color.has_alpha()));
    let sample_bytes = usize::from(color.bytes_per_pixel() / color.channel_count());
    let kind = match sample_bytes {
        1 => VoxelType::U8,
        2 => VoxelType::U16,
        _ => VoxelType::F32,
    };
    Ok(Volume {
        path: path.to_path_buf(),
        height: image.height() as usize,
        width: image.width() as usize,
        voxels: without_alpha(image, channels * sample_bytes),
        kind,
        order: Order::RowMajor,
        scale: None,
        slices: 1,
        channels,
        spacing_mm: None,
    })
}

fn decode(path: &Path, format: ImageFormat) -> ImageResult<DynamicImage> {
    let file = BufReader::new(File::open(path)?);
    let mut reader = ImageReader::with_format(file, format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    reader.decode()
}

fn without_alpha(image: DynamicImage, kept: usize) -> Vec<u8> {
    let pixel = usize::from(image.color().bytes_per_pixel());
    if kept == pixel {
        return image.into_bytes();
    }
    let pixels = image.as_bytes().chunks_exact(pixel);
    pixels.flat_map(|pixel| &pixel[..kept]).copied().collect()
}

/// The decoder fills the missing rows of a JPEG with grey; its end marker tells.
fn check_jpeg_end(path: &Path) -> Result<(), Error> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    let mut markers = bytes.windows(2);
    let scan = markers.rposition(|marker| marker == [0xff, 0xda]);
    let ended = |from: usize| {
        bytes[from..]
            .windows(2)
            .any(|marker| marker == [0xff, 0xd9])
    };
    if scan.is_some_and(ended) {
        return Ok(());
    }
    let reason = "the JPEG ends before its end marker".to_owned();
    Err(Error::Damaged {
        path: path.to_path_buf(),
        reason,
    })
}

fn explain(path: &Path, error: ImageError) -> Error {
    let path = path.to_path_buf();
    let reason = error.to_string().to_lowercase();
    match error {
        ImageError::Limits(_) => Error::TooLarge {
            path,
            found: reason,
            limit: format!("{MAX_SIDE} pixels a side and {MAX_BYTES} bytes"),
        },
        ImageError::Unsupported(_) => Error::UnsupportedRaster { path, reason },
        _ => Error::Damaged { path, reason },
    }
}
