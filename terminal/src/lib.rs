//! What both programs print in one form: help, man pages, completions and tables.

mod completions;
mod faults;
mod fold;
mod grid;
mod help;
mod man;
mod messages;

pub use self::completions::CompletionsArgs;
pub use self::fold::folded;
pub use self::grid::{Column, Grid, WIDTH, markdown};
pub use self::help::{Example, Examples, Form, Group};
pub use self::man::ManArgs;
pub use self::messages::messages;
