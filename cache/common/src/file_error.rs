//! Reasons why a file cannot be read, whatever its format.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use crate::text::shown;

/// A file that cannot be read; the text names it and, on a line of its own, the fix.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system could not read a file or a folder.
    #[error("`{}`: {source}{}", shown(path), io_hint(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Message of the system.
        source: io::Error,
    },
    /// A pipe, a socket or a device stands where a file is expected.
    #[error(
        "`{}`: not a regular file\nhint: copy what it gives to a file, and name that",
        shown(path)
    )]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// The file has no bytes.
    #[error(
        "`{}`: the file is empty\nhint: download or copy it again",
        shown(path)
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A failed download left a web page in the place of the file.
    #[error(
        "`{}`: the file is a web page, not data\nhint: the download failed; open the file to see why, and download it again",
        shown(path)
    )]
    WebPage {
        /// The file.
        path: PathBuf,
    },
    /// The content is damaged: a checksum is wrong, or a part is missing.
    #[error("`{}`: the file is damaged: {reason}\nhint: download or copy it again", shown(path), reason = shown(reason))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Message of the decoder.
        reason: String,
    },
    /// The content is larger than this program unpacks.
    #[error("`{}`: the header asks for {found}, the limit is {limit}\nhint: if the image is really so large, split it, or give it more memory; else download or copy it again", shown(path), found = shown(found), limit = shown(limit))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The size found.
        found: String,
        /// The largest size that is read.
        limit: String,
    },
}

impl FileError {
    /// A closure for `map_err` that names the file which the system failed to read.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> FileError + use<> {
        let path = path.to_path_buf();
        move |source| FileError::Io { path, source }
    }

    /// [`Damaged`](Self::Damaged) with the message of a decoder.
    pub fn damaged(path: &Path, reason: impl Display) -> FileError {
        FileError::Damaged {
            path: path.to_path_buf(),
            reason: reason.to_string(),
        }
    }

    /// [`TooLarge`](Self::TooLarge) with the size found and the largest that is read.
    pub fn too_large(path: &Path, found: impl Display, limit: impl Display) -> FileError {
        FileError::TooLarge {
            path: path.to_path_buf(),
            found: found.to_string(),
            limit: limit.to_string(),
        }
    }

    /// The file or folder.
    pub fn path_mut(&mut self) -> &mut PathBuf {
        match self {
            FileError::Io { path, .. }
            | FileError::NotRegular { path }
            | FileError::Empty { path }
            | FileError::WebPage { path }
            | FileError::Damaged { path, .. }
            | FileError::TooLarge { path, .. } => path,
        }
    }
}

/// Advice where the system's message gives none.
fn io_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "\nhint: make it readable for the user who runs `extract`, or run it as one who may read it"
        }
        io::ErrorKind::NotFound => {
            "\nhint: see whether the name is right, and whether it is relative to the folder that you are in"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_not_be_read_comes_with_a_hint() {
        let error = FileError::io(Path::new("a.nii"))(io::ErrorKind::PermissionDenied.into());
        let text = error.to_string();
        assert!(
            text.starts_with("`a.nii`: permission denied\nhint: "),
            "{text}"
        );
    }
}
