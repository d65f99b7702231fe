//! Charts as SVG: data in, one accessible `<svg>` element out.
//!
//! Each chart is a struct of plain data with a method `svg`. The same markup stands in a page or alone in a
//! file: colours are attributes, and [`stylesheet`], which a page embeds once, replaces them by custom
//! properties with values for light and dark. Text is escaped, long labels are shortened with the whole text
//! as a tooltip, and numbers that are not finite are never drawn.

mod axis;
mod bars;
mod color;
mod critical;
mod figure;
mod intervals;
mod legend;
mod lines;
mod matrix;
mod number;
mod ranks;
mod scale;
mod scatter;
mod shape;
mod text;

pub use axis::Axis;
pub use bars::{Bar, BarGroup, Bars};
pub use color::stylesheet;
pub use critical::CriticalDifference;
pub use figure::{Caption, figure};
pub use intervals::{Interval, Intervals};
pub use lines::{Line, Lines, Point, Spread, Stroke};
pub use matrix::Matrix;
pub use ranks::{RankLine, Ranks};
pub use scale::Steps;
pub use scatter::{Cloud, Scatter};
