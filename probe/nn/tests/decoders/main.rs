//! Decoders against PyTorch (`golden/decoders.json`, by `scripts/dev/golden_decoders.py`), and
//! properties that need no reference.
#![allow(clippy::unwrap_used)]

mod cases;
mod parity;
mod refusals;
mod training;
