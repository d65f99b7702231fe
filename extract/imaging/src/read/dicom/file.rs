//! A DICOM file on disk: preamble, meta information, data set.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use dicom_dictionary_std::{tags, uids};
use flate2::read::DeflateDecoder;

use super::elements::{Elements, Encoding, Found, ParseError};
use crate::Error;
use crate::read::limits::MAX_RATIO;

/// Largest file in bytes.
const MAX_BYTES: u64 = 8 << 30;

/// Bytes that are read at a time if the pixels are not wanted.
const CHUNK: u64 = 64 << 10;

/// UID of Explicit VR Big Endian (retired).
pub(super) const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// Number of bytes in front of `DICM`.
const PREAMBLE: usize = 128;

const META: Encoding = Encoding {
    explicit: true,
    big_endian: false,
};

/// The elements of a file.
pub(super) struct Opened<'a> {
    /// UID of the transfer syntax; blank if the file does not give it.
    pub(super) syntax: String,
    pub(super) encoding: Encoding,
    pub(super) found: Found<'a>,
}

/// Whether a file that starts with these bytes is DICOM, with a preamble or (old programs) without.
pub(in crate::read) fn is_dicom(start: &[u8]) -> bool {
    let has_preamble = start
        .get(PREAMBLE..)
        .is_some_and(|s| s.starts_with(b"DICM"));
    has_preamble || first_encoding(start).is_some()
}

/// Encoding of a data set by its first element, which must be of group 2 or 8.
fn first_encoding(start: &[u8]) -> Option<Encoding> {
    let (head, _) = start.split_first_chunk::<8>()?;
    let (big_endian, element) = match head {
        [2 | 8, 0, low, 0, ..] => (false, *low),
        [0, 8, 0, low, ..] => (true, *low),
        _ => return None,
    };
    let vr: [u8; 2] = [head[4], head[5]];
    let explicit = [b"UL", b"CS", b"UI", b"OB", b"LO", b"SH", b"DA"].contains(&&vr);
    // In implicit VR, a short and even length follows the tag of one of the first elements of the group.
    let is_implicit = !big_endian && element <= 0x18 && head[4] <= 64 && head[5..] == [0, 0, 0];
    let is_known = explicit || is_implicit && head[4].is_multiple_of(2);
    is_known.then_some(Encoding {
        explicit,
        big_endian,
    })
}

/// Opens a file and passes its elements to `then`. With `with_pixels` the whole file is read, else the
/// part in front of the pixels.
pub(super) fn open<T>(
    path: &Path,
    with_pixels: bool,
    then: impl FnOnce(Opened) -> Result<T, Error>,
) -> Result<T, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    let mut bytes = Vec::new();
    let mut wanted = if with_pixels { length } else { CHUNK };
    loop {
        if wanted > MAX_BYTES {
            return Err(too_large(path, wanted));
        }
        let before = bytes.len();
        (&file)
            .take(wanted - before as u64)
            .read_to_end(&mut bytes)
            .map_err(Error::io(path))?;
        let trouble = match Body::of(&bytes, length) {
            Ok(body) => match body.elements().data_set(with_pixels) {
                Ok(found) => {
                    return then(Opened {
                        syntax: body.syntax.clone(),
                        encoding: body.encoding,
                        found,
                    });
                }
                Err(trouble) => trouble,
            },
            Err(trouble) => trouble,
        };
        match trouble {
            ParseError::Short(end) if bytes.len() > before => {
                // At least doubled, since all bytes are parsed again.
                wanted = length.min((end + CHUNK).max(2 * bytes.len() as u64));
            }
            ParseError::Short(_) => {
                return Err(Error::damaged(path, "it became shorter while it was read"));
            }
            ParseError::Wrong(reason) => return Err(Error::damaged(path, reason)),
        }
    }
}

/// The data set behind the meta information.
struct Body<'a> {
    bytes: Cow<'a, [u8]>,
    start: usize,
    length: u64,
    syntax: String,
    encoding: Encoding,
}

impl<'a> Body<'a> {
    /// `bytes` are the first of a file of `length`.
    fn of(bytes: &'a [u8], length: u64) -> Result<Body<'a>, ParseError> {
        let has_preamble = bytes
            .get(PREAMBLE..)
            .is_some_and(|b| b.starts_with(b"DICM"));
        let start = if has_preamble { PREAMBLE + 4 } else { 0 };
        let (meta, start) = Elements::new(bytes, start, length, META).group(2)?;
        let syntax = meta.text(tags::TRANSFER_SYNTAX_UID).unwrap_or_default();
        let rest = &bytes[start..];
        if syntax == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
            if (bytes.len() as u64) < length {
                return Err(ParseError::Short(length));
            }
            let bytes = inflated(rest)?;
            return Ok(Body {
                length: bytes.len() as u64,
                bytes: bytes.into(),
                start: 0,
                syntax,
                encoding: META,
            });
        }
        let encoding = match syntax.as_str() {
            uids::IMPLICIT_VR_LITTLE_ENDIAN => Encoding {
                explicit: false,
                big_endian: false,
            },
            BIG_ENDIAN => Encoding {
                explicit: true,
                big_endian: true,
            },
            _ => META,
        };
        Ok(Body {
            bytes: bytes.into(),
            start,
            length,
            syntax,
            // Some files have another encoding than their transfer syntax.
            encoding: first_encoding(rest).unwrap_or(encoding),
        })
    }

    fn elements(&self) -> Elements<'_> {
        Elements::new(&self.bytes, self.start, self.length, self.encoding)
    }
}

/// Greatest unpacked size of a deflated file: 256 MiB. It is unpacked for its header already.
const MAX_INFLATED: u64 = 256 << 20;

fn inflated(packed: &[u8]) -> Result<Vec<u8>, ParseError> {
    let limit = MAX_INFLATED.min((packed.len() as u64).saturating_mul(MAX_RATIO));
    let mut bytes = Vec::new();
    let read = DeflateDecoder::new(packed)
        .take(limit)
        .read_to_end(&mut bytes);
    match read {
        Ok(read) if read as u64 == limit => Err(ParseError::Wrong(format!(
            "the deflated part unpacks to over {limit} bytes"
        ))),
        Ok(_) => Ok(bytes),
        Err(error) => Err(ParseError::Wrong(format!("the deflated part: {error}"))),
    }
}

fn too_large(path: &Path, found: u64) -> Error {
    Error::too_large(path, format!("{found} bytes"), format!("{MAX_BYTES} bytes"))
}
