//! The fields of a Parquet page header that memory depends on.

use parquet::file::metadata::ParquetMetaData;

/// Encodings of a cache's pages: plain and dictionary.
const ENCODINGS: [i64; 4] = [0, 2, 3, 8];

/// Type of a dictionary page.
const DICTIONARY: i64 = 2;

/// Greatest size of a dictionary: a writer starts no entry beyond 1 MiB, and adds 1024 at a time.
const DICTIONARY_BYTES: u64 = 8 << 20;

/// Field of a nested struct; the fields of the header count from 1.
const DEEPER: i64 = 0;

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
    /// Reads a header in Thrift's compact protocol; `None` if the bytes end within it or are none.
    pub(crate) fn parse(bytes: &[u8]) -> Option<PageHeader> {
        let mut header = PageHeader::default();
        let mut rest = bytes;
        header.fields(&mut rest, None)?;
        header.length = bytes.len() - rest.len();
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

    /// Reads the fields of the header, or of the struct in its field `of`.
    fn fields(&mut self, rest: &mut &[u8], of: Option<i64>) -> Option<()> {
        let mut field = 0;
        loop {
            let (first, after) = rest.split_first()?;
            (*rest, field) = (after, field + i64::from(first >> 4));
            match first & 15 {
                0 => return Some(()),
                _ if first >> 4 == 0 => return None,
                // Booleans have no bytes of their own.
                1 | 2 => {}
                3 => skip(rest, 1)?,
                4..=6 => {
                    let zigzag = varint(rest)?;
                    let number = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
                    self.note(of, field, number);
                }
                7 => skip(rest, 8)?,
                8 => {
                    let bytes = usize::try_from(varint(rest)?).ok()?;
                    skip(rest, bytes)?;
                }
                // Statistics are the deepest struct.
                12 => match of {
                    None => self.fields(rest, Some(field))?,
                    Some(DEEPER) => return None,
                    Some(_) => self.fields(rest, Some(DEEPER))?,
                },
                _ => return None,
            }
        }
    }

    /// Stores a number that memory depends on. Fields 5, 7 and 8 of a header are those of data pages, of
    /// dictionaries, and of data pages of version 2.
    fn note(&mut self, of: Option<i64>, field: i64, number: i64) {
        match (of, field) {
            (None, 1) => self.kind = number,
            (None, 2) => self.uncompressed = number,
            (None, 3) => self.compressed = number,
            (Some(5 | 7 | 8), 1) => self.values = number,
            (Some(5 | 7), 2) | (Some(8), 4) => self.encoding = number,
            _ => {}
        }
    }
}

fn skip(rest: &mut &[u8], bytes: usize) -> Option<()> {
    *rest = rest.get(bytes..)?;
    Some(())
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 127) << shift;
        if byte & 128 == 0 {
            return Some(number);
        }
    }
    None
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

    #[test]
    fn no_bytes_make_the_parser_panic() {
        for first in 0..=255 {
            for second in 0..=255 {
                let _ = PageHeader::parse(&[first, second, 0xff, 0xff, 0xff, 0x7f, 0, 0]);
            }
        }
    }
}
