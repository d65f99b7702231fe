//! Size and type of pixels by the attributes.

use std::path::Path;

use common::counted;
use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::data_set::DataSet;
use crate::Error;
use crate::read::limits::{MAX_SIDE, MAX_UNPACKED};

/// Meaning of the samples of a pixel (PhotometricInterpretation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Photometric {
    /// Grey; the least value is white.
    Monochrome1,
    /// Grey; the least value is black.
    Monochrome2,
    /// Red, green, blue.
    Rgb,
    /// Luma and two colour differences.
    YbrFull,
    /// Luma and two colour differences that two neighbours in a row share, unless the frame is compressed.
    YbrFull422,
    /// An index into tables of red, green and blue.
    Palette,
}

/// Size and type of pixels. All sizes are at least 1 and within the limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) frames: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Samples per pixel: 1 or 3.
    pub(super) samples: usize,
    /// Bits that a sample takes: 1, 8, 16 or 32.
    pub(super) allocated: u32,
    /// Bits of the value in it.
    pub(super) stored: u32,
    /// Highest bit of the value, from 0.
    pub(super) high: u32,
    pub(super) signed: bool,
    /// Whether a frame is stored by planes (red, green, blue) rather than by pixels.
    pub(super) planar: bool,
    pub(super) photometric: Photometric,
}

impl Layout {
    /// Reads the layout, and refuses missing, contradictory and too large values.
    pub(super) fn of(path: &Path, attributes: &DataSet) -> Result<Layout, Error> {
        let short = |tag: Tag, name: &str| required(path, name, attributes.short(tag));
        let allocated = u32::from(short(tags::BITS_ALLOCATED, "BitsAllocated")?);
        let stored = attributes.short(tags::BITS_STORED);
        let stored = stored.map_or(allocated, u32::from);
        let high = attributes.short(tags::HIGH_BIT);
        let high = high.map_or_else(|| stored.saturating_sub(1), u32::from);
        let frames = match attributes.text(tags::NUMBER_OF_FRAMES) {
            Some(count) => required(path, "NumberOfFrames", count.parse().ok())?,
            None => 1,
        };
        let photometric = photometric(path, attributes)?;
        let layout = Layout {
            frames,
            rows: short(tags::ROWS, "Rows")?.into(),
            columns: short(tags::COLUMNS, "Columns")?.into(),
            samples: attributes
                .short(tags::SAMPLES_PER_PIXEL)
                .unwrap_or(1)
                .into(),
            allocated,
            stored,
            high,
            signed: attributes.short(tags::PIXEL_REPRESENTATION) == Some(1),
            planar: attributes.short(tags::PLANAR_CONFIGURATION) == Some(1)
                && photometric != Photometric::YbrFull422,
            photometric,
        };
        layout.check_bits(path)?;
        layout.check_samples(path)?;
        layout.check_size(path)?;
        Ok(layout)
    }

    /// Pixels of a frame.
    pub(super) fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// Bytes of a sample; 0 for single bits.
    pub(super) fn width(&self) -> usize {
        self.allocated as usize / 8
    }

    /// Bytes of all frames in memory.
    pub(super) fn bytes(&self) -> u64 {
        let pixel = match self.photometric {
            // Three colours of up to 16 bits.
            Photometric::Palette => 6,
            _ => self.samples * self.width().max(1),
        };
        ((self.pixels() * pixel) as u64).saturating_mul(self.frames as u64)
    }

    /// Sum of a value and its inverse: the greatest value, or -1 for signed values.
    pub(super) fn inverse_sum(&self) -> f64 {
        if self.signed {
            -1.0
        } else {
            f64::from(self.stored).exp2() - 1.0
        }
    }

    fn check_bits(&self, path: &Path) -> Result<(), Error> {
        if ![1, 8, 16, 32].contains(&self.allocated) {
            let found = format!("a sample of {} bits", self.allocated);
            return Err(Error::unsupported_dicom(
                path,
                found,
                "convert it to 8 or 16 bits",
            ));
        }
        let fits = self.stored >= 1 && self.high < self.allocated && self.stored <= self.high + 1;
        if fits {
            Ok(())
        } else {
            Err(Error::damaged(
                path,
                format!(
                    "BitsAllocated is {}, BitsStored {}, HighBit {}",
                    self.allocated, self.stored, self.high
                ),
            ))
        }
    }

    fn check_samples(&self, path: &Path) -> Result<(), Error> {
        use Photometric::{Monochrome1, Monochrome2, Palette, YbrFull, YbrFull422};
        let expected = match self.photometric {
            Monochrome1 | Monochrome2 | Palette => 1,
            _ => 3,
        };
        if self.samples != expected {
            let (samples, photometric) = (self.samples, self.photometric);
            return Err(Error::damaged(
                path,
                format!("SamplesPerPixel is {samples}, expected {expected} for {photometric:?}"),
            ));
        }
        let is_ybr = [YbrFull, YbrFull422].contains(&self.photometric);
        if is_ybr && self.allocated != 8 || self.samples == 3 && self.allocated == 1 {
            let found = format!("{:?} of {} bits", self.photometric, self.allocated);
            return Err(Error::unsupported_dicom(
                path,
                found,
                "convert it to 8-bit RGB",
            ));
        }
        Ok(())
    }

    fn check_size(&self, path: &Path) -> Result<(), Error> {
        let Layout {
            frames,
            rows,
            columns,
            samples,
            ..
        } = *self;
        if frames == 0 || rows == 0 || columns == 0 {
            return Err(Error::damaged(path, self.sizes()));
        }
        let width = self.width().max(1);
        let frame = (rows * columns * samples * width) as u64;
        if rows.max(columns) > MAX_SIDE as usize || frame > MAX_UNPACKED {
            return Err(Error::too_large(
                path,
                self.sizes(),
                format!("{MAX_SIDE} a side and {MAX_UNPACKED} bytes a frame"),
            ));
        }
        Ok(())
    }

    fn sizes(&self) -> String {
        format!(
            "{} of {} and {}",
            counted(self.frames, "frame"),
            counted(self.rows, "row"),
            counted(self.columns, "column")
        )
    }
}

fn required<T>(path: &Path, name: &str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| {
        Error::damaged(
            path,
            format!("the DICOM attribute {name} is missing or wrong"),
        )
    })
}

fn photometric(path: &Path, attributes: &DataSet) -> Result<Photometric, Error> {
    let name = attributes.text(tags::PHOTOMETRIC_INTERPRETATION);
    let name = required(path, "PhotometricInterpretation", name)?;
    Ok(match name.as_str() {
        "MONOCHROME1" => Photometric::Monochrome1,
        "MONOCHROME2" => Photometric::Monochrome2,
        // The JPEG 2000 decoder converts YBR_RCT and YBR_ICT to RGB.
        "RGB" | "YBR_RCT" | "YBR_ICT" => Photometric::Rgb,
        "YBR_FULL" => Photometric::YbrFull,
        "YBR_FULL_422" => Photometric::YbrFull422,
        "PALETTE COLOR" => Photometric::Palette,
        _ => {
            let found = format!("the photometric interpretation {name}");
            return Err(Error::unsupported_dicom(
                path,
                found,
                "convert it to MONOCHROME2 or RGB",
            ));
        }
    })
}
