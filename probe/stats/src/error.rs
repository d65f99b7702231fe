//! Errors.

/// A table that cannot be ranked, or parameters that mean nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// Fewer than two models.
    #[error("found {found} model, expected at least 2")]
    Models {
        /// Number of models.
        found: usize,
    },
    /// A row with another number of scores than the first.
    #[error("row {row} has {found} scores, expected {expected}")]
    Row {
        /// The row, from 0.
        row: usize,
        /// Its number of scores.
        found: usize,
        /// That of the first row.
        expected: usize,
    },
    /// A score that is infinite or not a number.
    #[error("row {row}: the score of model {model} is no finite number")]
    Score {
        /// The row, from 0.
        row: usize,
        /// The model, from 0.
        model: usize,
    },
    /// Scores of a draw for another number of datasets than the table has.
    #[error("a draw has scores of {found} datasets, expected {expected}")]
    Datasets {
        /// Datasets of the draw.
        found: usize,
        /// Those of the table.
        expected: usize,
    },
    /// No dataset with a score of every model.
    #[error("no dataset has a score of every model")]
    Incomplete,
    /// A level, or a share, outside of 0 to 1.
    #[error("found {found}, expected a number between 0 and 1")]
    Share {
        /// The number.
        found: f64,
    },
    /// No draws.
    #[error("found 0 draws, expected at least 1")]
    Draws,
}

/// Checks that a level or another share lies between 0 and 1.
pub(crate) fn check_share(found: f64) -> Result<(), Error> {
    if 0.0 < found && found < 1.0 {
        Ok(())
    } else {
        Err(Error::Share { found })
    }
}
