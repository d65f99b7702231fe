//! Predicted label maps as NIfTI and PNG files.

use std::path::{Path, PathBuf};

use cache::SliceMeta;
use common::files::Partial;
use image::{ImageBuffer, Luma};
use ndarray::{Array3, Axis};
use nifti::writer::WriterOptions;
use nifti::{DataElement, NiftiHeader};

use crate::error::FileError;
use crate::error::{Cause, Error};

/// The code of millimetres in `xyzt_units` of NIfTI.
const MM: u8 = 2;
/// The code of an affine to "scanner coordinates" in `sform_code` of NIfTI.
const SCANNER: i16 = 1;

/// Writes the label map `[S, H, W]` of the `slices` of a sample into `folder`: a volume as `SAMPLE.nii.gz`
/// with the geometry of its source, if the cache has it; a single image as `SAMPLE.png`, whose grey values
/// are labels. Returns the file.
///
/// # Errors
///
/// [`FileError::Output`] if it cannot be written.
pub(super) fn write(
    folder: &Path,
    slices: &[&SliceMeta],
    labels: &Array3<u16>,
) -> Result<PathBuf, Error> {
    let is_flat = labels.len_of(Axis(0)) == 1 && slices[0].placement.is_none();
    let extension = if is_flat { "png" } else { "nii.gz" };
    let path = folder.join(format!("{}.{extension}", file_name(&slices[0].sample)));
    match write_whole(&path, slices, labels, is_flat) {
        Ok(()) => Ok(path),
        Err(source) => Err(Error::File(FileError::Output { path, source })),
    }
}

fn write_whole(
    path: &Path,
    slices: &[&SliceMeta],
    labels: &Array3<u16>,
    is_flat: bool,
) -> Result<(), Cause> {
    let partial = Partial::create(path)?;
    if is_flat {
        write_png(partial.path(), labels)?;
    } else {
        write_nifti(partial.path(), slices, labels)?;
    }
    Ok(partial.persist()?)
}

/// The path of a sample below a folder: unique, and never outside the folder.
pub(super) fn file_name(sample: &str) -> String {
    let escaped = |part: &str, is_forbidden: fn(char) -> bool| -> String {
        let escape = |letter: char| {
            if is_forbidden(letter) {
                format!("%{:02X}", u32::from(letter))
            } else {
                letter.into()
            }
        };
        part.chars().map(escape).collect()
    };
    let part = |part: &str| match part {
        "" => "%".to_owned(),
        "." | ".." => escaped(part, |letter| letter == '.'),
        part => escaped(part, |letter| {
            letter.is_control() || ['\\', ':', '%'].contains(&letter)
        }),
    };
    sample.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn write_png(path: &Path, labels: &Array3<u16>) -> Result<(), Cause> {
    let (_, height, width) = labels.dim();
    let (height, width) = (u32::try_from(height)?, u32::try_from(width)?);
    let pixels = labels.iter().copied();
    if labels.iter().all(|&label| label < 256) {
        let pixels = pixels.map(|label| label as u8).collect();
        let image: Option<ImageBuffer<Luma<u8>, Vec<u8>>> =
            ImageBuffer::from_raw(width, height, pixels);
        image.ok_or("too large for a PNG")?.save(path)?;
    } else {
        let image: Option<ImageBuffer<Luma<u16>, Vec<u16>>> =
            ImageBuffer::from_raw(width, height, pixels.collect());
        image.ok_or("too large for a PNG")?.save(path)?;
    }
    Ok(())
}

fn write_nifti(path: &Path, slices: &[&SliceMeta], labels: &Array3<u16>) -> Result<(), Cause> {
    let (header, stored) = match slices[0].placement {
        Some(mut placement) => {
            for row in &mut placement.affine {
                row[3] += row[0] * f64::from(slices[0].slice);
            }
            let (count, height, width) = labels.dim();
            let affine = placement.stored_affine([count, height, width]);
            (placed(affine), placement.as_stored(labels.view()))
        }
        None => {
            let mm = slices[0].spacing_mm.unwrap_or([1.0; 3]);
            let mut header = NiftiHeader {
                xyzt_units: MM,
                ..NiftiHeader::default()
            };
            header.pixdim[1..4].copy_from_slice(&[mm[1], mm[2], mm[0]]);
            (header, labels.view().permuted_axes([1, 2, 0]))
        }
    };
    let stored = stored.as_standard_layout();
    if stored.iter().all(|&label| label < 256) {
        save(path, &header, &stored.map(|&label| label as u8))
    } else {
        save(path, &header, &stored.to_owned())
    }
}

fn save<T>(path: &Path, header: &NiftiHeader, labels: &Array3<T>) -> Result<(), Cause>
where
    T: DataElement + bytemuck::Pod,
{
    let options = WriterOptions::new(path).reference_header(header);
    Ok(options.write_nifti(labels)?)
}

/// A header with an affine from `i, j, k` to mm in RAS+.
fn placed(affine: [[f64; 4]; 3]) -> NiftiHeader {
    let [x, y, z] = affine.map(|row| row.map(|value| value as f32));
    let mut header = NiftiHeader {
        xyzt_units: MM,
        sform_code: SCANNER,
        srow_x: x,
        srow_y: y,
        srow_z: z,
        ..NiftiHeader::default()
    };
    for axis in 0..3 {
        let squares: f64 = affine.iter().map(|row| row[axis] * row[axis]).sum();
        header.pixdim[axis + 1] = squares.sqrt() as f32;
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_files_below_the_folder() {
        assert_eq!(file_name("ward/a.nii"), "ward/a.nii");
        assert_eq!(file_name("../../etc/x"), "%2E%2E/%2E%2E/etc/x");
        assert_eq!(file_name("/a"), "%/a");
        assert_eq!(file_name("c:d%"), "c%3Ad%25");
    }
}
