//! Values with intervals, a row each.

use maud::{Markup, html};

use crate::axis::{self, Area, Axis};
use crate::color::{INK, MUTED};
use crate::figure::{Caption, frame, no_data};
use crate::number::{at, places};
use crate::scale::Scale;
use crate::shape::{line, marker};
use crate::text::{Anchor, Label, clean, width};

/// A forest plot: names at the left, intervals on an axis, numbers at the right.
#[derive(Clone, Debug, Default)]
pub struct Intervals {
    /// Title and description.
    pub caption: Caption,
    /// The axis of values.
    pub axis: Axis,
    /// The rows, in order.
    pub rows: Vec<Interval>,
    /// A value marked by a dashed line: 0 for differences, chance for measures.
    pub reference: Option<f64>,
}

/// A row.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// Its name.
    pub name: String,
    /// The heading that it stands below; rows with the same one follow each other. Empty for none.
    pub group: String,
    /// The value; a missing one is shown as missing.
    pub value: Option<f64>,
    /// `(low, high)`.
    pub interval: Option<(f64, f64)>,
}

const ROW: f64 = 20.0;
const AXIS: f64 = 300.0;
const NAMES: f64 = 220.0;

impl Interval {
    fn value(&self, scale: &Scale) -> Option<f64> {
        self.value.filter(|value| scale.takes(*value))
    }

    fn interval(&self, scale: &Scale) -> Option<(f64, f64)> {
        self.interval
            .filter(|(low, high)| scale.takes(*low) && scale.takes(*high))
    }

    fn text(&self, scale: &Scale) -> String {
        let Some(value) = self.value(scale) else {
            return "missing".to_string();
        };
        let places = places(scale.high - scale.low);
        match self.interval(scale) {
            Some((low, high)) => format!("{value:.places$} [{low:.places$}, {high:.places$}]"),
            None => format!("{value:.places$}"),
        }
    }
}

impl Intervals {
    /// The plot.
    pub fn svg(&self) -> Markup {
        let longest = self
            .rows
            .iter()
            .map(|row| width(&clean(&row.name)))
            .fold(40.0, f64::max)
            .min(NAMES);
        let left = longest + 28.0;
        let headings = self.headings().filter(|heading| *heading).count();
        let height = ROW * (self.rows.len() + headings) as f64;
        let area = Area {
            left,
            right: left + AXIS,
            top: 8.0,
            bottom: 14.0 + height,
        };
        let Some(scale) = self.scale((area.left, area.right)) else {
            return no_data(&self.caption);
        };
        let texts = self.rows.iter().map(|row| width(&row.text(&scale)));
        let right = area.right + 24.0 + texts.fold(0.0, f64::max);
        let body = html! {
            (axis::below(&self.axis, &scale, &area))
            (line(INK, 1.0, (area.left, area.bottom), (area.right, area.bottom)))
            @if let Some(reference) = self.reference.filter(|value| scale.takes(*value)) {
                path class=(INK.stroke()) stroke=(INK.light) stroke-width="1.2" stroke-dasharray="5 3" fill="none"
                    d={ "M" (at(scale.at(reference))) " " (at(area.top)) "V" (at(area.bottom)) } {}
            }
            (self.all(&scale, &area))
        };
        frame(&self.caption, right, area.bottom + axis::BELOW, &body)
    }

    /// The map of values; `None` if no row has one.
    fn scale(&self, pixels: (f64, f64)) -> Option<Scale> {
        let values = self.rows.iter().filter_map(|row| row.value);
        let ends = self.rows.iter().filter_map(|row| row.interval);
        let ends = ends.flat_map(|(low, high)| [low, high]);
        self.axis.scale(values.clone(), pixels)?;
        self.axis
            .scale(values.chain(ends).chain(self.reference), pixels)
    }

    /// Whether a row begins a group that has a heading.
    fn headings(&self) -> impl Iterator<Item = bool> {
        let before = [""]
            .into_iter()
            .chain(self.rows.iter().map(|row| row.group.as_str()));
        self.rows
            .iter()
            .zip(before)
            .map(|(row, before)| !row.group.is_empty() && row.group != before)
    }

    fn all(&self, scale: &Scale, area: &Area) -> Markup {
        let mut y = area.top + ROW / 2.0;
        let mut places = Vec::new();
        for (row, heading) in self.rows.iter().zip(self.headings()) {
            let above = heading.then_some(y);
            if heading {
                y += ROW;
            }
            places.push((row, above, y));
            y += ROW;
        }
        html! {
            @for (row, heading, y) in places {
                @if let Some(above) = heading {
                    (Label::new(&row.group, 4.0, above).anchor(Anchor::Start).bold().most(area.right).draw())
                }
                (draw(row, y, scale, area))
            }
        }
    }
}

fn draw(row: &Interval, y: f64, scale: &Scale, area: &Area) -> Markup {
    let text = row.text(scale);
    let paint = if row.value(scale).is_some() {
        INK
    } else {
        MUTED
    };
    html! {
        (Label::new(&row.name, area.left - 10.0, y).anchor(Anchor::End).most(area.left - 26.0).draw())
        @if let Some((low, high)) = row.interval(scale) {
            (line(crate::color::series(0), 2.0, (scale.at(low), y), (scale.at(high), y)))
        }
        @if let Some(value) = row.value(scale) { (marker(0, scale.at(value), y, 4.5)) }
        (Label::new(&text, area.right + 12.0, y).anchor(Anchor::Start).paint(paint).draw())
    }
}
