//! Curves with error bars or bands.

use maud::{Markup, html};

use crate::axis::{self, Area, Axis};
use crate::color::{MUTED, series};
use crate::figure::{Caption, frame, no_data};
use crate::legend::{Entry, Sample, legend};
use crate::number::at;
use crate::scale::Scale;
use crate::shape::{curve, dashes, line, marker, unmarked_dashes};

/// Lines over a common axis: ROC, precision and recall, calibration, few-shot curves.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// Title and description.
    pub caption: Caption,
    /// The axis below.
    pub x: Axis,
    /// The axis to the left.
    pub y: Axis,
    /// The lines, in the order of the legend.
    pub lines: Vec<Line>,
    /// A dotted line from the lower left to the upper right end: chance of an ROC curve, perfect calibration.
    pub diagonal: bool,
    /// A square area, for axes of the same kind.
    pub square: bool,
}

/// A line through points.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Its name in the legend; nothing is written for a single line.
    pub name: String,
    /// Points in order; those that are not finite interrupt the line.
    pub points: Vec<Point>,
    /// How the points are joined.
    pub stroke: Stroke,
    /// How intervals are shown.
    pub spread: Spread,
    /// The index of the line that this one belongs to, as a fitted curve to measured points: it takes its colour and
    /// is not in the legend.
    pub of: Option<usize>,
}

/// A point of a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Point {
    /// Position on the axis below.
    pub x: f64,
    /// The value.
    pub y: f64,
    /// `(low, high)` of the value.
    pub interval: Option<(f64, f64)>,
}

/// How points are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Stroke {
    /// Straight lines and a marker at each point.
    #[default]
    Marked,
    /// Straight lines only.
    Plain,
    /// Steps: each value holds up to the next point.
    Steps,
    /// Dashed straight lines, for what was fitted and not measured.
    Dashed,
    /// Markers only.
    Points,
}

/// How intervals are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Spread {
    /// Error bars.
    #[default]
    Bars,
    /// A band behind the line.
    Band,
}

impl Line {
    /// A line with markers.
    pub fn new(name: impl Into<String>, points: Vec<Point>) -> Self {
        Line {
            name: name.into(),
            points,
            ..Line::default()
        }
    }
}

impl Point {
    /// A point without an interval.
    pub fn new(x: f64, y: f64) -> Self {
        Point {
            x,
            y,
            interval: None,
        }
    }
}

/// The maps of both axes.
struct Plane {
    x: Scale,
    y: Scale,
}

impl Plane {
    fn at(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        (self.x.takes(x) && self.y.takes(y)).then(|| (self.x.at(x), self.y.at(y)))
    }

    fn interval(&self, point: &Point) -> Option<(f64, f64, f64)> {
        let (low, high) = point.interval?;
        let (x, low) = self.at(point.x, low)?;
        let (_, high) = self.at(point.x, high)?;
        Some((x, low, high))
    }
}

impl Lines {
    /// The chart.
    pub fn svg(&self) -> Markup {
        let (width, height) = if self.square {
            (340.0, 340.0)
        } else {
            (600.0, 280.0)
        };
        let left = 64.0;
        let (legend, high) = self.legend(10.0, left + width);
        let top = 12.0 + high;
        let area = Area {
            left,
            right: left + width,
            top,
            bottom: top + height,
        };
        let Some(plane) = self.plane(&area) else {
            return no_data(&self.caption);
        };
        let body = html! {
            (legend)
            (axis::left(&self.y, &plane.y, &area))
            (axis::below(&self.x, &plane.x, &area))
            (axis::edges(&area))
            @if self.diagonal {
                path class=(MUTED.stroke()) stroke=(MUTED.light) stroke-width="1.5" stroke-dasharray="2 4" fill="none"
                    d={ "M" (at(area.left)) " " (at(area.bottom)) "L" (at(area.right)) " " (at(area.top)) } {}
            }
            @for (i, line) in self.lines.iter().enumerate() { (band(line, line.of.unwrap_or(i), &plane)) }
            @for (i, line) in self.lines.iter().enumerate() { (draw(line, line.of.unwrap_or(i), &plane)) }
        };
        frame(
            &self.caption,
            area.right + 20.0,
            area.bottom + axis::BELOW,
            &body,
        )
    }

    fn plane(&self, area: &Area) -> Option<Plane> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let ends = |point: &Point| {
            point
                .interval
                .map(|(low, high)| [low, high])
                .into_iter()
                .flatten()
        };
        let values = points().flat_map(|point| ends(point).chain([point.y]));
        Some(Plane {
            x: self
                .x
                .scale(points().map(|point| point.x), (area.left, area.right))?,
            y: self.y.scale(values, (area.bottom, area.top))?,
        })
    }

    fn legend(&self, left: f64, right: f64) -> (Markup, f64) {
        let own = self
            .lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.of.is_none());
        let entries: Vec<Entry<'_>> = own
            .map(|(i, line)| {
                let sample = match line.stroke {
                    Stroke::Marked => Sample::Line,
                    Stroke::Points => Sample::Marker,
                    Stroke::Plain | Stroke::Steps | Stroke::Dashed => Sample::Plain,
                };
                (i, sample, line.name.as_str())
            })
            .collect();
        if entries.len() < 2 {
            return legend(&[], left, right, 6.0);
        }
        legend(&entries, left, right, 6.0)
    }
}

fn band(line: &Line, index: usize, plane: &Plane) -> Markup {
    if line.spread != Spread::Band {
        return html! {};
    }
    let edges: Vec<(f64, f64, f64)> = line
        .points
        .iter()
        .filter_map(|point| plane.interval(point))
        .collect();
    let lower = edges.iter().map(|(x, low, _)| (*x, *low));
    let upper = edges.iter().rev().map(|(x, _, high)| (*x, *high));
    let outline: Vec<String> = lower
        .chain(upper)
        .map(|(x, y)| format!("{} {}", at(x), at(y)))
        .collect();
    let paint = series(index);
    html! {
        @if !outline.is_empty() {
            path class=(paint.fill()) fill=(paint.light) fill-opacity="0.18" d={ "M" (outline.join("L")) "z" } {}
        }
    }
}

fn draw(line_: &Line, index: usize, plane: &Plane) -> Markup {
    let dash = match line_.stroke {
        Stroke::Dashed => Some("5 4"),
        Stroke::Plain | Stroke::Steps => unmarked_dashes(index),
        Stroke::Marked | Stroke::Points => dashes(index),
    };
    let marked = matches!(line_.stroke, Stroke::Marked | Stroke::Points);
    let shown = || {
        line_
            .points
            .iter()
            .filter_map(|point| plane.at(point.x, point.y))
    };
    let bars = line_
        .points
        .iter()
        .filter_map(|point| plane.interval(point));
    html! {
        @if line_.stroke != Stroke::Points { (curve(index, &path(line_, plane), dash)) }
        @if line_.spread == Spread::Bars {
            @for (x, low, high) in bars { (line(series(index), 1.5, (x, low), (x, high))) }
        }
        @if marked {
            @for (x, y) in shown() { (marker(index, x, y, 4.0)) }
        }
    }
}

/// The commands of a line; a point without a place ends a piece.
fn path(line: &Line, plane: &Plane) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for point in &line.points {
        let Some((x, y)) = plane.at(point.x, point.y) else {
            drawing = false;
            continue;
        };
        let (x, y) = (at(x), at(y));
        path += &match (drawing, line.stroke) {
            (false, _) => format!("M{x} {y}"),
            (true, Stroke::Steps) => format!("H{x}V{y}"),
            (true, _) => format!("L{x} {y}"),
        };
        drawing = true;
    }
    path
}
