//! Reader of a page header that is checked before a decoder sees it.

use std::io::{self, Cursor, Read};

use crate::page_header::PageHeader;

/// Bytes that are fetched to read the header of a page, and greatest size of a header.
pub(crate) const HEADER_BYTES: usize = 256;
const MOST_HEADER_BYTES: usize = 64 << 10;

/// Fills a buffer with the bytes from a place on.
type Fill = dyn Fn(&mut [u8]) -> io::Result<()> + Send + Sync;

/// Reader of a page header, which is checked at the first read: it is also opened where there is no page.
pub struct HeaderReader {
    place: u64,
    /// Bytes of the file from there on.
    left: u64,
    read: Box<Fill>,
    check: Box<dyn Fn(&PageHeader) -> bool + Send + Sync>,
    header: Option<Cursor<Vec<u8>>>,
}

impl HeaderReader {
    pub(crate) fn new(
        place: u64,
        left: u64,
        read: impl Fn(&mut [u8]) -> io::Result<()> + Send + Sync + 'static,
        check: impl Fn(&PageHeader) -> bool + Send + Sync + 'static,
    ) -> HeaderReader {
        HeaderReader {
            place,
            left,
            read: Box::new(read),
            check: Box::new(check),
            header: None,
        }
    }

    fn fetch(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.left.min(most as u64) as usize];
        (self.read)(&mut bytes)?;
        Ok(bytes)
    }

    fn checked(&self) -> io::Result<Vec<u8>> {
        let mut bytes = self.fetch(HEADER_BYTES)?;
        let mut header = PageHeader::parse(&bytes);
        if header.is_none() {
            bytes = self.fetch(MOST_HEADER_BYTES)?;
            header = PageHeader::parse(&bytes);
        }
        match header {
            Some(header) if (self.check)(&header) => Ok(bytes),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("no page of a table at byte {}", self.place),
            )),
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
