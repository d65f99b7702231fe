//! Embeddings in the files of other programs: read into a cache, and written from one.

mod description;
mod export;
mod files;
mod hdf5;
mod import;
mod list_columns;
mod listed_rows;
mod npy;
mod numbers;
mod row_checks;
mod rows;
mod source;
mod source_files;
mod tokens;
mod torch;
mod write;

pub(crate) use self::export::npy_header;
pub use self::export::{Export, Exported, Target};
pub use self::import::{Import, Imported, Note};
pub use self::source::Format;
