//! PNG, JPEG and TIFF.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use image::error::ImageError;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use ndarray::{Array, Axis};

use super::budget::SampleBudget;
use super::limits::{MAX_RATIO, MAX_SIDE, contained};
use super::volume::{Block, Volume};
use super::voxels::{Voxel, Voxels};
use crate::Error;
use crate::orient::Geometry;

/// Greatest size of an unpacked image in bytes.
pub(super) const MAX_BYTES: u64 = 1 << 30;

/// Greatest ratio of the bytes of an image to those of its file: each bit that is unpacked can be an index
/// to three colours of a palette.
const MAX_GROWTH: u64 = MAX_RATIO * 24;

/// Reads a PNG, a JPEG or a TIFF of one page as one slice.
///
/// The image is turned and mirrored by Exif or TIFF's Orientation. Grey stays one channel, colour and
/// palettes give three, alpha is dropped; 16-bit samples stay 16-bit, and 1-, 2- and 4-bit samples are
/// scaled to 0..=255.
pub(super) fn read(
    path: &Path,
    format: ImageFormat,
    budget: &SampleBudget,
) -> Result<Volume, Error> {
    if format == ImageFormat::Jpeg {
        check_jpeg_end(path)?;
    }
    if format == ImageFormat::Tiff {
        check_pages(path)?;
    }
    let image = contained(|| decode(path, format, budget))
        .unwrap_or_else(|| Err(Error::damaged(path, "the decoder panicked")))?;
    let (height, width) = (image.height() as usize, image.width() as usize);
    let color = image.color();
    let stored = usize::from(color.channel_count());
    let kept = stored - usize::from(color.has_alpha());
    let shape = [height, width, stored, kept];
    let voxels = match image {
        DynamicImage::ImageLuma8(image) => planes(shape, image.into_raw()),
        DynamicImage::ImageLumaA8(image) => planes(shape, image.into_raw()),
        DynamicImage::ImageRgb8(image) => planes(shape, image.into_raw()),
        DynamicImage::ImageRgba8(image) => planes(shape, image.into_raw()),
        DynamicImage::ImageLuma16(image) => planes(shape, image.into_raw()),
        DynamicImage::ImageLumaA16(image) => planes(shape, image.into_raw()),
        DynamicImage::ImageRgb16(image) => planes(shape, image.into_raw()),
        DynamicImage::ImageRgba16(image) => planes(shape, image.into_raw()),
        other => planes([height, width, 3, 3], other.into_rgb32f().into_raw()),
    };
    Ok(slice(path, voxels))
}

/// A volume of one slice without scale, window or position.
pub(super) fn slice(path: &Path, voxels: Voxels) -> Volume {
    let block = Block {
        path: path.to_path_buf(),
        voxels,
        scale: None,
        shown: None,
    };
    Volume::of_block(block, Geometry::Unknown)
}

/// Interleaved samples as `[1, C, H, W]`; `shape` is height, width, stored channels and kept channels.
pub(super) fn planes<T: Voxel>(shape: [usize; 4], samples: Vec<T>) -> Voxels {
    let [height, width, stored, kept] = shape;
    let array = Array::from_shape_vec((1, height, width, stored), samples);
    let mut array = array.expect("one value per sample");
    array.slice_axis_inplace(Axis(3), (..kept).into());
    T::wrap(array.permuted_axes([0, 3, 1, 2]))
}

fn decode(path: &Path, format: ImageFormat, budget: &SampleBudget) -> Result<DynamicImage, Error> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let mut reader = ImageReader::with_format(file, format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader
        .into_decoder()
        .map_err(|error| explain(path, error))?;
    check_size(path, decoder.dimensions(), decoder.total_bytes())?;
    budget.take(path, "pixels", decoder.total_bytes())?.keep();
    let orientation = decoder
        .orientation()
        .map_err(|error| explain(path, error))?;
    let image = DynamicImage::from_decoder(decoder).map_err(|error| explain(path, error))?;
    upright(path, image, orientation, budget)
}

/// The image turned and mirrored by `orientation`.
pub(super) fn upright(
    path: &Path,
    mut image: DynamicImage,
    orientation: Orientation,
    budget: &SampleBudget,
) -> Result<DynamicImage, Error> {
    if orientation != Orientation::NoTransforms {
        let bytes = image.as_bytes().len() as u64;
        let _copy = budget.take(path, "pixels turned upright", bytes)?;
        image.apply_orientation(orientation);
    }
    Ok(image)
}

/// Refuses an image that is too large, or larger than a file of this length can hold. The decoder
/// allocates the whole image before it unpacks the first pixel.
pub(super) fn check_size(
    path: &Path,
    (width, height): (u32, u32),
    bytes: u64,
) -> Result<(), Error> {
    let packed = fs::metadata(path).map_err(Error::io(path))?.len();
    let limit = MAX_BYTES.min(packed.saturating_mul(MAX_GROWTH));
    if bytes <= limit && width.max(height) <= MAX_SIDE {
        return Ok(());
    }
    Err(Error::too_large(
        path,
        format!("{width} x {height} pixels, {bytes} bytes"),
        format!("{MAX_SIDE} pixels a side and, for a file of this length, {limit} bytes"),
    ))
}

/// Refuses a JPEG without an end marker: the decoder would fill its missing rows with grey.
fn check_jpeg_end(path: &Path) -> Result<(), Error> {
    let length = fs::metadata(path).map_err(Error::io(path))?.len();
    if length > MAX_BYTES {
        return Err(Error::too_large(
            path,
            format!("a JPEG of {length} bytes"),
            format!("{MAX_BYTES} bytes"),
        ));
    }
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
    Err(Error::damaged(path, "the JPEG ends before its end marker"))
}

/// Refuses a TIFF of several pages, since the decoder reads only the first. The directory of a page ends
/// with the offset of the next one.
fn check_pages(path: &Path) -> Result<(), Error> {
    let unsupported = |reason: &str| Error::UnsupportedRaster {
        path: path.to_path_buf(),
        reason: reason.to_owned(),
    };
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut read = |at: u64| {
        let mut bytes = [0; 4];
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|error| Error::damaged(path, error))?;
        Ok::<[u8; 4], Error>(bytes)
    };
    let start = read(0)?;
    let long = |bytes: [u8; 4]| match start[0] {
        b'M' => u32::from_be_bytes(bytes),
        _ => u32::from_le_bytes(bytes),
    };
    if start.contains(&43) {
        return Err(unsupported("a BigTIFF, with offsets of 64 bits"));
    }
    let directory = u64::from(long(read(4)?));
    let [a, b, ..] = read(directory)?;
    let entries = if start[0] == b'M' { [a, b] } else { [b, a] };
    let end = directory + 2 + 12 * u64::from(u16::from_be_bytes(entries));
    match long(read(end)?) {
        0 => Ok(()),
        _ => Err(unsupported("a TIFF of several pages: make a file of each")),
    }
}

fn explain(path: &Path, error: ImageError) -> Error {
    let reason = error.to_string().to_lowercase();
    match error {
        ImageError::Limits(_) => Error::too_large(
            path,
            reason,
            format!("{MAX_SIDE} pixels a side and {MAX_BYTES} bytes"),
        ),
        ImageError::Unsupported(_) => Error::UnsupportedRaster {
            path: path.to_path_buf(),
            reason,
        },
        _ => Error::damaged(path, reason),
    }
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::codecs::png::PngEncoder;
    use image::{ExtendedColorType, ImageEncoder};
    use ndarray::Array3;

    use super::*;
    use crate::read::{Reader, Source};

    /// `[[1, 2, 3], [4, 5, 6]]` by Pillow's `ImageOps.exif_transpose`, for each orientation.
    const UPRIGHT: [&[&[u8]]; 8] = [
        &[&[1, 2, 3], &[4, 5, 6]],
        &[&[3, 2, 1], &[6, 5, 4]],
        &[&[6, 5, 4], &[3, 2, 1]],
        &[&[4, 5, 6], &[1, 2, 3]],
        &[&[1, 4], &[2, 5], &[3, 6]],
        &[&[4, 1], &[5, 2], &[6, 3]],
        &[&[6, 3], &[5, 2], &[4, 1]],
        &[&[3, 6], &[2, 5], &[1, 4]],
    ];

    fn upright(orientation: u8, factor: u8) -> Array3<f32> {
        let rows = UPRIGHT[usize::from(orientation) - 1];
        Array3::from_shape_fn((1, rows.len(), rows[0].len()), |(_, y, x)| {
            f32::from(rows[y][x] * factor)
        })
    }

    /// Exif of nothing but an orientation: also a TIFF without an image.
    fn exif(orientation: u8) -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        bytes.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    fn png(orientation: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = PngEncoder::new(&mut bytes);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder
            .write_image(&[1, 2, 3, 4, 5, 6], 3, 2, ExtendedColorType::L8)
            .unwrap();
        bytes
    }

    /// The same as pixels of 1 to 6, with a palette.
    fn indexed(orientation: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut info = png::Info::with_size(3, 2);
        info.color_type = png::ColorType::Indexed;
        info.bit_depth = png::BitDepth::Eight;
        info.palette = Some(vec![0; 21].into());
        info.exif_metadata = Some(exif(orientation).into());
        let encoder = png::Encoder::with_info(&mut bytes, info).unwrap();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[1, 2, 3, 4, 5, 6]).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn tiff(orientation: u8) -> Vec<u8> {
        let entries: [[u16; 3]; 9] = [
            [256, 3, 3],
            [257, 3, 2],
            [258, 3, 8],
            [259, 3, 1],
            [262, 3, 1],
            [273, 3, 200],
            [274, 3, orientation.into()],
            [278, 3, 2],
            [279, 3, 6],
        ];
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend((entries.len() as u16).to_le_bytes());
        for [tag, kind, value] in entries {
            bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].as_flattened());
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(u32::from(value).to_le_bytes());
        }
        bytes.resize(200, 0);
        bytes.extend([1, 2, 3, 4, 5, 6]);
        bytes
    }

    /// Squares of 8 by 8 pixels, of which little is lost.
    fn jpeg(orientation: u8) -> Vec<u8> {
        let pixels = (0..16).flat_map(|y| (0..24).map(move |x| 20 * (1 + x / 8 + 3 * (y / 8))));
        let pixels: Vec<u8> = pixels.collect();
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 100);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder
            .write_image(&pixels, 24, 16, ExtendedColorType::L8)
            .unwrap();
        bytes
    }

    #[test]
    fn pictures_and_masks_are_turned_as_pillow_turns_them() {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::new(folder.path());
        for orientation in 1..=8 {
            let files = [
                ("a.png", png(orientation)),
                ("a.tif", tiff(orientation)),
                ("i.png", indexed(orientation)),
                ("a.jpg", jpeg(orientation)),
            ];
            for (name, bytes) in &files {
                fs::write(folder.path().join(name), bytes).unwrap();
            }
            let volume = |name: &str| reader.volume(&Source::File(name.into())).unwrap();
            for name in ["a.png", "a.tif"] {
                assert_eq!(
                    volume(name).plane(0),
                    upright(orientation, 1),
                    "{name} {orientation}"
                );
            }
            let squares = volume("a.jpg").plane(0);
            let middles = squares
                .slice(ndarray::s![.., 4..;8, 4..;8])
                .mapv(f32::round);
            assert_eq!(middles, upright(orientation, 20), "a.jpg {orientation}");
            for name in ["a.png", "i.png"] {
                let reader = Reader::new(folder.path());
                let source = Source::File(name.into());
                let labels = reader.labels_in(&reader.budget(0), &source).unwrap();
                let found = labels.label_plane(0).unwrap().mapv(f32::from);
                let expected = upright(orientation, 1).index_axis_move(Axis(0), 0);
                assert_eq!(found, expected, "mask {name} {orientation}");
            }
        }
    }
}
