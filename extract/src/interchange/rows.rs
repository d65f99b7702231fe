//! Arrays of tokens, read row by row.

use std::path::Path;

use crate::Error;

/// Greatest number of numbers in a row.
const MOST_NUMBERS: usize = 1 << 28;

/// Greatest width of a token that a cache can have.
const MOST_WIDTH: usize = 1 << 20;

/// Rows of an array `[N, …]`, read from front to back in bounded memory.
pub(super) trait Rows {
    /// Number of rows, `N`.
    fn count(&self) -> u64;

    /// Shape of a row.
    fn shape(&self) -> &[usize];

    /// File of the next row, and the number of the row in it.
    fn place(&self) -> (&Path, u64);

    /// Appends the numbers of the next row, multiplied by `scale`, to `out`.
    ///
    /// # Errors
    ///
    /// [`FileError`](common::FileError) if they cannot be read.
    fn read(&mut self, scale: f64, out: &mut Vec<f32>) -> Result<(), Error>;
}

/// Numbers in a row of this shape, of the array `name` if the file has several.
///
/// # Errors
///
/// [`Error::Layout`] if there are none or too many, in the row or in a token.
pub(super) fn row_numbers(
    path: &Path,
    name: Option<&str>,
    shape: &[usize],
) -> Result<usize, Error> {
    let sides = shape.iter();
    let count = sides.fold(1_usize, |count, &side| count.saturating_mul(side));
    let width = shape.last().copied().unwrap_or(1);
    let expected = if !(1..=MOST_NUMBERS).contains(&count) {
        format!("1 to {MOST_NUMBERS} numbers in a row")
    } else if width > MOST_WIDTH {
        format!("at most {MOST_WIDTH} numbers in a vector")
    } else {
        return Ok(count);
    };
    Err(Error::Layout {
        path: path.to_path_buf(),
        found: format!("rows of the shape {shape:?}{}", within(name)),
        expected,
        hint:
            "the first axis is that of images or slices, the last that of the numbers of a vector"
                .to_owned(),
    })
}

/// The array `name` of a file, at the end of a message.
pub(super) fn within(name: Option<&str>) -> String {
    name.map_or(String::new(), |name| format!(" in `{name}`"))
}
