//! Tokens of rows: one vector, patch tokens, or both.

use cache::{ImportedTokens, LayerShape, Numbers, PatchTokens, Tokens};
use ndarray::Array2;

use super::numbers::{self, Place};
use super::rows::{Rows, row_numbers};
use crate::Error;

/// Reader of the tokens of rows.
pub(super) struct TokenReader {
    /// One vector for each row.
    vectors: Option<Box<dyn Rows>>,
    /// Patch tokens.
    patches: Option<Box<dyn Rows>>,
    shape: LayerShape,
    scale: f64,
    /// Rows of which half precision keeps no number with all its digits.
    pub(super) tiny: u64,
}

/// Tokens of rows that were read.
#[derive(Default)]
pub(super) struct Read {
    /// CLS tokens, row by row.
    cls: Vec<f32>,
    /// Means of patch tokens; empty without patch tokens.
    mean: Vec<f32>,
    patch: Vec<f32>,
}

/// CLS tokens, means and patch tokens of a batch.
type Arrays = (Array2<f32>, Array2<f32>, Option<PatchTokens>);

impl TokenReader {
    /// Sorts out which array is which, by their shapes. `grid` is that of the patches, which are a square
    /// without it.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] for other shapes, and arrays of different numbers of rows; [`Error::Options`] for a grid
    /// without patch tokens.
    pub(super) fn of(
        tokens: Box<dyn Rows>,
        patches: Option<Box<dyn Rows>>,
        grid: Option<[u32; 2]>,
        scale: f64,
    ) -> Result<TokenReader, Error> {
        let is_vector = row_numbers(tokens.place().0, None, tokens.shape())?
            == tokens.shape().last().copied().unwrap_or(0);
        let (vectors, patches) = match (is_vector, patches) {
            (true, patches) => (Some(tokens), patches),
            (false, None) => (None, Some(tokens)),
            (false, Some(_)) => {
                let expected = "one vector for each row, beside the patch tokens";
                return Err(odd(&*tokens, expected, "leave `--patches` out"));
            }
        };
        if let (Some(vectors), Some(patches)) = (&vectors, &patches)
            && vectors.count() != patches.count()
        {
            let expected = format!("{} rows, as in the other array", vectors.count());
            return Err(odd(&**patches, &expected, "save both from the same images"));
        }
        if let (None, Some(grid)) = (&patches, grid) {
            return Err(unused_grid(grid));
        }
        let cls = vectors.as_ref().and_then(|rows| rows.shape().last());
        let cls = cls.map(|width| *width as u32);
        let shape = match &patches {
            Some(patches) => patch_shape(&**patches, cls, grid)?,
            None => LayerShape {
                cls: cls.unwrap_or_default(),
                patch: cls.unwrap_or_default(),
                grid: [1, 1],
            },
        };
        Ok(TokenReader {
            vectors,
            patches,
            shape,
            scale,
            tiny: 0,
        })
    }

    /// The array whose rows are counted.
    pub(super) fn rows(&self) -> Option<&dyn Rows> {
        self.vectors.as_deref().or(self.patches.as_deref())
    }

    /// Widths and grid of the tokens.
    pub(super) fn shape(&self) -> LayerShape {
        self.shape
    }

    /// Tables of the cache.
    pub(super) fn tokens(&self) -> Tokens {
        match self.patches {
            Some(_) => Tokens::All,
            None => Tokens::Cls,
        }
    }

    /// Content of the tables `cls` and `mean`.
    pub(super) fn content(&self) -> ImportedTokens {
        match (&self.vectors, &self.patches) {
            (Some(_), Some(_)) => ImportedTokens::Both,
            (None, _) => ImportedTokens::PatchTokens,
            (Some(_), None) => ImportedTokens::OneVector,
        }
    }

    /// Appends the tokens of the next row to `to`, or passes over them without one.
    ///
    /// # Errors
    ///
    /// Errors of the files, and [`Error::Layout`] for numbers that a cache cannot hold.
    pub(super) fn read(&mut self, sample: &str, to: Option<&mut Read>) -> Result<(), Error> {
        let mut passed = Read::default();
        let is_kept = to.is_some();
        let to = to.unwrap_or(&mut passed);
        let (cls, patch) = (to.cls.len(), to.patch.len());
        if let Some(vectors) = &mut self.vectors {
            read(&mut **vectors, self.scale, (sample, is_kept), &mut to.cls)?;
        }
        if let Some(patches) = &mut self.patches {
            read(&mut **patches, self.scale, (sample, is_kept), &mut to.patch)?;
        }
        if is_kept {
            let is_tiny = |row: &[f32]| !row.is_empty() && numbers::is_tiny(row);
            let rows = [&to.cls[cls..], &to.patch[patch..]];
            self.tiny += u64::from(rows.into_iter().any(is_tiny));
            let tokens = &to.patch[patch..];
            to.mean.extend(mean(tokens, self.shape.patch as usize));
        }
        Ok(())
    }

    /// The rows of a batch as arrays.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`].
    pub(super) fn arrays(&self, read: Read, rows: usize) -> Result<Arrays, Error> {
        let array = |numbers: Vec<f32>| {
            let width = numbers.len() / rows.max(1);
            Array2::from_shape_vec((rows, width), numbers).map_err(|_| Error::Broken)
        };
        let Read { cls, mean, patch } = read;
        let (cls, mean) = match self.content() {
            ImportedTokens::OneVector => (array(cls.clone())?, array(cls)?),
            ImportedTokens::PatchTokens => (array(mean.clone())?, array(mean)?),
            ImportedTokens::Both => (array(cls)?, array(mean)?),
        };
        let shape = [self.shape.patches(), self.shape.patch as usize];
        let patch = self.patches.as_ref().map(|_| {
            let numbers = Numbers::F32(patch.into());
            PatchTokens::new(&numbers, shape)
        });
        Ok((cls, mean, patch))
    }
}

/// Reads the next row of an array, and checks it if it is kept.
fn read(
    rows: &mut dyn Rows,
    scale: f64,
    (sample, is_kept): (&str, bool),
    to: &mut Vec<f32>,
) -> Result<(), Error> {
    let start = to.len();
    let (path, row) = rows.place();
    let path = path.to_path_buf();
    rows.read(scale, to)?;
    if !is_kept {
        return Ok(());
    }
    let place = Place {
        path: &path,
        row,
        sample,
    };
    numbers::check(&to[start..], place)
}

/// The mean of the tokens of a row.
fn mean(tokens: &[f32], width: usize) -> Vec<f32> {
    if tokens.is_empty() {
        return Vec::new();
    }
    let mut sums = vec![0.0_f64; width];
    for token in tokens.chunks(width) {
        for (sum, value) in sums.iter_mut().zip(token) {
            *sum += f64::from(*value);
        }
    }
    let count = (tokens.len() / width) as f64;
    sums.iter().map(|sum| (sum / count) as f32).collect()
}

/// The shape of tokens with these patches, `[P, D]` or `[h, w, D]` in a row.
fn patch_shape(
    patches: &dyn Rows,
    cls: Option<u32>,
    grid: Option<[u32; 2]>,
) -> Result<LayerShape, Error> {
    let (rows, columns, width) = match *patches.shape() {
        [rows, columns, width] => (rows, columns, width),
        [count, width] => match grid {
            Some([rows, columns]) => (rows as usize, columns as usize, width),
            None => (count.isqrt(), count.isqrt(), width),
        },
        _ => {
            let expected = "patch tokens `[N, P, D]` or `[N, rows, columns, D]`";
            return Err(odd(patches, expected, "see docs/interchange.md"));
        }
    };
    let count = row_numbers(patches.place().0, None, patches.shape())?;
    if rows.saturating_mul(columns).saturating_mul(width) != count
        || grid.is_some_and(|grid| grid.map(|side| side as usize) != [rows, columns])
    {
        let expected = grid.map_or("a square of patches".to_owned(), |[rows, columns]| {
            format!("{rows} x {columns} patches")
        });
        let hint = "give the rows and columns of patches as `--grid ROWSxCOLUMNS`; leave out register tokens and \
                    the CLS token";
        return Err(odd(patches, &expected, hint));
    }
    let width = width as u32;
    Ok(LayerShape {
        cls: cls.unwrap_or(width),
        patch: width,
        grid: [rows as u32, columns as u32],
    })
}

/// An error about a grid that no patch tokens have.
fn unused_grid([rows, columns]: [u32; 2]) -> Error {
    Error::Options {
        found: format!(
            "`--grid {rows}x{columns}` without patch tokens: the rows are single vectors"
        ),
        hint: "leave it out, or import patch tokens `[N, P, D]` from a `.npy`, `.npz` or HDF5 file"
            .to_owned(),
    }
}

fn odd(rows: &dyn Rows, expected: &str, hint: &str) -> Error {
    let (count, shape) = (rows.count(), rows.shape());
    Error::Layout {
        path: rows.place().0.to_path_buf(),
        found: format!("{count} rows of the shape {shape:?}"),
        expected: expected.to_owned(),
        hint: hint.to_owned(),
    }
}
