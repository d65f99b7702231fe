//! Elements of a data set by tag.

use std::collections::BTreeMap;

use dicom_core::Tag;

/// The value of an element.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Bytes(&'a [u8]),
    Items(Vec<DataSet<'a>>),
}

/// Pixels of an image as stored.
#[derive(Debug)]
pub(super) enum PixelData<'a> {
    /// All frames in sequence; `words` for 16-bit words (OW).
    Native { bytes: &'a [u8], words: bool },
    /// Compressed frames in pieces, and the offsets of frames, which may be missing.
    Fragments {
        offsets: Vec<u64>,
        fragments: Vec<&'a [u8]>,
    },
}

/// Elements by tag, also private ones.
#[derive(Debug)]
pub(super) struct DataSet<'a> {
    elements: BTreeMap<Tag, Value<'a>>,
    big_endian: bool,
}

impl<'a> DataSet<'a> {
    /// A data set without elements.
    pub(super) fn new(big_endian: bool) -> DataSet<'a> {
        DataSet {
            elements: BTreeMap::new(),
            big_endian,
        }
    }

    /// Adds an element; of two with one tag, the later one counts.
    pub(super) fn insert(&mut self, tag: Tag, value: Value<'a>) {
        self.elements.insert(tag, value);
    }

    /// Bytes of a value that is not a sequence.
    pub(super) fn bytes(&self, tag: Tag) -> Option<&'a [u8]> {
        match self.elements.get(&tag)? {
            Value::Bytes(bytes) => Some(bytes),
            Value::Items(_) => None,
        }
    }

    /// Items of a sequence; empty if there is no such sequence.
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

    /// Text without padding; `None` if blank. Text that is not UTF-8 is read as Latin-1, whatever
    /// SpecificCharacterSet is: different names stay different.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        let bytes = self.bytes(tag)?;
        let padded = String::from_utf8(bytes.to_vec())
            .unwrap_or_else(|_| bytes.iter().copied().map(char::from).collect());
        let text = padded.trim_matches(['\0', ' ']);
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Decimal numbers separated by backslashes; `None` if any is not a finite number.
    pub(super) fn decimals(&self, tag: Tag) -> Option<Vec<f64>> {
        let text = self.text(tag)?;
        text.split('\\')
            .map(|number| number.trim().parse().ok())
            .collect::<Option<Vec<f64>>>()
            .filter(|numbers| numbers.iter().all(|number| number.is_finite()))
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
