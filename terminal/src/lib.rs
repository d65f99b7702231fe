//! What both programs print in one form: help and tables.

mod grid;
mod help;

pub use self::grid::{Column, Grid, WIDTH};
pub use self::help::{Example, Examples, Form, Group};
