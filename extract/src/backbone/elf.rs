//! Detection of truncated shared libraries. The system's loader maps a library without checking its length, and
//! the first access to a missing part would end the process by a signal.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// Length of the header of a 64-bit ELF file.
const HEADER: usize = 64;
/// Length of an entry of its table of segments.
const SEGMENT: usize = 56;

/// Checks that a library has the length that its headers declare (System V ABI, ELF-64, little-endian). Other
/// files pass; the loader refuses them.
///
/// # Errors
///
/// The system's error, and [`ErrorKind::UnexpectedEof`] if the file is truncated.
pub(super) fn check(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let found = file.metadata()?.len();
    let mut header = [0; HEADER];
    // Magic number, 64 bits, little-endian.
    if file.read_exact(&mut header).is_err() || header[..6] != *b"\x7fELF\x02\x01" {
        return Ok(());
    }
    let (segments, count) = (long(&header, 32), short(&header, 56));
    let (sections, length) = (long(&header, 40), short(&header, 58) * short(&header, 60));
    let mut expected = sections.saturating_add(length);
    let mut table = vec![0; count as usize * SEGMENT];
    file.seek(SeekFrom::Start(segments))?;
    if file.read_exact(&mut table).is_err() {
        expected = expected.max(segments.saturating_add(table.len() as u64));
    }
    for segment in table.chunks_exact(SEGMENT) {
        expected = expected.max(long(segment, 8).saturating_add(long(segment, 32)));
    }
    if found >= expected {
        return Ok(());
    }
    let what = format!("the file is truncated: it has {found} of {expected} bytes");
    Err(io::Error::new(ErrorKind::UnexpectedEof, what))
}

/// The 64-bit integer at byte `at`.
fn long(bytes: &[u8], at: usize) -> u64 {
    (0..8).fold(0, |value, k| value | u64::from(bytes[at + k]) << (8 * k))
}

/// The 16-bit integer at byte `at`.
fn short(bytes: &[u8], at: usize) -> u64 {
    u64::from(bytes[at]) | u64::from(bytes[at + 1]) << 8
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_ends_before_its_segments_or_sections_is_truncated() {
        let dir = tempfile::tempdir().unwrap();
        let whole = fs::read(std::env::current_exe().unwrap()).unwrap();
        let path = dir.path().join("lib.so");
        let check = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            super::check(&path)
        };
        check(&whole).unwrap();
        for length in [HEADER, HEADER + 100, 4096, whole.len() / 2, whole.len() - 1] {
            let error = check(&whole[..length]).unwrap_err().to_string();
            assert!(error.contains(&format!("it has {length} of ")), "{error}");
        }
        // No ELF files.
        for other in [&b""[..], b"\x7fELF", &[0; 200]] {
            check(other).unwrap();
        }
    }
}
