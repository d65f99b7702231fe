//! Limits for files that may be damaged or hostile.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Longest side that is read, in pixels or voxels.
pub(crate) const MAX_SIDE: u32 = 32_767;

/// Most bytes that an image in one slice may unpack to.
pub(crate) const MAX_UNPACKED: u64 = 1 << 30;

/// Greatest ratio of unpacked to packed bytes: deflate makes at most 1032 bytes of one.
pub(crate) const MAX_RATIO: u64 = 1032;

/// The result of a foreign decoder; `None` if it panicked.
///
/// Decoders index and compute unchecked in places. A mistake that a damaged file brings to light ends
/// that file only, not the thread.
pub fn contained<T>(decode: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(decode)).ok()
}
