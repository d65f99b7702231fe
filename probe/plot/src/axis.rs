//! Axes with round numbers and a grid.

use maud::{Markup, html};

use crate::color::{GRID, INK, MUTED};
use crate::number::short;
use crate::scale::{Scale, Steps, extent};
use crate::shape::line;
use crate::text::{Anchor, Label, width};

/// An axis of values.
#[derive(Clone, Debug, Default)]
pub struct Axis {
    /// What the values are, with their unit.
    pub label: String,
    /// The ends of the axis; `None` for those of the data. Values beyond are drawn at the end.
    pub range: Option<(f64, f64)>,
    /// How it is divided.
    pub steps: Steps,
    /// Where numbers stand; `None` for round numbers.
    pub ticks: Option<Vec<f64>>,
}

impl Axis {
    /// A linear axis with the range of the data.
    pub fn new(label: impl Into<String>) -> Self {
        Axis {
            label: label.into(),
            ..Axis::default()
        }
    }

    /// The axis with a range.
    pub fn range(self, low: f64, high: f64) -> Self {
        Axis {
            range: Some((low, high)),
            ..self
        }
    }

    /// The axis with equal distances for equal ratios.
    pub fn log(self) -> Self {
        Axis {
            steps: Steps::Log,
            ..self
        }
    }

    /// The axis with numbers where the values are.
    pub fn ticks(self, ticks: Vec<f64>) -> Self {
        Axis {
            ticks: Some(ticks),
            ..self
        }
    }

    /// The map from values to pixels; `None` without a value that has a place. A range that is none is replaced by
    /// that of the data.
    pub(crate) fn scale(
        &self,
        values: impl Iterator<Item = f64>,
        pixels: (f64, f64),
    ) -> Option<Scale> {
        let data = extent(self.steps, values)?;
        let given = self.range.filter(|(low, high)| {
            low < high && extent(self.steps, [*low, *high].into_iter()) == self.range
        });
        let (low, high) = given.unwrap_or_else(|| padded(self.steps, data));
        Some(Scale {
            low,
            high,
            steps: self.steps,
            from: pixels.0,
            to: pixels.1,
        })
    }

    pub(crate) fn tick_values(&self, scale: &Scale, count: usize) -> Vec<f64> {
        let within = |value: &f64| scale.takes(*value) && (scale.low..=scale.high).contains(value);
        match &self.ticks {
            Some(ticks) => ticks.iter().copied().filter(within).collect(),
            None => scale.ticks(count),
        }
    }
}

/// A range that leaves a little room at both ends.
fn padded(steps: Steps, (low, high): (f64, f64)) -> (f64, f64) {
    match steps {
        Steps::Linear => {
            let room = 0.04 * (high - low);
            (low - room, high + room)
        }
        Steps::Log => {
            let room = (high / low).powf(0.04);
            (low / room, high * room)
        }
    }
}

/// The part of a figure within its axes, in pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

/// The numbers at ticks: short, but all different.
pub(crate) fn tick_labels(ticks: &[f64]) -> Vec<String> {
    let labels: Vec<String> = ticks.iter().map(|tick| short(*tick)).collect();
    if labels.windows(2).all(|pair| pair[0] != pair[1]) {
        return labels;
    }
    ticks.iter().map(ToString::to_string).collect()
}

/// Height of the numbers and the label below an area.
pub(crate) const BELOW: f64 = 44.0;

/// Width of the numbers and the label to the left of an area.
pub(crate) fn room_left(labels: &[String]) -> f64 {
    let widest = labels.iter().map(|label| width(label)).fold(0.0, f64::max);
    widest + 34.0
}

/// The axis to the left: grid, numbers, and the label, which is turned.
pub(crate) fn left(axis: &Axis, scale: &Scale, area: &Area) -> Markup {
    let ticks = axis.tick_values(scale, 6);
    let labels = tick_labels(&ticks);
    let middle = (area.top + area.bottom) / 2.0;
    let room = room_left(&labels);
    html! {
        @for (tick, label) in ticks.iter().zip(&labels) {
            (line(GRID, 1.0, (area.left, scale.at(*tick)), (area.right, scale.at(*tick))))
            (Label::new(label, area.left - 7.0, scale.at(*tick)).anchor(Anchor::End).paint(MUTED).draw())
        }
        (Label::new(&axis.label, area.left - room + 10.0, middle).most(area.bottom - area.top + 40.0).turn(-90.0).draw())
    }
}

/// The axis below: grid, numbers and label.
pub(crate) fn below(axis: &Axis, scale: &Scale, area: &Area) -> Markup {
    let all = axis.tick_values(scale, 6);
    let ticks = apart(&all, scale);
    let labels = tick_labels(&ticks);
    let middle = (area.left + area.right) / 2.0;
    html! {
        @for (tick, label) in ticks.iter().zip(&labels) {
            (line(GRID, 1.0, (scale.at(*tick), area.top), (scale.at(*tick), area.bottom)))
            (Label::new(label, scale.at(*tick), area.bottom + 13.0).paint(MUTED).draw())
        }
        (Label::new(&axis.label, middle, area.bottom + 32.0).most(area.right - area.left + 60.0).draw())
    }
}

/// The ticks whose numbers do not touch the one before.
fn apart(ticks: &[f64], scale: &Scale) -> Vec<f64> {
    let mut free = f64::NEG_INFINITY;
    let mut kept = Vec::new();
    for tick in ticks {
        let half = width(&short(*tick)) / 2.0;
        let x = scale.at(*tick);
        if x - half >= free {
            kept.push(*tick);
            free = x + half + 4.0;
        }
    }
    kept
}

/// The edges of an area: to the left and below.
pub(crate) fn edges(area: &Area) -> Markup {
    html! {
        (line(INK, 1.0, (area.left, area.top), (area.left, area.bottom)))
        (line(INK, 1.0, (area.left, area.bottom), (area.right, area.bottom)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_is_none_is_that_of_the_data() {
        let pixels = (0.0, 100.0);
        let data = [0.0, 1.0];
        for range in [
            (1.0, 1.0),
            (2.0, 1.0),
            (f64::NAN, 1.0),
            (0.0, f64::INFINITY),
        ] {
            let axis = Axis::new("x").range(range.0, range.1);
            let scale = axis.scale(data.into_iter(), pixels).unwrap();
            assert_eq!((scale.low, scale.high), (-0.04, 1.04));
        }
        let log = Axis::new("x").log().range(0.0, 10.0);
        assert!(log.scale([1.0, 8.0].into_iter(), pixels).unwrap().low > 0.5);
        assert!(
            Axis::new("x")
                .scale([f64::NAN].into_iter(), pixels)
                .is_none()
        );
    }

    #[test]
    fn numbers_at_ticks_differ() {
        assert_eq!(tick_labels(&[1000.1, 1000.2]), ["1000.1", "1000.2"]);
        assert_eq!(tick_labels(&[0.5, 1.0]), ["0.5", "1"]);
    }
}
