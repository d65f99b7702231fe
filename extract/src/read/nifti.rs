//! NIfTI-1 in one file, plain or gzipped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;
use libdeflater::Decompressor;
use ndarray::Array;
use nifti::{Endianness, NiftiHeader, NiftiType};

use super::orient::{self, Affine};
use super::volume::{Block, Geometry, Volume};
use super::voxels::{Voxel, Voxels};
use super::{MAX_SIDE, numbers};
use crate::Error;

/// Most bytes of voxels that a volume may have: 8 GiB.
const MAX_VOXEL_BYTES: u64 = 8 << 30;

/// Most bytes that may lie before the voxels (header extensions): 256 MiB.
const MAX_OFFSET: f32 = (256 << 20) as f32;

/// Bytes that may follow the voxels and are ignored: padding to whole blocks of a tape or disk.
const PADDING: u64 = 511;

/// Most bytes that may follow, however large a slice is.
const MAX_TRAILING: u64 = 1 << 20;

/// How many times longer than its packed form gzip's content can be (1032 by its design).
const MAX_RATIO: u64 = 1100;

const HEADER_BYTES: usize = 348;

/// 1 or 2 if a header of that version of NIfTI begins here, in either byte order.
pub(super) fn version(start: &[u8]) -> Option<u8> {
    let size = start.first_chunk::<4>()?;
    match (u32::from_le_bytes(*size), u32::from_be_bytes(*size)) {
        (348, _) | (_, 348) => Some(1),
        (540, _) | (_, 540) => Some(2),
        _ => None,
    }
}

/// Reads a volume, and a gzipped one to its end, so that a wrong checksum is seen.
///
/// `channel` picks one of several along the fourth axis; without it there may be only one.
pub(super) fn read(path: &Path, gzipped: bool, channel: Option<u32>) -> Result<Volume, Error> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    if !gzipped {
        return read_from(path, file, channel);
    }
    match inflate_at_once(path)? {
        Some(bytes) => read_from(path, bytes.as_slice(), channel),
        None => read_from(path, GzipMembers(Some(GzDecoder::new(file))), channel),
    }
}

/// The unpacked content of a gzip file, if its size is the one that the header in it promises;
/// everything odd is left to the slower reader, which says what is wrong.
fn inflate_at_once(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let packed = std::fs::read(path).map_err(Error::io(path))?;
    let Some(size) = packed
        .last_chunk::<4>()
        .map(|size| u32::from_le_bytes(*size))
    else {
        return Ok(None);
    };
    let Ok(header) = read_header(path, &mut GzDecoder::new(packed.as_slice())) else {
        return Ok(None);
    };
    let Ok(layout) = Layout::of(path, &header) else {
        return Ok(None);
    };
    let expected = layout.offset + layout.bytes();
    let (size, packed_size) = (u64::from(size), packed.len() as u64);
    let is_plausible = (expected..=expected + MAX_TRAILING).contains(&size)
        && size <= packed_size.saturating_mul(MAX_RATIO);
    if !is_plausible {
        return Ok(None);
    }
    let mut bytes = vec![0; size as usize];
    let found = Decompressor::new().gzip_decompress(&packed, &mut bytes);
    Ok((found == Ok(bytes.len())).then_some(bytes))
}

fn read_from(path: &Path, mut reader: impl Read, channel: Option<u32>) -> Result<Volume, Error> {
    let header = read_header(path, &mut reader)?;
    let layout = Layout::of(path, &header)?;
    let scale = scale(path, &header)?;
    let channel = u64::from(layout.channel(path, channel)?);
    let skipped = layout.offset - HEADER_BYTES as u64 + channel * layout.channel_bytes();
    skip(path, &mut reader, skipped)?;
    let voxels = layout.kind.read(path, &header, &layout, &mut reader)?;
    let after = layout.channels as u64 - 1 - channel;
    skip(path, &mut reader, after * layout.channel_bytes())?;
    skip_rest(path, &mut reader, &layout)?;
    let block = Block {
        path: path.to_path_buf(),
        voxels,
        scale,
        window: None,
    };
    Ok(Volume {
        spacing_mm: spacing_mm(&header),
        ..Volume::of_block(block, geometry(&header))
    })
}

/// How the voxels lie in the file, as the header says and found to be possible.
struct Layout {
    /// Where they begin.
    offset: u64,
    /// Rows, columns and slices: the first three axes.
    shape: [usize; 3],
    /// Length of the first later axis that is longer than 1.
    channels: usize,
    kind: Kind,
}

impl Layout {
    fn of(path: &Path, header: &NiftiHeader) -> Result<Layout, Error> {
        let (shape, channels) = shape(path, header)?;
        let layout = Layout {
            offset: offset(path, header)?,
            shape,
            channels,
            kind: Kind::of(path, header)?,
        };
        if layout.bytes() > MAX_VOXEL_BYTES {
            return Err(Error::TooLarge {
                path: path.to_path_buf(),
                found: format!("{} bytes of voxels", layout.bytes()),
                limit: format!("{MAX_VOXEL_BYTES}"),
            });
        }
        Ok(layout)
    }

    /// Voxels of one channel.
    fn voxels(&self) -> u64 {
        self.shape.iter().map(|&length| length as u64).product()
    }

    fn channel_bytes(&self) -> u64 {
        self.voxels() * self.kind.bytes() as u64
    }

    fn bytes(&self) -> u64 {
        self.channel_bytes() * self.channels as u64
    }

    fn channel(&self, path: &Path, wanted: Option<u32>) -> Result<u32, Error> {
        match wanted {
            None if self.channels > 1 => Err(Error::FourDimensional {
                path: path.to_path_buf(),
                channels: self.channels,
            }),
            Some(channel) if channel as usize >= self.channels => Err(Error::NoChannel {
                path: path.to_path_buf(),
                found: channel,
                channels: self.channels,
            }),
            wanted => Ok(wanted.unwrap_or(0)),
        }
    }
}

/// The type of a voxel.
#[derive(Clone, Copy)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Kind {
    fn of(path: &Path, header: &NiftiHeader) -> Result<Kind, Error> {
        match header.data_type() {
            Ok(NiftiType::Uint8) => Ok(Kind::U8),
            Ok(NiftiType::Int8) => Ok(Kind::I8),
            Ok(NiftiType::Uint16) => Ok(Kind::U16),
            Ok(NiftiType::Int16) => Ok(Kind::I16),
            Ok(NiftiType::Uint32) => Ok(Kind::U32),
            Ok(NiftiType::Int32) => Ok(Kind::I32),
            Ok(NiftiType::Uint64) => Ok(Kind::U64),
            Ok(NiftiType::Int64) => Ok(Kind::I64),
            Ok(NiftiType::Float32) => Ok(Kind::F32),
            Ok(NiftiType::Float64) => Ok(Kind::F64),
            _ => Err(Error::UnsupportedVoxels {
                path: path.to_path_buf(),
                datatype: header.datatype,
            }),
        }
    }

    fn bytes(self) -> usize {
        match self {
            Kind::U8 | Kind::I8 => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 => 8,
        }
    }

    fn read(
        self,
        path: &Path,
        header: &NiftiHeader,
        layout: &Layout,
        reader: &mut impl Read,
    ) -> Result<Voxels, Error> {
        let swap = header.endianness != Endianness::native();
        match self {
            Kind::U8 => read_voxels::<u8>(path, layout, swap, reader),
            Kind::I8 => read_voxels::<i8>(path, layout, swap, reader),
            Kind::U16 => read_voxels::<u16>(path, layout, swap, reader),
            Kind::I16 => read_voxels::<i16>(path, layout, swap, reader),
            Kind::U32 => read_voxels::<u32>(path, layout, swap, reader),
            Kind::I32 => read_voxels::<i32>(path, layout, swap, reader),
            Kind::U64 => read_voxels::<u64>(path, layout, swap, reader),
            Kind::I64 => read_voxels::<i64>(path, layout, swap, reader),
            Kind::F32 => read_voxels::<f32>(path, layout, swap, reader),
            Kind::F64 => read_voxels::<f64>(path, layout, swap, reader),
        }
    }
}

/// Reads one channel: `[S, 1, H, W]`, in the file's order of memory.
fn read_voxels<T: Voxel>(
    path: &Path,
    layout: &Layout,
    swap: bool,
    reader: &mut impl Read,
) -> Result<Voxels, Error> {
    let mut values: Vec<T> =
        numbers(reader, layout.voxels() as usize).map_err(|short| match short.error.kind() {
            io::ErrorKind::UnexpectedEof => Error::Truncated {
                path: path.to_path_buf(),
                expected: layout.channel_bytes(),
                found: short.found,
            },
            _ => damaged(path, &short.error),
        })?;
    if swap {
        values
            .iter_mut()
            .for_each(|value| *value = value.swap_bytes());
    }
    let [height, width, slices] = layout.shape;
    let stored = Array::from_shape_vec((slices, 1, width, height), values);
    let stored = stored.expect("one value per voxel");
    Ok(T::wrap(stored.permuted_axes([0, 1, 3, 2])))
}

fn read_header(path: &Path, reader: &mut impl Read) -> Result<NiftiHeader, Error> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    reader
        .take(HEADER_BYTES as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| damaged(path, &error))?;
    match version(&bytes) {
        Some(1) if bytes.len() == HEADER_BYTES => parse(path, &bytes),
        Some(1) => Err(damaged(path, &io::ErrorKind::UnexpectedEof.into())),
        Some(_) => Err(Error::Nifti2 {
            path: path.to_path_buf(),
        }),
        None => Err(Error::NotNifti {
            path: path.to_path_buf(),
        }),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<NiftiHeader, Error> {
    let magic = &bytes[HEADER_BYTES - 4..];
    match magic {
        b"n+1\0" => NiftiHeader::from_reader(bytes).map_err(|error| Error::Damaged {
            path: path.to_path_buf(),
            reason: error.to_string(),
        }),
        b"ni1\0" => Err(Error::NiftiPair {
            path: path.to_path_buf(),
        }),
        _ => {
            let value = magic.escape_ascii().to_string();
            Err(bad_header(path, "magic", value, "`n+1`"))
        }
    }
}

/// Lengths of the first three axes, and of the one later axis that may be longer than 1; missing
/// ones are 1.
fn shape(path: &Path, header: &NiftiHeader) -> Result<([usize; 3], usize), Error> {
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
        return Err(Error::FiveDimensional { path, shape });
    }
    let shape = [0, 1, 2].map(|axis| axes.get(axis).copied().unwrap_or(1).into());
    Ok((shape, channels.into()))
}

/// Slope and intercept; a slope that is 0 or not finite means none, as in nibabel.
fn scale(path: &Path, header: &NiftiHeader) -> Result<Option<(f64, f64)>, Error> {
    let (slope, intercept) = (header.scl_slope, header.scl_inter);
    if slope == 0.0 || !slope.is_finite() {
        return Ok(None);
    }
    if !intercept.is_finite() {
        let value = intercept.to_string();
        return Err(bad_header(path, "scl_inter", value, "a finite number"));
    }
    Ok(Some((slope.into(), intercept.into())))
}

/// Where the voxels begin; what points into the header means right behind it.
fn offset(path: &Path, header: &NiftiHeader) -> Result<u64, Error> {
    let offset = header.vox_offset;
    if !(0.0..=MAX_OFFSET).contains(&offset) {
        let value = offset.to_string();
        return Err(bad_header(path, "vox_offset", value, "0 to 268435456"));
    }
    Ok((offset as u64).max(352))
}

fn skip(path: &Path, reader: &mut impl Read, bytes: u64) -> Result<(), Error> {
    let skipped = io::copy(&mut reader.take(bytes), &mut io::sink());
    skipped.map_err(|error| damaged(path, &error)).map(|_| ())
}

/// Reads to the end, where gzip's checksum is; a slice more than the header says is an error.
fn skip_rest(path: &Path, reader: &mut impl Read, layout: &Layout) -> Result<(), Error> {
    let slice_bytes = layout.channel_bytes() / layout.shape[2] as u64;
    let allowed = (slice_bytes - 1).clamp(PADDING, MAX_TRAILING);
    let rest = io::copy(&mut reader.take(allowed + 1), &mut io::sink());
    if rest.map_err(|error| damaged(path, &error))? > allowed {
        return Err(Error::TrailingData {
            path: path.to_path_buf(),
            expected: layout.bytes(),
            allowed,
        });
    }
    Ok(())
}

/// Where voxels lie in the patient: the sform if there is one, else the qform, else the axes as
/// they are, with the first one to the left (as in nibabel).
fn geometry(header: &NiftiHeader) -> Geometry {
    let affine = if header.sform_code > 0 {
        [header.srow_x, header.srow_y, header.srow_z].map(|row| row.map(f64::from))
    } else if header.qform_code > 0 {
        qform(header)
    } else {
        let [_, dx, dy, dz, ..] = header.pixdim.map(f64::from);
        [
            [-dx, 0.0, 0.0, 0.0],
            [0.0, dy, 0.0, 0.0],
            [0.0, 0.0, dz, 0.0],
        ]
    };
    match orient::usable(&affine) {
        true => Geometry::Known(affine),
        false => Geometry::Unknown,
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
fn spacing_mm(header: &NiftiHeader) -> Option<[f32; 3]> {
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
    Error::BadHeader {
        path: path.to_path_buf(),
        field,
        value,
        expected,
    }
}

fn damaged(path: &Path, error: &io::Error) -> Error {
    let reason = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        _ => error.to_string(),
    };
    Error::Damaged {
        path: path.to_path_buf(),
        reason,
    }
}

/// The members of a gzip file one after the other; what follows the last one is ignored.
struct GzipMembers(Option<GzDecoder<BufReader<File>>>);

impl Read for GzipMembers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.next_member()?;
        }
        Ok(0)
    }
}

impl GzipMembers {
    fn next_member(&mut self) -> io::Result<()> {
        let Some(mut file) = self.0.take().map(GzDecoder::into_inner) else {
            return Ok(());
        };
        if file.fill_buf()?.first() == Some(&0x1f) {
            self.0 = Some(GzDecoder::new(file));
        }
        Ok(())
    }
}
