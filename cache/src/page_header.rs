//! The fields of a Parquet page header that memory depends on.

use parquet::file::metadata::ParquetMetaData;

use crate::parquet_structs::PAGE_HEADER;
use crate::thrift::walk;

/// Encodings of a cache's pages: plain and dictionary.
const ENCODINGS: [i64; 4] = [0, 2, 3, 8];

/// Type of a dictionary page.
const DICTIONARY: i64 = 2;

/// Greatest size of a dictionary: a writer starts no entry beyond 1 MiB, and adds 1024 at a time.
const DICTIONARY_BYTES: u64 = 8 << 20;

/// Greatest size that a page of a file may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageLimits {
    /// Bytes of a data page when decompressed.
    bytes: u64,
    values: u64,
}

impl PageLimits {
    /// The limits of a file by its row groups; `value_bytes` is the greatest size of a value.
    pub(crate) fn new(metadata: &ParquetMetaData, value_bytes: usize) -> PageLimits {
        let groups = metadata.row_groups().iter();
        let rows = groups
            .map(|group| group.num_rows() as u64)
            .max()
            .unwrap_or(0);
        // Lists hold twelve values; each has a length and two levels beside it.
        PageLimits {
            bytes: rows
                .saturating_mul(value_bytes.max(12 * 8) as u64 + 16)
                .saturating_add(64 << 10),
            values: rows.saturating_mul(16),
        }
    }
}

/// Numbers in the header of a page; 0 where they are absent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PageHeader {
    kind: i64,
    uncompressed: i64,
    compressed: i64,
    values: i64,
    encoding: i64,
    /// Bytes of the header itself.
    length: usize,
}

impl PageHeader {
    /// Reads a header; `None` if the bytes end within it or are none.
    pub(crate) fn parse(bytes: &[u8]) -> Option<PageHeader> {
        let mut header = PageHeader::default();
        let length = walk(bytes, PAGE_HEADER, |place, number| {
            header.note(place, number);
        })?;
        header.length = length;
        Some(header)
    }

    /// Whether the page is within the `left` bytes of the file from its start on, and within the limits.
    pub(crate) fn is_within(&self, left: u64, limits: PageLimits) -> bool {
        let left = left.saturating_sub(self.length as u64);
        let bytes = match self.kind {
            DICTIONARY => DICTIONARY_BYTES,
            _ => limits.bytes,
        };
        let values = limits.values.max(DICTIONARY_BYTES);
        let is_at_most = |number: i64, most: u64| u64::try_from(number).is_ok_and(|n| n <= most);
        is_at_most(self.compressed, left)
            && is_at_most(self.uncompressed, bytes)
            && is_at_most(self.values, values)
            && ENCODINGS.contains(&self.encoding)
    }

    /// Stores a number that memory depends on. Fields 5, 7 and 8 of a header are those of data pages, of
    /// dictionaries, and of data pages of version 2.
    fn note(&mut self, place: &[i64], number: i64) {
        match place {
            [1] => self.kind = number,
            [2] => self.uncompressed = number,
            [3] => self.compressed = number,
            [5 | 7 | 8, 1] => self.values = number,
            [5 | 7, 2] | [8, 4] => self.encoding = number,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PageLimits = PageLimits {
        bytes: 1000,
        values: 10,
    };

    /// A data page of 7 values, 300 bytes, 20 when compressed, with statistics.
    const DATA: [u8; 21] = [
        0x15, 0, 0x15, 0xd8, 4, 0x15, 40, 0x2c, 0x15, 14, 0x15, 0, 0x15, 6, 0x15, 6, 0x1c, 0x00, 0,
        0, 99,
    ];

    #[test]
    fn numbers_of_a_header_are_found_in_their_fields() {
        let header = PageHeader::parse(&DATA).unwrap();
        let expected = PageHeader {
            kind: 0,
            uncompressed: 300,
            compressed: 20,
            values: 7,
            encoding: 0,
            length: 20,
        };
        assert_eq!(header, expected);
        assert!(header.is_within(40, LIMITS) && !header.is_within(39, LIMITS));
        assert!((0..20).all(|end| PageHeader::parse(&DATA[..end]).is_none()));
    }

    #[test]
    fn pages_that_hold_more_than_they_may_are_told() {
        let with = |change: fn(&mut PageHeader)| {
            let mut header = PageHeader::parse(&DATA).unwrap();
            change(&mut header);
            header.is_within(1000, LIMITS)
        };
        assert!(with(|_| ()));
        assert!(!with(|header| header.uncompressed = 1001));
        assert!(!with(|header| header.uncompressed = -1));
        assert!(!with(|header| header.compressed = -1));
        assert!(!with(|header| header.values = i64::MAX));
        assert!(!with(|header| header.encoding = 6));
        assert!(with(
            |header| (header.kind, header.uncompressed) = (2, 1 << 20)
        ));
        assert!(!with(
            |header| (header.kind, header.uncompressed) = (2, 1 << 24)
        ));
    }
}
