//! Errors of a file that is read or written.

use std::path::PathBuf;

use common::text::shown;

use super::{Cause, said};

/// An error of a file that is read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A run record could not be written.
    #[error(
        "`{}`: cannot write a run record: {}\nhint: name a writable folder with free space with --runs",
        shown(.path),
        said(.source)
    )]
    Record {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file of run records could not be read.
    #[error(
        "`{}`: cannot read the run records: {}\nhint: name another folder with --runs",
        shown(.path),
        said(.source)
    )]
    Records {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Scores or a head could not be written.
    #[error(
        "`{}`: cannot write it: {}\nhint: name a writable folder with free space with --runs",
        shown(.path),
        said(.source)
    )]
    Output {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Cause,
    },
    /// A file of scores or a head could not be read.
    #[error(
        "`{}`: cannot read it: {}\nhint: name a file that `probe` has written",
        shown(.path),
        said(.source)
    )]
    Input {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Cause,
    },
    /// A file of an earlier run is damaged.
    #[error(
        "`{}`: cannot continue with it: {}\nhint: delete it; it will be created again",
        shown(.path),
        said(.source)
    )]
    Kept {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Cause,
    },
}
