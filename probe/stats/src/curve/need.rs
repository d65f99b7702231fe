//! Patients needed for a measure.

use serde::Serialize;

use super::Fit;
use crate::Interval;

/// How many times the largest measured number a curve is extrapolated.
pub const MOST_BEYOND: f64 = 10.0;

/// Patients needed to reach an error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Need {
    /// The number by the fitted curve.
    pub patients: f64,
    /// The lower bound of its percentile interval over draws.
    pub low: f64,
    /// The upper bound; `None` if it is more than [`MOST_BEYOND`] times the largest measured number, or if the
    /// curves of too many draws never reach the error.
    pub high: Option<f64>,
    /// Whether the number is beyond the largest that was measured.
    pub is_extrapolated: bool,
}

/// Why there is no number.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Unmet {
    /// The error is at or below the floor of the curve.
    #[error(
        "the curve levels off at an error of {floor:.4} [{:.4}, {:.4}]: no number reaches it", interval[0], interval[1]
    )]
    Floor {
        /// The floor.
        floor: f64,
        /// Its interval.
        interval: Interval,
    },
    /// The number is too far beyond what was measured.
    #[error(
        "the curve reaches it beyond {MOST_BEYOND:.0} times the {most:.0} that were measured: too far to extrapolate"
    )]
    Far {
        /// The number.
        patients: f64,
        /// The largest that was measured.
        most: f64,
    },
    /// The error is reached with fewer patients than were measured.
    #[error("the fewest that were measured, {least:.0}, reach it already")]
    Before {
        /// The smallest number that was measured.
        least: f64,
    },
}

impl Fit {
    /// The patients needed to reach an error, with an interval.
    ///
    /// # Errors
    ///
    /// [`Unmet`] if the curve does not tell.
    pub fn needed(&self, error: f64) -> Result<Need, Unmet> {
        let Some(patients) = self.curve.patients(error) else {
            return Err(Unmet::Floor {
                floor: self.curve.floor,
                interval: self.intervals[0],
            });
        };
        let (least, most) = (self.points[0][0], self.most());
        if patients < least {
            return Err(Unmet::Before { least });
        }
        if patients > MOST_BEYOND * most {
            return Err(Unmet::Far { patients, most });
        }
        let drawn = self.bootstrap.iter();
        let drawn = drawn.map(|curve| curve.patients(error).unwrap_or(f64::INFINITY));
        let [low, high] = self.draws.interval(drawn.collect());
        if low > MOST_BEYOND * most {
            return Err(Unmet::Far { patients, most });
        }
        Ok(Need {
            patients,
            low,
            high: (high <= MOST_BEYOND * most).then_some(high),
            is_extrapolated: patients > most,
        })
    }
}
