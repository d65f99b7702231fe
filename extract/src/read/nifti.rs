//! NIfTI-1 in one file, plain or gzipped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;
use nifti::{Endianness, NiftiHeader, NiftiType};

use super::MAX_SIDE;
use super::volume::{Order, Volume, VoxelType};
use crate::Error;

/// Most bytes of voxels that a volume may have: 8 GiB.
const MAX_VOXEL_BYTES: u64 = 8 << 30;

/// Most bytes that may lie before the voxels (header extensions): 256 MiB.
const MAX_OFFSET: f32 = (256 << 20) as f32;

/// Bytes that may follow the voxels and are ignored: padding to whole blocks of a tape or disk.
const PADDING: u64 = 511;

/// Most bytes that may follow, however large a slice is.
const MAX_TRAILING: u64 = 1 << 20;

/// Memory reserved before any voxel is read; beyond it, memory grows with what the file gives.
const FIRST_RESERVE: u64 = 64 << 20;

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
pub(super) fn read(path: &Path, gzipped: bool) -> Result<Volume, Error> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    if gzipped {
        read_from(path, GzipMembers(Some(GzDecoder::new(file))))
    } else {
        read_from(path, file)
    }
}

fn read_from(path: &Path, mut reader: impl Read) -> Result<Volume, Error> {
    let header = read_header(path, &mut reader)?;
    let [height, width, slices] = shape(path, &header)?;
    let kind = voxel_type(path, &header)?;
    let scale = scale(path, &header)?;
    let length = voxel_bytes(path, [height, width, slices], kind)?;
    skip_extensions(path, &header, &mut reader)?;
    let mut voxels = read_voxels(path, &mut reader, length)?;
    let slice_length = length / slices as u64;
    skip_rest(path, &mut reader, length, slice_length)?;
    if header.endianness != Endianness::native() {
        voxels
            .chunks_exact_mut(kind.bytes())
            .for_each(<[u8]>::reverse);
    }
    Ok(Volume {
        path: path.to_path_buf(),
        voxels,
        kind,
        order: Order::ColumnMajor,
        scale,
        slices,
        channels: 1,
        height,
        width,
        spacing_mm: spacing_mm(&header),
    })
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

/// Lengths of the first three axes; missing and trailing ones are 1.
fn shape(path: &Path, header: &NiftiHeader) -> Result<[usize; 3], Error> {
    let wrong = || {
        let value = format!("{:?}", header.dim.map(|length| length as i16));
        bad_header(path, "dim", value, "1 to 7 axes of 1 to 32767 voxels")
    };
    let axes = header.dim().map_err(|_| wrong())?;
    if axes.iter().any(|&length| u32::from(length) > MAX_SIDE) {
        return Err(wrong());
    }
    if axes.iter().skip(3).any(|&length| length > 1) {
        let (path, shape) = (path.to_path_buf(), axes.to_vec());
        return Err(Error::FourDimensional { path, shape });
    }
    Ok([0, 1, 2].map(|axis| axes.get(axis).copied().unwrap_or(1).into()))
}

fn voxel_type(path: &Path, header: &NiftiHeader) -> Result<VoxelType, Error> {
    match header.data_type() {
        Ok(NiftiType::Uint8) => Ok(VoxelType::U8),
        Ok(NiftiType::Int8) => Ok(VoxelType::I8),
        Ok(NiftiType::Uint16) => Ok(VoxelType::U16),
        Ok(NiftiType::Int16) => Ok(VoxelType::I16),
        Ok(NiftiType::Uint32) => Ok(VoxelType::U32),
        Ok(NiftiType::Int32) => Ok(VoxelType::I32),
        Ok(NiftiType::Uint64) => Ok(VoxelType::U64),
        Ok(NiftiType::Int64) => Ok(VoxelType::I64),
        Ok(NiftiType::Float32) => Ok(VoxelType::F32),
        Ok(NiftiType::Float64) => Ok(VoxelType::F64),
        _ => Err(Error::UnsupportedVoxels {
            path: path.to_path_buf(),
            datatype: header.datatype,
        }),
    }
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

fn voxel_bytes(path: &Path, shape: [usize; 3], kind: VoxelType) -> Result<u64, Error> {
    let bytes = shape.iter().map(|&length| length as u64).product::<u64>() * kind.bytes() as u64;
    if bytes > MAX_VOXEL_BYTES {
        return Err(Error::TooLarge {
            path: path.to_path_buf(),
            found: format!("{bytes} bytes of voxels"),
            limit: format!("{MAX_VOXEL_BYTES}"),
        });
    }
    Ok(bytes)
}

/// Skips to `vox_offset`; one that points into the header means right behind it.
fn skip_extensions(path: &Path, header: &NiftiHeader, reader: &mut impl Read) -> Result<(), Error> {
    let offset = header.vox_offset;
    if !(0.0..=MAX_OFFSET).contains(&offset) {
        let value = offset.to_string();
        return Err(bad_header(path, "vox_offset", value, "0 to 268435456"));
    }
    let left = (offset as u64).max(352) - HEADER_BYTES as u64;
    let skipped = io::copy(&mut reader.take(left), &mut io::sink());
    skipped.map_err(|error| damaged(path, &error)).map(|_| ())
}

fn read_voxels(path: &Path, reader: &mut impl Read, length: u64) -> Result<Vec<u8>, Error> {
    let mut voxels = Vec::with_capacity(length.min(FIRST_RESERVE) as usize);
    let read = reader.take(length).read_to_end(&mut voxels);
    let cut_short = matches!(&read, Err(error) if error.kind() == io::ErrorKind::UnexpectedEof);
    match read {
        Err(error) if !cut_short => Err(damaged(path, &error)),
        _ if (voxels.len() as u64) < length => Err(Error::Truncated {
            path: path.to_path_buf(),
            expected: length,
            found: voxels.len() as u64,
        }),
        _ => Ok(voxels),
    }
}

/// Reads to the end, where gzip's checksum is; a slice more than the header says is an error.
fn skip_rest(
    path: &Path,
    reader: &mut impl Read,
    expected: u64,
    slice_length: u64,
) -> Result<(), Error> {
    let allowed = (slice_length - 1).clamp(PADDING, MAX_TRAILING);
    let rest = io::copy(&mut reader.take(allowed + 1), &mut io::sink());
    if rest.map_err(|error| damaged(path, &error))? > allowed {
        return Err(Error::TrailingData {
            path: path.to_path_buf(),
            expected,
            allowed,
        });
    }
    Ok(())
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
