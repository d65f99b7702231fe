//! Rows of many files, one after the other.

use std::path::{Path, PathBuf};

use super::rows::Rows;
use crate::Error;

/// Opens the rows of a file.
pub(super) type Open = Box<dyn Fn(&Path) -> Result<Box<dyn Rows>, Error>>;

/// Rows of files. Each file is opened twice: for the number and the shape of its rows, and to read them.
pub(super) struct FileRows {
    open: Open,
    files: Vec<(PathBuf, u64)>,
    shape: Vec<usize>,
    /// The file whose rows come next, and its reader once one of its rows was read.
    at: usize,
    current: Option<Box<dyn Rows>>,
}

impl FileRows {
    /// The rows of `files`, in this order.
    ///
    /// # Errors
    ///
    /// Errors of the files, and [`Error::Layout`] if their rows have different shapes.
    pub(super) fn of(files: Vec<PathBuf>, open: Open) -> Result<FileRows, Error> {
        let mut counted = Vec::with_capacity(files.len());
        let mut shape: Option<Vec<usize>> = None;
        for file in files {
            let rows = open(&file)?;
            let known = shape.get_or_insert_with(|| rows.shape().to_vec());
            if rows.shape() != known.as_slice() && rows.count() > 0 {
                let first = counted
                    .first()
                    .map(|(file, _): &(PathBuf, u64)| file.as_path());
                return Err(other_shape(&file, rows.shape(), (first, known)));
            }
            let count = rows.count();
            counted.push((file, count));
        }
        Ok(FileRows {
            open,
            files: counted,
            shape: shape.unwrap_or_default(),
            at: 0,
            current: None,
        })
    }

    /// Number of rows of each file.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.files.iter().map(|(_, count)| *count)
    }

    /// The file of the next row.
    fn file(&self) -> usize {
        let ended = |at: &usize| {
            let read = self.current.as_ref().filter(|_| *at == self.at);
            let read = read.map_or(0, |rows| rows.place().1);
            self.files.get(*at).is_some_and(|(_, count)| read >= *count)
        };
        let mut at = self.at;
        while ended(&at) {
            at += 1;
        }
        at
    }
}

impl Rows for FileRows {
    fn count(&self) -> u64 {
        self.counts().sum()
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn place(&self) -> (&Path, u64) {
        let at = self.file();
        let file = self.files.get(at).or(self.files.last());
        let read = self.current.as_ref().filter(|_| at == self.at);
        let path = file.map_or(Path::new(""), |(path, _)| path.as_path());
        (path, read.map_or(0, |rows| rows.place().1))
    }

    fn read(&mut self, scale: f64, out: &mut Vec<f32>) -> Result<(), Error> {
        let at = self.file();
        let (path, count) = self.files.get(at).ok_or(Error::Broken)?;
        let rows = match &mut self.current {
            Some(rows) if at == self.at => rows,
            _ => {
                let rows = (self.open)(path)?;
                if rows.count() != *count || rows.shape() != self.shape.as_slice() {
                    return Err(Error::damaged(path, "it changed while it was read"));
                }
                self.current.insert(rows)
            }
        };
        self.at = at;
        rows.read(scale, out)
    }
}

fn other_shape(path: &Path, found: &[usize], (first, shape): (Option<&Path>, &[usize])) -> Error {
    let first = first.unwrap_or(path).display();
    Error::Layout {
        path: path.to_path_buf(),
        found: format!("rows of the shape {found:?}"),
        expected: format!("{shape:?}, as in `{first}`"),
        hint: "import files of one model at a time".to_owned(),
    }
}
