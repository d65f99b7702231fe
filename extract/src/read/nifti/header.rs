//! What a NIfTI-1 header says, checked.

use std::io::{self, Read};
use std::path::Path;

use nifti::NiftiHeader;

use super::damaged;
use crate::Error;
use crate::read::MAX_SIDE;
use crate::read::ReadError;
use crate::read::orient::{self, Affine};
use crate::read::volume::Geometry;

/// Most bytes that may lie before the voxels (header extensions): 256 MiB.
const MAX_OFFSET: f32 = (256 << 20) as f32;

/// Bytes of a header.
pub(super) const BYTES: usize = 348;

pub(super) fn read(path: &Path, reader: &mut impl Read) -> Result<NiftiHeader, Error> {
    let mut bytes = Vec::with_capacity(BYTES);
    reader
        .take(BYTES as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| damaged(path, &error))?;
    match super::version(&bytes) {
        Some(1) if bytes.len() == BYTES => parse(path, &bytes),
        Some(1) => Err(damaged(path, &io::ErrorKind::UnexpectedEof.into())),
        Some(_) => Err(ReadError::Nifti2 {
            path: path.to_path_buf(),
        }
        .into()),
        None => Err(ReadError::NotNifti {
            path: path.to_path_buf(),
        }
        .into()),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<NiftiHeader, Error> {
    let magic = &bytes[BYTES - 4..];
    match magic {
        b"n+1\0" => NiftiHeader::from_reader(bytes).map_err(|error| Error::Damaged {
            path: path.to_path_buf(),
            reason: error.to_string(),
        }),
        b"ni1\0" => Err(ReadError::NiftiPair {
            path: path.to_path_buf(),
        }
        .into()),
        _ => {
            let value = magic.escape_ascii().to_string();
            Err(bad_header(path, "magic", value, "`n+1`"))
        }
    }
}

/// Lengths of the first three axes, and of the one later axis that may be longer than 1; missing
/// ones are 1.
pub(super) fn shape(path: &Path, header: &NiftiHeader) -> Result<([usize; 3], usize), Error> {
    let wrong = || {
        let value = format!("{:?}", header.dim.map(|length| length as i16));
        bad_header(path, "dim", value, "1 to 7 axes of 1 to 32767 voxels")
    };
    let axes = header.dim().map_err(|_| wrong())?;
    if axes.iter().any(|&length| u32::from(length) > MAX_SIDE) {
        return Err(wrong());
    }
    let mut longer = axes.iter().skip(3).filter(|&&length| length > 1);
    let channels = longer.next().copied().unwrap_or(1);
    if longer.next().is_some() {
        let (path, shape) = (path.to_path_buf(), axes.to_vec());
        return Err(ReadError::FiveDimensional { path, shape }.into());
    }
    let shape = [0, 1, 2].map(|axis| axes.get(axis).copied().unwrap_or(1).into());
    Ok((shape, channels.into()))
}

/// Slope and intercept, if they change anything; a slope that is 0 or not finite means none, as in
/// nibabel.
pub(super) fn scale(path: &Path, header: &NiftiHeader) -> Result<Option<(f64, f64)>, Error> {
    let (slope, intercept) = (header.scl_slope, header.scl_inter);
    if slope == 0.0 || !slope.is_finite() {
        return Ok(None);
    }
    if !intercept.is_finite() {
        let value = intercept.to_string();
        return Err(bad_header(path, "scl_inter", value, "a finite number"));
    }
    let scale = (slope.into(), intercept.into());
    Ok((scale != (1.0, 0.0)).then_some(scale))
}

/// Where the voxels begin; what points into the header means right behind it.
pub(super) fn offset(path: &Path, header: &NiftiHeader) -> Result<u64, Error> {
    let offset = header.vox_offset;
    if !(0.0..=MAX_OFFSET).contains(&offset) {
        let value = offset.to_string();
        return Err(bad_header(path, "vox_offset", value, "0 to 268435456"));
    }
    Ok((offset as u64).max(352))
}

/// Where voxels lie in the patient: the sform if there is one, else the qform, else the axes as
/// they are, with the first one to the left (as in nibabel).
pub(super) fn geometry(header: &NiftiHeader) -> Geometry {
    let geometry = if header.sform_code > 0 {
        let rows = [header.srow_x, header.srow_y, header.srow_z];
        Geometry::Known(rows.map(|row| row.map(f64::from)))
    } else if header.qform_code > 0 {
        Geometry::Known(qform(header))
    } else {
        let [_, dx, dy, dz, ..] = header.pixdim.map(f64::from);
        Geometry::Assumed([
            [-dx, 0.0, 0.0, 0.0],
            [0.0, dy, 0.0, 0.0],
            [0.0, 0.0, dz, 0.0],
        ])
    };
    match &geometry {
        Geometry::Known(affine) | Geometry::Assumed(affine) if orient::usable(affine) => geometry,
        _ => Geometry::Unknown,
    }
}

/// The affine of the quaternion (NIfTI-1 standard, "method 2").
fn qform(header: &NiftiHeader) -> Affine {
    let [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
    let a = (1.0 - b * b - c * c - d * d).max(0.0).sqrt();
    let [qfac, dx, dy, dz, ..] = header.pixdim.map(f64::from);
    let dz = if qfac < 0.0 { -dz } else { dz };
    let (x, y, z) = (header.quatern_x, header.quatern_y, header.quatern_z);
    let rotation = [
        [
            a * a + b * b - c * c - d * d,
            2.0 * (b * c - a * d),
            2.0 * (b * d + a * c),
        ],
        [
            2.0 * (b * c + a * d),
            a * a + c * c - b * b - d * d,
            2.0 * (c * d - a * b),
        ],
        [
            2.0 * (b * d - a * c),
            2.0 * (c * d + a * b),
            a * a + d * d - b * b - c * c,
        ],
    ];
    let offset = [x, y, z].map(f64::from);
    [0, 1, 2].map(|row| {
        let [i, j, k] = rotation[row];
        [i * dx, j * dy, k * dz, offset[row]]
    })
}

/// Distance between slices, rows and columns, if all three are positive.
pub(super) fn spacing_mm(header: &NiftiHeader) -> Option<[f32; 3]> {
    let unit_mm = match header.xyzt_units & 7 {
        1 => 1000.0,
        3 => 0.001,
        _ => 1.0,
    };
    let spacing = [3, 1, 2].map(|axis| header.pixdim[axis].abs() * unit_mm);
    let known = spacing.iter().all(|step| step.is_finite() && *step > 0.0);
    known.then_some(spacing)
}

fn bad_header(path: &Path, field: &'static str, value: String, expected: &'static str) -> Error {
    ReadError::BadHeader {
        path: path.to_path_buf(),
        field,
        value,
        expected,
    }
    .into()
}
