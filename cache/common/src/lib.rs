//! Types, messages and file helpers that all crates share. It knows none of them.

mod count;
pub mod disk;
pub mod draw;
mod file_error;
pub mod files;
mod hash;
mod memory;
mod placement;
pub mod process;
mod similar;
pub mod text;

use ndarray::Array2;

pub use count::counted;
pub use file_error::FileError;
pub use hash::{hex, sha256_bytes, sha256_file};
pub use memory::available_memory;
pub use placement::{Axis, Placement};
pub use process::{peak_rss_bytes, reset_peak_rss, system_name};
pub use similar::{did_you_mean, similar};

/// A label map `[H, W]` at native resolution; 0 is background.
pub type Mask = Array2<u16>;

/// A slice as the backbone saw it, `[S, S]`: black is 0, white 255.
pub type Picture = Array2<u8>;
