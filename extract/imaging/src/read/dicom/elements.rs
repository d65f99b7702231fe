//! Parser of the elements of a DICOM data set, up to its pixels.
//!
//! Files may be damaged or hostile: every length is checked against the file, values are borrowed from its
//! bytes, and nesting is limited.

use common::counted;
use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::data_set::{DataSet, PixelData, Value};
use super::types::{has_long_length, is_known};

/// Greatest depth of nested sequences.
const MAX_DEPTH: usize = 32;

const ITEM: Tag = Tag(0xfffe, 0xe000);
const ITEM_END: Tag = Tag(0xfffe, 0xe00d);
const SEQUENCE_END: Tag = Tag(0xfffe, 0xe0dd);

/// Length of a value that ends at a delimiter.
const UNDEFINED: u32 = u32::MAX;

/// Sequences that are parsed even if their length is given; all others are skipped. In implicit VR,
/// sequences cannot be told from other values.
const SEQUENCES: [Tag; 9] = [
    tags::MODALITY_LUT_SEQUENCE,
    tags::VOILUT_SEQUENCE,
    tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::PLANE_POSITION_SEQUENCE,
    tags::PLANE_ORIENTATION_SEQUENCE,
    tags::PIXEL_MEASURES_SEQUENCE,
    tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
    tags::FRAME_VOILUT_SEQUENCE,
];

/// Encoding of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    /// Whether elements give the type of their value (VR).
    pub(super) explicit: bool,
    pub(super) big_endian: bool,
}

/// Error of the parser.
#[derive(Debug)]
pub(super) enum ParseError {
    /// More bytes are needed: up to this one.
    Short(u64),
    /// The elements are damaged.
    Wrong(String),
}

/// Result of [`Elements::data_set`].
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) data_set: DataSet<'a>,
    /// Whether there are pixels.
    pub(super) has_pixels: bool,
    /// The pixels, if requested.
    pub(super) pixels: Option<PixelData<'a>>,
}

/// A cursor over elements.
pub(super) struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes of the whole file.
    length: u64,
    encoding: Encoding,
}

/// Tag, type and length of an element.
struct ElementHeader {
    tag: Tag,
    vr: [u8; 2],
    length: u32,
}

impl ElementHeader {
    /// Whether the items of an element of undefined length are fragments of pixels, not data sets.
    fn holds_fragments(&self) -> bool {
        self.tag == tags::PIXEL_DATA || [b"OB", b"OW"].contains(&&self.vr)
    }
}

type Parsed<T> = Result<T, ParseError>;

impl<'a> Elements<'a> {
    /// Elements from byte `at` on; `bytes` are the first of `length` bytes.
    pub(super) fn new(bytes: &'a [u8], at: usize, length: u64, encoding: Encoding) -> Elements<'a> {
        Elements {
            bytes,
            at,
            length,
            encoding,
        }
    }

    /// The elements of one group at the start, and the offset of the next group.
    pub(super) fn group(mut self, group: u16) -> Parsed<(DataSet<'a>, usize)> {
        let mut data_set = self.empty();
        while self.left() > 0 {
            let start = self.at;
            let head = self.head()?;
            if head.tag.group() != group {
                return Ok((data_set, start));
            }
            let value = Value::Bytes(self.take(head.length)?);
            data_set.insert(head.tag, value);
        }
        Ok((data_set, self.at))
    }

    /// All elements up to the pixels, and with `with_pixels` these. Elements behind the pixels are not read.
    pub(super) fn data_set(mut self, with_pixels: bool) -> Parsed<Found<'a>> {
        let mut found = Found {
            data_set: self.empty(),
            has_pixels: false,
            pixels: None,
        };
        while self.left() > 0 {
            let head = self.head()?;
            if head.tag == tags::PIXEL_DATA {
                found.has_pixels = true;
                if with_pixels {
                    found.pixels = Some(self.pixels(&head)?);
                }
                break;
            }
            let value = self.value(&head, 0)?;
            found.data_set.insert(head.tag, value);
        }
        Ok(found)
    }

    fn empty(&self) -> DataSet<'a> {
        DataSet::new(self.encoding.big_endian)
    }

    fn left(&self) -> u64 {
        self.length - self.at as u64
    }

    fn take(&mut self, count: u32) -> Parsed<&'a [u8]> {
        let end = self.at as u64 + u64::from(count);
        if end > self.length {
            return Err(ParseError::Wrong(format!(
                "a value of {} begins at byte {}, the file ends at {}",
                counted(count, "byte"),
                self.at,
                self.length
            )));
        }
        let bytes = self
            .bytes
            .get(self.at..end as usize)
            .ok_or(ParseError::Short(end))?;
        self.at = end as usize;
        Ok(bytes)
    }

    fn short(&mut self) -> Parsed<u16> {
        let bytes = self.take(2)?;
        let number = [bytes[0], bytes[1]];
        Ok(if self.encoding.big_endian {
            u16::from_be_bytes(number)
        } else {
            u16::from_le_bytes(number)
        })
    }

    fn long(&mut self) -> Parsed<u32> {
        let (first, second) = (u32::from(self.short()?), u32::from(self.short()?));
        Ok(if self.encoding.big_endian {
            first << 16 | second
        } else {
            second << 16 | first
        })
    }

    fn tag(&mut self) -> Parsed<Tag> {
        Ok(Tag(self.short()?, self.short()?))
    }

    fn head(&mut self) -> Parsed<ElementHeader> {
        let tag = self.tag()?;
        if tag.group() == 0xfffe || !self.encoding.explicit {
            let length = self.long()?;
            let vr = *b"--";
            return Ok(ElementHeader { tag, vr, length });
        }
        let vr = self.take(2)?;
        let vr = [vr[0], vr[1]];
        let length = if has_long_length(vr) {
            self.take(2)?;
            self.long()?
        } else {
            self.short()?.into()
        };
        Ok(ElementHeader { tag, vr, length })
    }

    fn value(&mut self, head: &ElementHeader, depth: usize) -> Parsed<Value<'a>> {
        let is_sequence = head.length == UNDEFINED || SEQUENCES.contains(&head.tag);
        if !is_sequence {
            return self.take(head.length).map(Value::Bytes);
        }
        if head.length == UNDEFINED && head.holds_fragments() {
            // Compressed pixels of an icon are skipped.
            self.fragments()?;
            return Ok(Value::Bytes(&[]));
        }
        let outer = self.encoding;
        if head.vr == *b"UN" {
            // By the standard (PS3.5, 6.2.2) the items are implicit; in some files they are explicit.
            self.encoding = self.encoding_of_unknown()?;
        }
        let items = self.items(head.length, depth + 1);
        self.encoding = outer;
        items.map(Value::Items)
    }

    /// Encoding of the items of a sequence of unknown type, by the first element in them.
    fn encoding_of_unknown(&mut self) -> Parsed<Encoding> {
        let implicit = Encoding {
            explicit: false,
            ..self.encoding
        };
        let start = self.at;
        let item = self.head()?;
        let first = match item.tag {
            ITEM if item.length > 0 => self.take(8).map(|bytes| [bytes[4], bytes[5]]),
            _ => Ok([0; 2]),
        };
        self.at = start;
        // Read as a length, two letters would be over 16,000 bytes, and odd for most types.
        Ok(if is_known(first?) {
            self.encoding
        } else {
            implicit
        })
    }

    fn items(&mut self, length: u32, depth: usize) -> Parsed<Vec<DataSet<'a>>> {
        if depth > MAX_DEPTH {
            return Err(ParseError::Wrong(format!(
                "sequences are nested over {MAX_DEPTH} deep"
            )));
        }
        let end = self.end_of(length)?;
        let mut items = Vec::new();
        while end.is_none_or(|end| self.at < end) {
            let head = self.head()?;
            match head.tag {
                ITEM => items.push(self.item(head.length, depth)?),
                SEQUENCE_END if end.is_none() => break,
                other => return Err(out_of_place(other, self.at)),
            }
        }
        self.check_end(end)?;
        Ok(items)
    }

    fn item(&mut self, length: u32, depth: usize) -> Parsed<DataSet<'a>> {
        let end = self.end_of(length)?;
        let mut item = self.empty();
        while end.is_none_or(|end| self.at < end) {
            let head = self.head()?;
            match head.tag {
                ITEM_END => break,
                ITEM | SEQUENCE_END => return Err(out_of_place(head.tag, self.at)),
                tag => item.insert(tag, self.value(&head, depth)?),
            };
        }
        self.check_end(end)?;
        Ok(item)
    }

    fn end_of(&mut self, length: u32) -> Parsed<Option<usize>> {
        if length == UNDEFINED {
            return Ok(None);
        }
        let start = self.at;
        self.take(length)?;
        self.at = start;
        Ok(Some(start + length as usize))
    }

    fn check_end(&self, end: Option<usize>) -> Parsed<()> {
        match end {
            Some(end) if self.at > end => Err(ParseError::Wrong(format!(
                "a sequence that ends at byte {end} holds an element that ends at {}",
                self.at
            ))),
            _ => Ok(()),
        }
    }

    fn pixels(&mut self, head: &ElementHeader) -> Parsed<PixelData<'a>> {
        if head.length != UNDEFINED {
            let bytes = self.take(head.length)?;
            let words = head.vr == *b"OW";
            return Ok(PixelData::Native { bytes, words });
        }
        let fragments = self.fragments()?;
        let mut fragments = fragments.into_iter();
        let (offsets, _) = fragments.next().unwrap_or_default().as_chunks::<4>();
        Ok(PixelData::Fragments {
            offsets: offsets
                .iter()
                .map(|offset| u32::from_le_bytes(*offset).into())
                .collect(),
            fragments: fragments.collect(),
        })
    }

    /// Items of a sequence of compressed pixels, up to its end: the offsets of frames, then fragments.
    fn fragments(&mut self) -> Parsed<Vec<&'a [u8]>> {
        let mut fragments = Vec::new();
        loop {
            let head = self.head()?;
            match head.tag {
                ITEM => fragments.push(self.take(head.length)?),
                SEQUENCE_END => return Ok(fragments),
                other => return Err(out_of_place(other, self.at)),
            }
        }
    }
}

fn out_of_place(tag: Tag, at: usize) -> ParseError {
    ParseError::Wrong(format!("an element {tag} before byte {at} is out of place"))
}
