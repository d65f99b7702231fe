//! Measures of predictions.
//!
//! [`scored`] checks scores and what is true of them. It makes a [`ranked::Ranked`] of every class,
//! from which measures come that look at one class at a time. Every measure takes
//! [`scored::Weights`], how often each case counts: once each for the data as they are, and as a
//! draw of [`bootstrap::Bootstrap`] has it for a resample.

pub mod bootstrap;
pub mod calibration;
pub mod confidence;
pub mod confusion;
pub mod delong;
pub mod mcnemar;
pub mod measures;
pub mod overlap;
pub mod ranked;
pub mod scored;
pub mod surface;
