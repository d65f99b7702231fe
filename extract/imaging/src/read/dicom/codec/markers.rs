//! Segments of JPEG and JPEG-LS.

/// Iterator over the segments of an image.
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
    /// Offset of the next marker.
    at: usize,
}

/// A marker and its content.
pub(super) struct Segment<'a> {
    pub(super) marker: u8,
    pub(super) content: &'a [u8],
}

/// Start of a scan.
pub(super) const SCAN: u8 = 0xda;

/// The end of an image.
pub(super) const END: u8 = 0xd9;

impl<'a> Segments<'a> {
    /// Segments behind the start-of-image marker; `None` if there is no such marker.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Segments<'a>> {
        let is_image = bytes.starts_with(&[0xff, 0xd8]);
        is_image.then_some(Segments { bytes, at: 2 })
    }

    /// The next segment; `None` at the end or if it is cut short.
    pub(super) fn next(&mut self) -> Option<Segment<'a>> {
        let rest = self.bytes.get(self.at..)?.strip_prefix(&[0xff])?;
        let filling = rest.iter().take_while(|byte| **byte == 0xff).count();
        let (&marker, after) = rest[filling..].split_first()?;
        let length = match marker {
            END => 0,
            _ => usize::from(u16::from_be_bytes(*after.first_chunk()?)),
        };
        let content = match marker {
            END => &[],
            _ => after.get(2..length)?,
        };
        self.at += 2 + filling + length;
        Some(Segment { marker, content })
    }

    /// Entropy-coded bytes behind the header of a scan, up to the next marker that `ends` them.
    pub(super) fn entropy_coded(&mut self, ends: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest
            .windows(2)
            .position(|pair| pair[0] == 0xff && ends(pair[1]));
        let bytes = &rest[..end.unwrap_or(rest.len())];
        self.at += bytes.len();
        bytes
    }
}
