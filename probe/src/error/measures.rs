//! Errors of scores, measures and their intervals.

use std::path::PathBuf;

use common::text::shown;

/// An error of scores, measures and their intervals.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// There are no cases or no classes.
    #[error(
        "scores: found no cases or no classes, expected at least one of each\nhint: choose a split that has labelled slices"
    )]
    NoCases,
    /// Scores and targets differ in shape.
    #[error(
        "scores: found `{scores:?}` cases and classes, expected `{targets:?}` as targets have\nhint: take scores and targets from the same slices, of which there may be 4,294,967,295"
    )]
    ScoreShape {
        /// Shape of the scores, `[N, C]`.
        scores: [usize; 2],
        /// Shape of the targets, `[N, C]`.
        targets: [usize; 2],
    },
    /// A score is NaN or infinite.
    #[error(
        "scores: case {case} has the score `{value}` for class {class}, expected a finite number\nhint: the probe diverged; fit it with a lower learning rate or more regularisation"
    )]
    Score {
        /// The case, from 0.
        case: usize,
        /// The class, from 0.
        class: usize,
        /// The score.
        value: f64,
    },
    /// A case is of a class that has no scores.
    #[error(
        "scores: case {case} has the label `{label}`, expected one below {classes}\nhint: take scores and labels from the same dataset"
    )]
    ScoreLabel {
        /// The case, from 0.
        case: usize,
        /// The label.
        label: usize,
        /// Classes that have scores.
        classes: usize,
    },
    /// A file of scores differs from its record.
    #[error(
        "`{}`: found scores with {measure} {found}, expected {recorded} as recorded\nhint: the file was replaced; --force evaluates it again",
        shown(.path)
    )]
    OtherScores {
        /// The file.
        path: PathBuf,
        /// Name of the measure.
        measure: &'static str,
        /// The measure of the scores.
        found: f64,
        /// The measure in the record.
        recorded: f64,
    },
    /// A paired test got different cases.
    #[error(
        "scores: found cases or labels in one table that the other lacks, expected the same in both\nhint: compare runs on the same dataset and split"
    )]
    UnlikeCases,
    /// A paired test got different numbers of answers.
    #[error(
        "answers: found {found} in the second table, expected {expected} as in the first\nhint: compare runs on the same dataset and split"
    )]
    UnlikeAnswers {
        /// Answers of the second table.
        found: usize,
        /// Answers of the first.
        expected: usize,
    },
    /// A confidence level is no share.
    #[error(
        "confidence level: found `{found}`, expected a number between 0 and 1\nhint: give 0.95 for 95 %"
    )]
    Level {
        /// The level.
        found: f64,
    },
    /// There are not enough patients to resample.
    #[error("bootstrap: found {found} patients, expected at least 2\nhint: evaluate more patients")]
    TooFewPatients {
        /// Patients found.
        found: usize,
    },
    /// The number of draws is 0 or too large.
    #[error(
        "bootstrap: found `{found}` draws, expected 1 to {most}\nhint: 1000 draws are enough for an interval of 95 %"
    )]
    Draws {
        /// Requested draws.
        found: usize,
        /// Maximum number of draws.
        most: usize,
    },
}
