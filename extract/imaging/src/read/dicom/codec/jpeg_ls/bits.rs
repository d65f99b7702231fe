//! Bits and Golomb codes.

use super::super::Failure;
use super::scan::Scan;
use super::{cut_short, damaged};

/// A cursor over bits, highest bit of a byte first; the bit behind a byte of ones is skipped.
pub(super) struct Bits<'a> {
    bytes: std::slice::Iter<'a, u8>,
    /// The next bits, from the highest bit on.
    next: u64,
    /// Number of bits in `next`.
    count: u32,
    after_ones: bool,
}

impl<'a> Bits<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Bits<'a> {
        Bits {
            bytes: bytes.iter(),
            next: 0,
            count: 0,
            after_ones: false,
        }
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let Some(byte) = self.bytes.next() else {
                return;
            };
            let width = if self.after_ones { 7 } else { 8 };
            self.next |= u64::from(*byte) << (64 - width) >> self.count;
            self.count += width;
            self.after_ones = *byte == 0xff;
        }
    }

    /// The next `count` bits, at most 32, as a number.
    pub(super) fn take(&mut self, count: u32) -> Result<i32, Failure> {
        self.fill();
        if count == 0 {
            return Ok(0);
        }
        if self.count < count {
            return Err(cut_short());
        }
        let bits = self.next >> (64 - count);
        self.next <<= count;
        self.count -= count;
        Ok(bits as i32)
    }

    /// A number in the Golomb code of order `k` that is limited to `limit` bits: A.5.3.
    pub(super) fn golomb(&mut self, k: u32, limit: u32, scan: &Scan) -> Result<i32, Failure> {
        let most = limit - scan.qbpp - 1;
        let mut zeros = 0;
        loop {
            self.fill();
            let run = self.next.leading_zeros().min(self.count);
            zeros += run;
            self.next = self.next.checked_shl(run).unwrap_or_default();
            self.count -= run;
            if self.count > 0 || zeros > most {
                break;
            }
            if self.bytes.len() == 0 {
                return Err(cut_short());
            }
        }
        self.take(1)?;
        let number = match zeros {
            _ if zeros < most => ((zeros as i32) << k) + self.take(k)?,
            _ => self.take(scan.qbpp)? + 1,
        };
        if zeros <= most && number <= 2 * scan.range {
            Ok(number)
        } else {
            Err(damaged("a JPEG-LS code is no error that can be"))
        }
    }
}
