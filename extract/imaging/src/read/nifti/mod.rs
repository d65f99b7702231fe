//! NIfTI-1 and NIfTI-2, in one file or a pair of header and voxels, plain or gzipped.

mod gzip;
mod header;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use ndarray::{Array1, s};

use self::gzip::GzipMembers;
use self::header::Header;
use super::budget::SampleBudget;
use super::bytes::numbers;
use super::volume::{Block, Volume};
use super::voxels::{Voxel, Voxels};
use crate::Error;
use crate::orient::Cut;
use crate::preprocess::Slicing;

/// Bytes behind the voxels that are always ignored: padding to whole blocks of a tape or disk.
const PADDING: u64 = 511;

/// Greatest number of bytes behind the voxels that are ignored, however large a slice is.
const MAX_TRAILING: u64 = 1 << 20;

/// Version of NIfTI (1 or 2) if a header in either byte order starts here.
pub(super) fn version(start: &[u8]) -> Option<u8> {
    let size = start.first_chunk::<4>()?;
    match (u32::from_le_bytes(*size), u32::from_be_bytes(*size)) {
        (348, _) | (_, 348) => Some(1),
        (540, _) | (_, 540) => Some(2),
        _ => None,
    }
}

/// Reads a volume. A gzipped file is read to its end, where its checksum is.
///
/// `channel` chooses one of several along the fourth axis; without it there may be only one.
pub(super) fn read(
    path: &Path,
    gzipped: bool,
    channel: Option<u32>,
    budget: &SampleBudget,
) -> Result<Volume, Error> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    if !gzipped {
        return read_from(path, file, channel, budget);
    }
    match gzip::read_at_once(path, channel, budget)? {
        Some(volume) => Ok(volume),
        None => read_from(path, GzipMembers::new(file), channel, budget),
    }
}

/// Lengths of slices, rows and columns along `slicing`, from the header alone.
pub(super) fn shape(path: &Path, gzipped: bool, slicing: Slicing) -> Result<[usize; 3], Error> {
    let mut file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let header = if gzipped {
        header::read(path, &mut GzipMembers::new(file))?
    } else {
        header::read(path, &mut file)?
    };
    let ([i, j, k], _) = header.shape(path)?;
    let cut = Cut::of(slicing, &header.geometry(), k).unwrap_or(Cut::NONE);
    Ok(cut.axes.map(|axis| [k, i, j][axis]))
}

/// The header beside a file of voxels (`.img`), if there is one.
pub(super) fn header_of(voxels: &Path) -> Option<PathBuf> {
    beside(voxels, "img", "hdr").filter(|header| header.is_file())
}

/// The file of voxels beside a header (`.hdr`), if there is one.
pub(super) fn voxels_of(header: &Path) -> Option<PathBuf> {
    beside(header, "hdr", "img").filter(|voxels| voxels.is_file())
}

/// The path with the ending `from` replaced by `to`, with or without `.gz`: as in `path` if both exist.
fn beside(path: &Path, from: &str, to: &str) -> Option<PathBuf> {
    let is_packed = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    let plain = if is_packed {
        path.with_extension("")
    } else {
        path.to_path_buf()
    };
    let fits = plain
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case(from));
    let plain = fits.then(|| plain.with_extension(to))?;
    let packed = plain.with_extension(format!("{to}.gz"));
    if packed.is_file() && (is_packed || !plain.is_file()) {
        Some(packed)
    } else {
        Some(plain)
    }
}

/// The file of voxels of a pair, and its bytes.
fn voxels_beside(header: &Path) -> Result<(PathBuf, Box<dyn Read>), Error> {
    let path = header.to_path_buf();
    let voxels = voxels_of(header).ok_or(Error::PairWithoutVoxels { path })?;
    let mut file = BufReader::new(File::open(&voxels).map_err(Error::io(&voxels))?);
    let start = file.fill_buf().map_err(Error::io(&voxels))?;
    let reader: Box<dyn Read> = if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(GzipMembers::new(file))
    } else {
        Box::new(file)
    };
    Ok((voxels, reader))
}

fn read_from(
    path: &Path,
    mut reader: impl Read,
    channel: Option<u32>,
    budget: &SampleBudget,
) -> Result<Volume, Error> {
    let header = header::read(path, &mut reader)?;
    if header.is_pair {
        let (path, reader) = voxels_beside(path)?;
        return read_voxels_of(&path, &header, reader, 0, channel, budget);
    }
    read_voxels_of(path, &header, reader, header.bytes, channel, budget)
}

/// The volume with voxels from `reader`, which is at byte `at` of the file.
fn read_voxels_of(
    path: &Path,
    header: &Header,
    mut reader: impl Read,
    at: u64,
    channel: Option<u32>,
    budget: &SampleBudget,
) -> Result<Volume, Error> {
    let layout = Layout::of(path, header)?;
    let channel = layout.channel(path, channel)?;
    skip(path, &mut reader, layout.start_of(channel) - at)?;
    budget.take(path, "voxels", layout.channel_bytes())?.keep();
    let voxels = with_type!(layout.kind, T => read_voxels::<T>(path, &layout, &mut reader))?;
    skip(
        path,
        &mut reader,
        layout.end() - layout.start_of(channel + 1),
    )?;
    skip_rest(path, &mut reader, &layout)?;
    volume(path, header, voxels)
}

fn volume(path: &Path, header: &Header, voxels: Voxels) -> Result<Volume, Error> {
    let block = Block {
        path: path.to_path_buf(),
        voxels,
        scale: header.scale(path)?,
        shown: None,
    };
    Ok(Volume {
        spacing_mm: header.spacing_mm(),
        ..Volume::of_block(block, header.geometry())
    })
}

/// Position and type of the voxels in the file, after a check of the header.
struct Layout {
    /// First byte.
    offset: u64,
    /// Rows, columns and slices: the first three axes.
    shape: [usize; 3],
    /// Length of the first later axis that is longer than 1.
    channels: usize,
    kind: Kind,
    /// Whether the byte order of the file is not that of this machine.
    is_swapped: bool,
}

impl Layout {
    fn of(path: &Path, header: &Header) -> Result<Layout, Error> {
        let (shape, channels) = header.shape(path)?;
        Ok(Layout {
            offset: header.offset(path)?,
            shape,
            channels,
            kind: Kind::of(path, header)?,
            is_swapped: header.big_endian == cfg!(target_endian = "little"),
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

    /// First byte of a channel.
    fn start_of(&self, channel: u32) -> u64 {
        self.offset + u64::from(channel) * self.channel_bytes()
    }

    /// First byte behind the voxels.
    fn end(&self) -> u64 {
        self.offset + self.bytes()
    }

    /// Number of bytes behind the voxels that are ignored: less than a slice.
    fn allowed_after(&self) -> u64 {
        let slice_bytes = self.channel_bytes() / self.shape[2] as u64;
        (slice_bytes - 1).clamp(PADDING, MAX_TRAILING)
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

/// Type of a voxel.
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
    fn of(path: &Path, header: &Header) -> Result<Kind, Error> {
        match header.datatype {
            2 => Ok(Kind::U8),
            4 => Ok(Kind::I16),
            8 => Ok(Kind::I32),
            16 => Ok(Kind::F32),
            64 => Ok(Kind::F64),
            256 => Ok(Kind::I8),
            512 => Ok(Kind::U16),
            768 => Ok(Kind::U32),
            1024 => Ok(Kind::I64),
            1280 => Ok(Kind::U64),
            datatype => Err(Error::UnsupportedVoxels {
                path: path.to_path_buf(),
                datatype,
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
}

/// Evaluates `$body` with `$number` as the type of a voxel.
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
            io::ErrorKind::UnexpectedEof => Error::Truncated {
                path: path.to_path_buf(),
                expected: layout.channel_bytes(),
                found: short.found,
            },
            io::ErrorKind::OutOfMemory => Error::too_large(
                path,
                format!("{} bytes for voxels", layout.channel_bytes()),
                "the available memory",
            ),
            _ => damaged(path, &short.error),
        })?;
    Ok(voxels_at(layout, values, 0))
}

/// The channel that starts at index `start` of `values`, as `[S, 1, H, W]` in the memory order of the
/// file (first axis fastest).
fn voxels_at<T: Voxel>(layout: &Layout, values: Vec<T>, start: usize) -> Voxels {
    let end = start + layout.voxels() as usize;
    let mut values = Array1::from_vec(values).slice_move(s![start..end]);
    if layout.is_swapped {
        values.mapv_inplace(Voxel::swap_bytes);
    }
    let [height, width, slices] = layout.shape;
    let stored = values
        .into_shape_with_order((slices, 1, width, height))
        .expect("one value per voxel");
    T::wrap(stored.permuted_axes([0, 1, 3, 2]))
}

fn skip(path: &Path, reader: &mut impl Read, bytes: u64) -> Result<(), Error> {
    let skipped = io::copy(&mut reader.take(bytes), &mut io::sink());
    skipped.map_err(|error| damaged(path, &error)).map(|_| ())
}

/// Reads to the end, where gzip's checksum is. Too many bytes are an error.
fn skip_rest(path: &Path, reader: &mut impl Read, layout: &Layout) -> Result<(), Error> {
    let allowed = layout.allowed_after();
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

fn damaged(path: &Path, error: &io::Error) -> Error {
    let reason = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        _ => error.to_string(),
    };
    Error::damaged(path, reason)
}
