//! Measures of predictions.
//!
//! [`scored`] checks scores against targets and makes a [`ranked::Ranked`] of each class, from which the
//! measures of single classes are computed. Each measure takes [`weights::Weights`]: 1 for each case of the
//! data, and the number of times that a [`bootstrap::Bootstrap`] draw holds it for a resample.

pub mod bootstrap;
pub mod calibration;
pub mod confidence;
pub mod confusion;
pub mod curves;
pub mod delong;
pub mod mcnemar;
pub mod measures;
pub mod overlap;
pub mod ranked;
pub(crate) mod retrieval;
pub mod scored;
pub mod surface;
pub mod weights;
