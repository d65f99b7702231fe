//! Compressed frames.

mod jpeg;
mod jpeg2000;
mod jpeg_12;
mod jpeg_ls;
mod markers;
mod rle;

use std::borrow::Cow;

use dicom_dictionary_std::uids;

use super::file::BIG_ENDIAN;
use super::layout::{Layout, Photometric};
use crate::read::limits::{MAX_RATIO, contained};

/// Size in bytes up to which frames are unpacked, whatever their compression ratio.
const ALWAYS_UNPACKED: u64 = 16 << 20;

/// Compression of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    /// None.
    Native,
    /// RLE Lossless.
    Rle,
    /// JPEG Baseline, Extended and Lossless.
    Jpeg,
    /// JPEG-LS, lossless and near-lossless.
    JpegLs,
    /// JPEG 2000, also High-Throughput.
    Jpeg2000,
}

/// A decoded frame.
pub(super) struct Decoded {
    /// Little-endian samples of the layout's width.
    pub(super) bytes: Vec<u8>,
    pub(super) planar: bool,
    /// Meaning of the decoded samples.
    pub(super) photometric: Photometric,
    /// Whether values start at the lowest bit of a sample.
    pub(super) aligned: bool,
}

/// Error of a codec.
#[derive(Debug)]
pub(super) enum Failure {
    Damaged(String),
    /// A kind that the codec does not support.
    Unsupported(String),
}

impl Codec {
    /// Codec of a transfer syntax that can be read; a blank one is not compressed.
    pub(super) fn of(syntax: &str) -> Option<Codec> {
        match syntax {
            ""
            | uids::IMPLICIT_VR_LITTLE_ENDIAN
            | uids::EXPLICIT_VR_LITTLE_ENDIAN
            | BIG_ENDIAN
            | uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => Some(Codec::Native),
            uids::RLE_LOSSLESS => Some(Codec::Rle),
            uids::JPEG_BASELINE8_BIT
            | uids::JPEG_EXTENDED12_BIT
            | uids::JPEG_LOSSLESS
            | uids::JPEG_LOSSLESS_SV1 => Some(Codec::Jpeg),
            uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => Some(Codec::JpegLs),
            uids::JPEG2000_LOSSLESS
            | uids::JPEG2000
            | uids::HTJ2K_LOSSLESS
            | uids::HTJ2K_LOSSLESS_RPCL
            | uids::HTJ2K => Some(Codec::Jpeg2000),
            _ => None,
        }
    }

    /// Decodes a frame.
    pub(super) fn decode(self, layout: &Layout, frame: &[u8]) -> Result<Decoded, Failure> {
        let size = (layout.pixels() * layout.samples * layout.width()) as u64;
        if size > ALWAYS_UNPACKED.max(frame.len() as u64 * MAX_RATIO) {
            let reason = format!("a frame of {size} bytes is packed into {}", frame.len());
            return Err(Failure::Damaged(reason));
        }
        match self {
            Codec::Native => Err(Failure::Damaged("its frames are in pieces".to_owned())),
            Codec::Rle => rle::decode(layout, frame),
            Codec::Jpeg => foreign(|| jpeg::decode(layout, frame)),
            Codec::JpegLs => jpeg_ls::decode(layout, frame),
            Codec::Jpeg2000 => foreign(|| jpeg2000::decode(layout, frame)),
        }
    }

    /// Whether a fragment is the first of its frame.
    fn begins(self, fragment: &[u8]) -> bool {
        match self {
            Codec::Jpeg | Codec::JpegLs => fragment.starts_with(&[0xff, 0xd8]),
            Codec::Jpeg2000 => {
                fragment.starts_with(&[0xff, 0x4f]) || fragment.starts_with(b"\0\0\0\x0cjP  ")
            }
            Codec::Native | Codec::Rle => true,
        }
    }
}

/// The result of a decoder that may panic.
fn foreign(decode: impl FnOnce() -> Result<Decoded, Failure>) -> Result<Decoded, Failure> {
    contained(decode).unwrap_or_else(|| Err(Failure::Damaged("the decoder panicked".to_owned())))
}

/// Photometric interpretation of a frame in which each pixel has its own colour.
fn unshared(photometric: Photometric) -> Photometric {
    match photometric {
        Photometric::YbrFull422 => Photometric::YbrFull,
        other => other,
    }
}

/// Name of a known transfer syntax that cannot be read, else blank.
pub(super) fn name_of(syntax: &str) -> &'static str {
    match syntax {
        uids::JPEG2000MC_LOSSLESS | uids::JPEG2000MC => "JPEG 2000 Multi-component",
        uids::JPEGXL_LOSSLESS | uids::JPEGXLJPEG_RECOMPRESSION | uids::JPEGXL => "JPEG XL",
        uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN => "Encapsulated Uncompressed",
        uids::DEFLATED_IMAGE_FRAME_COMPRESSION => "Deflated Image Frame",
        uids::JPIP_REFERENCED | uids::JPIPHTJ2K_REFERENCED => "JPIP Referenced",
        _ if syntax.starts_with("1.2.840.10008.1.2.4.10") => "MPEG video",
        _ if syntax.starts_with("1.2.840.10008.1.2.4.5") => "JPEG, retired",
        _ if syntax.starts_with("1.2.840.10008.1.2.4.6") => "JPEG, retired",
        _ => "",
    }
}

/// Bytes of each of `count` frames. Fragments are joined to frames by the offsets, or else by their first
/// bytes. `None` if that gives another number of frames.
pub(super) fn frames<'a>(
    codec: Codec,
    fragments: &[&'a [u8]],
    offsets: &[u64],
    count: usize,
) -> Option<Vec<Cow<'a, [u8]>>> {
    if fragments.len() == count {
        return Some(fragments.iter().map(|&fragment| fragment.into()).collect());
    }
    let mut frames: Vec<Cow<[u8]>> = Vec::new();
    let mut offset = 0;
    for &fragment in fragments {
        let is_first = match offsets.len() == count {
            _ if count == 1 => frames.is_empty(),
            true => offsets.contains(&offset),
            false => codec.begins(fragment),
        };
        match frames.last_mut() {
            Some(frame) if !is_first => frame.to_mut().extend_from_slice(fragment),
            _ => frames.push(fragment.into()),
        }
        // A tag and a length of 4 bytes each precede every fragment.
        offset += fragment.len() as u64 + 8;
    }
    (frames.len() == count).then_some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(
        codec: Codec,
        fragments: &[&[u8]],
        offsets: &[u64],
        count: usize,
    ) -> Option<Vec<Vec<u8>>> {
        let frames = frames(codec, fragments, offsets, count)?;
        Some(frames.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn fragments_are_joined_to_frames() {
        let pieces: [&[u8]; 3] = [&[0xff, 0xd8, 1], &[2, 3], &[0xff, 0xd8, 4]];
        let both = Some(vec![vec![0xff, 0xd8, 1, 2, 3], vec![0xff, 0xd8, 4]]);
        assert_eq!(joined(Codec::Jpeg, &pieces, &[], 2), both);
        assert_eq!(joined(Codec::Jpeg, &pieces, &[0, 21], 2), both);
        assert_eq!(joined(Codec::Jpeg, &pieces, &[], 3).unwrap().len(), 3);
        assert_eq!(joined(Codec::Jpeg, &pieces, &[], 1).unwrap()[0].len(), 8);
        assert_eq!(joined(Codec::Jpeg, &pieces, &[], 4), None);
        assert_eq!(joined(Codec::Jpeg, &[], &[], 1), None);
    }

    #[test]
    fn a_panic_is_a_damaged_frame() {
        let broken = foreign(|| panic!("on purpose"));
        assert!(matches!(broken, Err(Failure::Damaged(_))));
    }
}
