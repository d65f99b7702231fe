//! Reader of a page header that is checked before a decoder sees it.

use std::io::{self, Cursor, Read};

use crate::page_header::PageHeader;

/// Bytes that are fetched first to read the header of a page.
pub(crate) const HEADER_BYTES: usize = 256;

/// Fills a buffer with the bytes from a place on.
type Fill = dyn Fn(&mut [u8]) -> io::Result<()> + Send + Sync;

/// Reader of a page header, which is checked at the first read: it is also opened where there is no page.
pub struct HeaderReader {
    place: u64,
    /// Greatest size of the header.
    most: usize,
    read: Box<Fill>,
    check: Box<dyn Fn(&PageHeader) -> bool + Send + Sync>,
    header: Option<Cursor<Vec<u8>>>,
}

impl HeaderReader {
    /// A reader of the header at a `place`, which has `most` bytes or fewer; `check` says whether it may be decoded.
    pub(crate) fn new(
        place: u64,
        most: u64,
        read: impl Fn(&mut [u8]) -> io::Result<()> + Send + Sync + 'static,
        check: impl Fn(&PageHeader) -> bool + Send + Sync + 'static,
    ) -> HeaderReader {
        HeaderReader {
            place,
            most: usize::try_from(most).unwrap_or(usize::MAX),
            read: Box::new(read),
            check: Box::new(check),
            header: None,
        }
    }

    fn checked(&self) -> io::Result<Vec<u8>> {
        let mut size = HEADER_BYTES.min(self.most);
        loop {
            let mut bytes = vec![0; size];
            (self.read)(&mut bytes)?;
            match PageHeader::parse(&bytes) {
                Some(header) if (self.check)(&header) => return Ok(bytes),
                None if size < self.most => size = size.saturating_mul(16).min(self.most),
                _ => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("no page of a table at byte {}", self.place),
                    ));
                }
            }
        }
    }
}

impl Read for HeaderReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let header = match self.header.take() {
            Some(header) => header,
            None => Cursor::new(self.checked()?),
        };
        self.header.insert(header).read(bytes)
    }
}
