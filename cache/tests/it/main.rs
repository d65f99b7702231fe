//! Caches as a program writes and reads them.
#![allow(clippy::unwrap_used, unsafe_code)]

mod descriptions;
mod flips;
mod hostile;
#[cfg(unix)]
mod links;
mod made;
mod mutated;
mod parts;
mod refusals;
mod round_trip;
mod shapes;
mod splits;
