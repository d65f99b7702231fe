//! NIfTI-1 in one file, plain or gzipped.

mod gzip;
mod header;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use ndarray::{Array1, s};
use nifti::{Endianness, NiftiHeader, NiftiType};

use self::gzip::GzipMembers;
use super::volume::{Block, Volume};
use super::voxels::{Voxel, Voxels};
use super::{Room, numbers};
use crate::Error;
use crate::read::ReadError;

/// Bytes that may follow the voxels and are ignored: padding to whole blocks of a tape or disk.
const PADDING: u64 = 511;

/// Most bytes that may follow, however large a slice is.
const MAX_TRAILING: u64 = 1 << 20;

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
pub(super) fn read(
    path: &Path,
    gzipped: bool,
    channel: Option<u32>,
    room: &Room,
) -> Result<Volume, Error> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    if !gzipped {
        return read_from(path, file, channel, room);
    }
    match gzip::read_at_once(path, channel, room)? {
        Some(volume) => Ok(volume),
        None => read_from(path, GzipMembers::new(file), channel, room),
    }
}

fn read_from(
    path: &Path,
    mut reader: impl Read,
    channel: Option<u32>,
    room: &Room,
) -> Result<Volume, Error> {
    let header = header::read(path, &mut reader)?;
    let layout = Layout::of(path, &header)?;
    let channel = layout.channel(path, channel)?;
    skip(
        path,
        &mut reader,
        layout.start_of(channel) - header::BYTES as u64,
    )?;
    room.take(path, "voxels", layout.channel_bytes())?.keep();
    let voxels = with_type!(layout.kind, T => read_voxels::<T>(path, &layout, &mut reader))?;
    skip(
        path,
        &mut reader,
        layout.end() - layout.start_of(channel + 1),
    )?;
    skip_rest(path, &mut reader, &layout)?;
    volume(path, &header, voxels)
}

fn volume(path: &Path, header: &NiftiHeader, voxels: Voxels) -> Result<Volume, Error> {
    let block = Block {
        path: path.to_path_buf(),
        voxels,
        scale: header::scale(path, header)?,
        window: None,
    };
    Ok(Volume {
        spacing_mm: header::spacing_mm(header),
        ..Volume::of_block(block, header::geometry(header))
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
    /// Whether the bytes of each voxel come in the other order than in memory.
    is_swapped: bool,
}

impl Layout {
    fn of(path: &Path, header: &NiftiHeader) -> Result<Layout, Error> {
        let (shape, channels) = header::shape(path, header)?;
        Ok(Layout {
            offset: header::offset(path, header)?,
            shape,
            channels,
            kind: Kind::of(path, header)?,
            is_swapped: header.endianness != Endianness::native(),
        })
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

    /// The byte of the file where a channel begins.
    fn start_of(&self, channel: u32) -> u64 {
        self.offset + u64::from(channel) * self.channel_bytes()
    }

    /// The byte behind the last voxel.
    fn end(&self) -> u64 {
        self.offset + self.bytes()
    }

    /// How many bytes may follow and be ignored: less than a slice.
    fn allowed_after(&self) -> u64 {
        let slice_bytes = self.channel_bytes() / self.shape[2] as u64;
        (slice_bytes - 1).clamp(PADDING, MAX_TRAILING)
    }

    fn channel(&self, path: &Path, wanted: Option<u32>) -> Result<u32, Error> {
        match wanted {
            None if self.channels > 1 => Err(ReadError::FourDimensional {
                path: path.to_path_buf(),
                channels: self.channels,
            }
            .into()),
            Some(channel) if channel as usize >= self.channels => Err(ReadError::NoChannel {
                path: path.to_path_buf(),
                found: channel,
                channels: self.channels,
            }
            .into()),
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
            _ => Err(ReadError::UnsupportedVoxels {
                path: path.to_path_buf(),
                datatype: header.datatype,
            }
            .into()),
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
}

/// Evaluates `$body` with `$number` standing for the type.
macro_rules! with_type {
    ($kind:expr, $number:ident => $body:expr) => {
        with_type!($kind, $number => $body,
            U8 u8, I8 i8, U16 u16, I16 i16, U32 u32, I32 i32, U64 u64, I64 i64, F32 f32, F64 f64)
    };
    ($kind:expr, $number:ident => $body:expr, $($variant:ident $type:ty),*) => {
        match $kind {
            $($crate::read::nifti::Kind::$variant => {
                type $number = $type;
                $body
            })*
        }
    };
}
use with_type;

/// Reads one channel.
fn read_voxels<T: Voxel>(
    path: &Path,
    layout: &Layout,
    reader: &mut impl Read,
) -> Result<Voxels, Error> {
    let values: Vec<T> =
        numbers(reader, layout.voxels() as usize).map_err(|short| match short.error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Truncated {
                path: path.to_path_buf(),
                expected: layout.channel_bytes(),
                found: short.found,
            }
            .into(),
            _ => damaged(path, &short.error),
        })?;
    Ok(voxels_at(layout, values, 0))
}

/// The channel that begins with number `start` of `values`: `[S, 1, H, W]`, in the file's order of
/// memory.
fn voxels_at<T: Voxel>(layout: &Layout, values: Vec<T>, start: usize) -> Voxels {
    let end = start + layout.voxels() as usize;
    let mut values = Array1::from_vec(values).slice_move(s![start..end]);
    if layout.is_swapped {
        values.mapv_inplace(Voxel::swap_bytes);
    }
    let [height, width, slices] = layout.shape;
    let stored = values.into_shape_with_order((slices, 1, width, height));
    let stored = stored.expect("one value per voxel");
    T::wrap(stored.permuted_axes([0, 1, 3, 2]))
}

fn skip(path: &Path, reader: &mut impl Read, bytes: u64) -> Result<(), Error> {
    let skipped = io::copy(&mut reader.take(bytes), &mut io::sink());
    skipped.map_err(|error| damaged(path, &error)).map(|_| ())
}

/// Reads to the end, where gzip's checksum is; a slice more than the header says is an error.
fn skip_rest(path: &Path, reader: &mut impl Read, layout: &Layout) -> Result<(), Error> {
    let allowed = layout.allowed_after();
    let rest = io::copy(&mut reader.take(allowed + 1), &mut io::sink());
    if rest.map_err(|error| damaged(path, &error))? > allowed {
        return Err(ReadError::TrailingData {
            path: path.to_path_buf(),
            expected: layout.bytes(),
            allowed,
        }
        .into());
    }
    Ok(())
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
