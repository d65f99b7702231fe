//! The elements of a DICOM data set, up to its pixels.
//!
//! Written for files that may be damaged or hostile: no length is believed that the file does not
//! have, values are borrowed from its bytes, and nesting is limited. (dicom-object takes memory for
//! what a length claims and recurses as deep as sequences go.)

use std::collections::BTreeMap;

use common::counted;
use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::types::{has_long_length, is_known};

/// How deep sequences may be nested.
const MAX_DEPTH: usize = 32;

const ITEM: Tag = Tag(0xfffe, 0xe000);
const ITEM_END: Tag = Tag(0xfffe, 0xe00d);
const SEQUENCE_END: Tag = Tag(0xfffe, 0xe0dd);

/// The length of a value that ends where a delimiter says so.
const UNDEFINED: u32 = u32::MAX;

/// Sequences that are entered even where their length is given. Implicit VR does not tell them from
/// other values, and all others are passed over.
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

/// How elements are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    /// Whether each element names the type of its value (VR).
    pub(super) explicit: bool,
    pub(super) big_endian: bool,
}

/// Why elements could not be read.
#[derive(Debug)]
pub(super) enum ParseError {
    /// They go on to this byte, which has not been read yet.
    Short(u64),
    /// They cannot be right.
    Wrong(String),
}

/// The value of an element.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Bytes(&'a [u8]),
    Items(Vec<DataSet<'a>>),
}

/// The pixels of an image as the file holds them.
#[derive(Debug)]
pub(super) enum PixelData<'a> {
    /// All frames, one after the other; the file says whether they are 16-bit words (OW).
    Native { bytes: &'a [u8], words: bool },
    /// The offsets of frames, which may be missing, and the pieces of encoded frames.
    Fragments {
        offsets: Vec<u64>,
        fragments: Vec<&'a [u8]>,
    },
}

/// Elements by tag; private ones too.
#[derive(Debug)]
pub(super) struct DataSet<'a> {
    elements: BTreeMap<Tag, Value<'a>>,
    big_endian: bool,
}

impl<'a> DataSet<'a> {
    /// The bytes of a value that is no sequence.
    pub(super) fn bytes(&self, tag: Tag) -> Option<&'a [u8]> {
        match self.elements.get(&tag)? {
            Value::Bytes(bytes) => Some(bytes),
            Value::Items(_) => None,
        }
    }

    /// The items of a sequence; none if there is no such sequence.
    pub(super) fn items(&self, tag: Tag) -> &[DataSet<'a>] {
        match self.elements.get(&tag) {
            Some(Value::Items(items)) => items,
            _ => &[],
        }
    }

    /// Whether there is such an element.
    pub(super) fn has(&self, tag: Tag) -> bool {
        self.elements.contains_key(&tag)
    }

    /// Text without padding; `None` if blank. What is not UTF-8 is taken for Latin-1, whatever the
    /// file says: that keeps names apart.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        let bytes = self.bytes(tag)?;
        let text = String::from_utf8(bytes.to_vec());
        let text = text.unwrap_or_else(|_| bytes.iter().copied().map(char::from).collect());
        let text = text.trim_matches(['\0', ' ']);
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Decimal numbers with backslashes between them; `None` if one of them is none, or not finite.
    pub(super) fn decimals(&self, tag: Tag) -> Option<Vec<f64>> {
        let text = self.text(tag)?;
        let numbers = text.split('\\').map(|number| number.trim().parse().ok());
        let numbers: Option<Vec<f64>> = numbers.collect();
        numbers.filter(|numbers| numbers.iter().all(|number| number.is_finite()))
    }

    /// Exactly `N` decimal numbers.
    pub(super) fn decimals_of<const N: usize>(&self, tag: Tag) -> Option<[f64; N]> {
        self.decimals(tag)?.try_into().ok()
    }

    /// An unsigned integer of two bytes.
    pub(super) fn short(&self, tag: Tag) -> Option<u16> {
        self.shorts(tag)?.first().copied()
    }

    /// Unsigned integers of two bytes each.
    pub(super) fn shorts(&self, tag: Tag) -> Option<Vec<u16>> {
        let (pairs, _) = self.bytes(tag)?.as_chunks::<2>();
        let number = if self.big_endian {
            u16::from_be_bytes
        } else {
            u16::from_le_bytes
        };
        Some(pairs.iter().map(|pair| number(*pair)).collect())
    }
}

/// What [`Elements::data_set`] found.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) data_set: DataSet<'a>,
    /// Whether there are pixels.
    pub(super) has_pixels: bool,
    /// The pixels, if they were asked for.
    pub(super) pixels: Option<PixelData<'a>>,
}

/// A cursor over elements.
pub(super) struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
    /// How many bytes there will be once all are read.
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
    /// Whether the items of an element without length are pieces of pixels and no data sets.
    fn holds_fragments(&self) -> bool {
        self.tag == tags::PIXEL_DATA || [b"OB", b"OW"].contains(&&self.vr)
    }
}

type Parsed<T> = Result<T, ParseError>;

impl<'a> Elements<'a> {
    /// Elements from byte `at` on; `bytes` may be the first of `length` only.
    pub(super) fn new(bytes: &'a [u8], at: usize, length: u64, encoding: Encoding) -> Elements<'a> {
        Elements {
            bytes,
            at,
            length,
            encoding,
        }
    }

    /// The elements of one group at the start, and where the next group begins.
    pub(super) fn group(mut self, group: u16) -> Parsed<(DataSet<'a>, usize)> {
        let mut data_set = self.empty();
        while self.left() > 0 {
            let start = self.at;
            let head = self.head()?;
            if head.tag.group() != group {
                return Ok((data_set, start));
            }
            let value = Value::Bytes(self.take(head.length)?);
            data_set.elements.insert(head.tag, value);
        }
        Ok((data_set, self.at))
    }

    /// All elements up to the pixels; with `with_pixels` those as well. What follows them is not
    /// looked at.
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
            found.data_set.elements.insert(head.tag, value);
        }
        Ok(found)
    }

    fn empty(&self) -> DataSet<'a> {
        DataSet {
            elements: BTreeMap::new(),
            big_endian: self.encoding.big_endian,
        }
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
        let bytes = self.bytes.get(self.at..end as usize);
        let bytes = bytes.ok_or(ParseError::Short(end))?;
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
            // The compressed pixels of an icon, which are not wanted.
            self.fragments()?;
            return Ok(Value::Bytes(&[]));
        }
        let outer = self.encoding;
        if head.vr == *b"UN" {
            // Such items are implicit by the standard (PS3.5, 6.2.2), and explicit in some files.
            self.encoding = self.encoding_of_unknown()?;
        }
        let items = self.items(head.length, depth + 1);
        self.encoding = outer;
        items.map(Value::Items)
    }

    /// The encoding of the items of a sequence of unknown type, told by the first element in them.
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
        // Two letters would be a length of over 16,000 bytes, and an odd one for most types.
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
                tag => item.elements.insert(tag, self.value(&head, depth)?),
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
        let offsets = offsets.iter();
        Ok(PixelData::Fragments {
            offsets: offsets.map(|o| u32::from_le_bytes(*o).into()).collect(),
            fragments: fragments.collect(),
        })
    }

    /// Items that are no data sets, up to the end of their sequence: the offsets of frames, and
    /// pieces of compressed pixels.
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
