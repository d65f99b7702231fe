//! Gzip: valid files in one call, others as a stream.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use bytemuck::cast_slice_mut;
use flate2::bufread::GzDecoder;
use libdeflater::Decompressor;

use super::{Layout, header, voxels_at, with_type};
use crate::Error;
use crate::read::budget::SampleBudget;
use crate::read::limits::MAX_RATIO;
use crate::read::volume::Volume;
use crate::read::voxels::{Voxel, Voxels};

/// Largest file that is read into memory as a whole: 2 GiB.
const MAX_PACKED: u64 = 2 << 30;

/// The volume in a gzip file of the size that its NIfTI header gives, unpacked in one call. `None` for any
/// other file: the slower stream finds what is wrong with it.
pub(super) fn read_at_once(
    path: &Path,
    channel: Option<u32>,
    budget: &SampleBudget,
) -> Result<Option<Volume>, Error> {
    let length = fs::metadata(path).map_err(Error::io(path))?.len();
    if length > MAX_PACKED {
        return Ok(None);
    }
    let _packed = budget.take(path, "the packed file", length)?;
    let packed = fs::read(path).map_err(Error::io(path))?;
    let Ok(header) = header::read(path, &mut GzDecoder::new(packed.as_slice())) else {
        return Ok(None);
    };
    let layout = Layout::of(path, &header);
    let Some(layout) = layout.ok().filter(|_| !header.is_pair) else {
        return Ok(None);
    };
    let Some(size) = unpacked_size(&packed, &layout) else {
        return Ok(None);
    };
    let channel = layout.channel(path, channel)?;
    let taken = budget.take(path, "voxels", size as u64)?;
    let voxels = with_type!(layout.kind, T => unpack::<T>(&packed, size, &layout, channel));
    let Some(voxels) = voxels else {
        return Ok(None);
    };
    taken.keep();
    super::volume(path, &header, voxels).map(Some)
}

/// The unpacked size in the file's last bytes, if header and packed size agree with it.
fn unpacked_size(packed: &[u8], layout: &Layout) -> Option<usize> {
    let size = u64::from(u32::from_le_bytes(*packed.last_chunk()?));
    let is_expected = (layout.end()..=layout.end() + layout.allowed_after()).contains(&size);
    let is_possible = size <= (packed.len() as u64).saturating_mul(MAX_RATIO);
    (is_expected && is_possible).then_some(size as usize)
}

/// Unpacks the whole file to the memory of the voxels; `None` if it is damaged, or its voxels are not
/// aligned to their type.
fn unpack<T: Voxel>(packed: &[u8], size: usize, layout: &Layout, channel: u32) -> Option<Voxels> {
    let start = layout.start_of(channel) as usize;
    if !start.is_multiple_of(size_of::<T>()) {
        return None;
    }
    let count = size.div_ceil(size_of::<T>());
    // If there is not enough memory, the stream reports it.
    Vec::<T>::new().try_reserve_exact(count).ok()?;
    let mut values = vec![T::zeroed(); count];
    let bytes = &mut cast_slice_mut(&mut values)[..size];
    if Decompressor::new().gzip_decompress(packed, bytes) != Ok(size) {
        return None;
    }
    let start = start / size_of::<T>();
    match layout.channels {
        1 => Some(voxels_at(layout, values, start)),
        // Only one channel is kept in memory.
        _ => {
            let channel = values[start..start + layout.voxels() as usize].to_vec();
            Some(voxels_at(layout, channel, 0))
        }
    }
}

/// Members of a gzip file as one stream; bytes behind the last member are ignored.
pub(super) struct GzipMembers(Option<GzDecoder<BufReader<File>>>);

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
    pub(super) fn new(file: BufReader<File>) -> GzipMembers {
        GzipMembers(Some(GzDecoder::new(file)))
    }

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
