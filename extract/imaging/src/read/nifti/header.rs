//! NIfTI headers of both versions.

use std::io::{self, Read};
use std::path::Path;

use super::damaged;
use crate::Error;
use crate::error::NIBABEL;
use crate::orient::{Affine, Geometry, is_usable};
use crate::read::limits::MAX_SIDE;

/// Greatest number of bytes before the voxels (header extensions): 256 MiB.
const MAX_OFFSET: f64 = (256 << 20) as f64;

/// Bytes behind the magic of NIfTI-2, which a transfer as text would change.
const LINE_ENDS: [u8; 4] = [0x0d, 0x0a, 0x1a, 0x0a];

/// Fields of a header of either version that are used, under the names of the standard.
pub(super) struct Header {
    /// Bytes of the header.
    pub(super) bytes: u64,
    /// Whether the voxels are in another file.
    pub(super) is_pair: bool,
    /// Whether numbers are big-endian.
    pub(super) big_endian: bool,
    pub(super) datatype: i16,
    dim: [i64; 8],
    pixdim: [f64; 8],
    vox_offset: f64,
    scl_slope: f64,
    scl_inter: f64,
    qform_code: i64,
    sform_code: i64,
    quatern: [f64; 3],
    qoffset: [f64; 3],
    srow: [[f64; 4]; 3],
    xyzt_units: u8,
}

/// Reads a header, and no byte behind it.
pub(super) fn read(path: &Path, reader: &mut impl Read) -> Result<Header, Error> {
    let mut bytes = Vec::with_capacity(540);
    let mut read = |bytes: &mut Vec<u8>, count: u64| {
        let read = reader.by_ref().take(count).read_to_end(bytes);
        read.map_err(|error| damaged(path, &error))
    };
    read(&mut bytes, 4)?;
    let length = match super::version(&bytes) {
        Some(1) => 348,
        Some(_) => 540,
        None => {
            let path = path.to_path_buf();
            return Err(Error::NotNifti { path });
        }
    };
    read(&mut bytes, length - 4)?;
    if (bytes.len() as u64) < length {
        return Err(damaged(path, &io::ErrorKind::UnexpectedEof.into()));
    }
    let fields = Fields {
        big_endian: bytes[0] == 0,
        bytes: &bytes,
    };
    match length {
        348 => first(path, &fields),
        _ => second(path, &fields),
    }
}

/// A header of NIfTI-1.
fn first(path: &Path, fields: &Fields) -> Result<Header, Error> {
    let magic = &fields.bytes[344..348];
    if ![b"n+1\0", b"ni1\0"].iter().any(|known| *known == magic) {
        return Err(Error::OtherFormat {
            path: path.to_path_buf(),
            format: "Analyze 7.5 (it does not tell left from right)",
            convert: NIBABEL,
        });
    }
    let float = |at: usize| f64::from(fields.f32(at));
    let floats = |at: usize| [0, 4, 8].map(|k| float(at + k));
    Ok(Header {
        bytes: 348,
        is_pair: magic == b"ni1\0",
        big_endian: fields.big_endian,
        datatype: fields.i16(70),
        dim: [0, 1, 2, 3, 4, 5, 6, 7].map(|k| fields.i16(40 + 2 * k).into()),
        pixdim: [0, 1, 2, 3, 4, 5, 6, 7].map(|k| float(76 + 4 * k)),
        vox_offset: float(108),
        scl_slope: float(112),
        scl_inter: float(116),
        qform_code: fields.i16(252).into(),
        sform_code: fields.i16(254).into(),
        quatern: floats(256),
        qoffset: floats(268),
        srow: [280, 296, 312].map(|at| [0, 4, 8, 12].map(|k| float(at + k))),
        xyzt_units: fields.bytes[123],
    })
}

/// A header of NIfTI-2.
fn second(path: &Path, fields: &Fields) -> Result<Header, Error> {
    let magic = &fields.bytes[4..8];
    let is_known = [b"n+2\0", b"ni2\0"].iter().any(|known| *known == magic);
    if !is_known || fields.bytes[8..12] != LINE_ENDS {
        let value = fields.bytes[4..12].escape_ascii().to_string();
        let expected = "`n+2\\0\\r\\n\\x1a\\n` or `ni2\\0\\r\\n\\x1a\\n`";
        return Err(bad_header(path, "magic", value, expected));
    }
    let floats = |at: usize| [0, 8, 16].map(|k| fields.f64(at + k));
    Ok(Header {
        bytes: 540,
        is_pair: magic == b"ni2\0",
        big_endian: fields.big_endian,
        datatype: fields.i16(12),
        dim: [0, 1, 2, 3, 4, 5, 6, 7].map(|k| fields.i64(16 + 8 * k)),
        pixdim: [0, 1, 2, 3, 4, 5, 6, 7].map(|k| fields.f64(104 + 8 * k)),
        vox_offset: fields.i64(168) as f64,
        scl_slope: fields.f64(176),
        scl_inter: fields.f64(184),
        qform_code: fields.i32(344).into(),
        sform_code: fields.i32(348).into(),
        quatern: floats(352),
        qoffset: floats(376),
        srow: [400, 432, 464].map(|at| [0, 8, 16, 24].map(|k| fields.f64(at + k))),
        xyzt_units: fields.i32(500) as u8,
    })
}

/// Numbers in a header.
struct Fields<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

macro_rules! numbers {
    ($($number:ident)*) => {
        $(fn $number(&self, at: usize) -> $number {
            let mut bytes = [0; size_of::<$number>()];
            bytes.copy_from_slice(&self.bytes[at..at + size_of::<$number>()]);
            match self.big_endian {
                true => $number::from_be_bytes(bytes),
                false => $number::from_le_bytes(bytes),
            }
        })*
    };
}

impl Fields<'_> {
    numbers!(i16 i32 i64 f32 f64);
}

impl Header {
    /// Lengths of the first three axes, and of the only later axis that may be longer than 1; missing axes
    /// have length 1.
    pub(super) fn shape(&self, path: &Path) -> Result<([usize; 3], usize), Error> {
        let wrong = || {
            let value = format!("{:?}", self.dim);
            bad_header(path, "dim", value, "1 to 7 axes of 1 to 32767 voxels")
        };
        let count = usize::try_from(self.dim[0]).map_err(|_| wrong())?;
        let axes = self.dim.get(1..=count).filter(|axes| !axes.is_empty());
        let axes = axes.ok_or_else(wrong)?;
        if !axes
            .iter()
            .all(|length| (1..=i64::from(MAX_SIDE)).contains(length))
        {
            return Err(wrong());
        }
        let axes: Vec<usize> = axes.iter().map(|&length| length as usize).collect();
        let mut longer = axes.iter().skip(3).filter(|&&length| length > 1);
        let channels = longer.next().copied().unwrap_or(1);
        if longer.next().is_some() {
            let (path, shape) = (path.to_path_buf(), axes);
            return Err(Error::FiveDimensional { path, shape });
        }
        let shape = [0, 1, 2].map(|axis| axes.get(axis).copied().unwrap_or(1));
        Ok((shape, channels))
    }

    /// Slope and intercept, if they change anything; a slope that is 0 or not finite is ignored, as in
    /// nibabel.
    pub(super) fn scale(&self, path: &Path) -> Result<Option<(f64, f64)>, Error> {
        let (slope, intercept) = (self.scl_slope, self.scl_inter);
        if slope == 0.0 || !slope.is_finite() {
            return Ok(None);
        }
        if !intercept.is_finite() {
            let value = intercept.to_string();
            return Err(bad_header(path, "scl_inter", value, "a finite number"));
        }
        Ok(((slope, intercept) != (1.0, 0.0)).then_some((slope, intercept)))
    }

    /// First byte of the voxels in their file. An offset within the header stands for the first byte behind
    /// it and the 4 bytes that announce extensions.
    pub(super) fn offset(&self, path: &Path) -> Result<u64, Error> {
        if !(0.0..=MAX_OFFSET).contains(&self.vox_offset) {
            let value = self.vox_offset.to_string();
            return Err(bad_header(path, "vox_offset", value, "0 to 268435456"));
        }
        let least = if self.is_pair { 0 } else { self.bytes + 4 };
        Ok((self.vox_offset as u64).max(least))
    }

    /// Position of voxels in the patient: the sform if there is one, else the qform, else the stored axes
    /// with the first one to the left. As in nibabel, but in mm whatever the unit of the file.
    pub(super) fn geometry(&self) -> Geometry {
        let unit = self.unit_mm();
        let in_mm = |affine: Affine| affine.map(|row| row.map(|length| length * unit));
        let geometry = if self.sform_code > 0 {
            Geometry::Known(in_mm(self.srow))
        } else if self.qform_code > 0 {
            Geometry::Known(in_mm(self.qform()))
        } else {
            let [_, dx, dy, dz, ..] = self.pixdim;
            Geometry::Assumed(in_mm([
                [-dx, 0.0, 0.0, 0.0],
                [0.0, dy, 0.0, 0.0],
                [0.0, 0.0, dz, 0.0],
            ]))
        };
        match &geometry {
            Geometry::Known(affine) | Geometry::Assumed(affine) if is_usable(affine) => geometry,
            _ => Geometry::Unknown,
        }
    }

    /// Affine of the quaternion `(a, b, c, d)`, `a² = 1 - b² - c² - d²` (NIfTI-1 standard, "method 2").
    fn qform(&self) -> Affine {
        let [b, c, d] = self.quatern;
        let a = (1.0 - b * b - c * c - d * d).max(0.0).sqrt();
        let [qfac, dx, dy, dz, ..] = self.pixdim;
        let dz = if qfac < 0.0 { -dz } else { dz };
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
        [0, 1, 2].map(|row| {
            let [i, j, k] = rotation[row];
            [i * dx, j * dy, k * dz, self.qoffset[row]]
        })
    }

    /// Distance between slices, rows and columns, if all three are positive.
    pub(super) fn spacing_mm(&self) -> Option<[f32; 3]> {
        let spacing = [3, 1, 2].map(|axis| (self.pixdim[axis].abs() * self.unit_mm()) as f32);
        let known = spacing.iter().all(|step| step.is_finite() && *step > 0.0);
        known.then_some(spacing)
    }

    /// Length of the file's unit in mm: metres, micrometres, else mm.
    fn unit_mm(&self) -> f64 {
        match self.xyzt_units & 7 {
            1 => 1000.0,
            3 => 0.001,
            _ => 1.0,
        }
    }
}

fn bad_header(path: &Path, field: &'static str, value: String, expected: &'static str) -> Error {
    Error::BadHeader {
        path: path.to_path_buf(),
        field,
        value,
        expected,
    }
}
