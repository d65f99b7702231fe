//! Points in a plane, many of them.

use maud::{Markup, html};

use crate::axis::{self, Area, Axis};
use crate::color::{GRID, SERIES, series};
use crate::figure::{Caption, frame, no_data};
use crate::legend::{Entry, Sample, legend};
use crate::number::at;
use crate::scale::{Scale, takes};
use crate::shape::outline;
use crate::text::clean;

/// Points of several classes.
#[derive(Clone, Debug, Default)]
pub struct Scatter {
    /// Title and description.
    pub caption: Caption,
    /// The axis below.
    pub x: Axis,
    /// The axis to the left.
    pub y: Axis,
    /// The classes, in the order of the legend.
    pub clouds: Vec<Cloud>,
    /// The same scale on both axes and no numbers, for maps whose axes mean nothing.
    pub map: bool,
}

/// Points of a class, drawn as one path, or each alone if they have titles.
#[derive(Clone, Debug, Default)]
pub struct Cloud {
    /// The name of the class.
    pub name: String,
    /// Positions; those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// Tooltips of the points, or none. They cost about 100 bytes a point.
    pub titles: Vec<String>,
}

const SIDE: f64 = 520.0;

impl Scatter {
    /// The chart.
    pub fn svg(&self) -> Markup {
        let left = if self.map { 8.0 } else { 64.0 };
        let (legend, high) = self.legend(left, left + SIDE);
        let top = 10.0 + high;
        let mut area = Area {
            left,
            right: left + SIDE,
            top,
            bottom: top + SIDE,
        };
        let Some((mut x, mut y)) = self.scales(&area) else {
            return no_data(&self.caption);
        };
        if self.map {
            area.bottom = top + fit(&mut x, &mut y, top);
        }
        let count: usize = self.clouds.iter().map(|cloud| cloud.points.len()).sum();
        let radius = radius(count, self.clouds.len());
        let body = html! {
            (legend)
            @if self.map {
                rect class=(GRID.stroke()) stroke=(GRID.light) fill="none" x=(at(area.left)) y=(at(area.top))
                    width=(SIDE) height=(at(area.bottom - area.top)) {}
            } @else {
                (axis::left(&self.y, &y, &area))
                (axis::below(&self.x, &x, &area))
                (axis::edges(&area))
            }
            @for (i, cloud) in self.clouds.iter().enumerate() { (draw(cloud, i, radius, (&x, &y))) }
        };
        let below = if self.map { 10.0 } else { axis::BELOW };
        frame(&self.caption, area.right + 10.0, area.bottom + below, &body)
    }

    fn legend(&self, left: f64, right: f64) -> (Markup, f64) {
        let named = self
            .clouds
            .iter()
            .enumerate()
            .filter(|(_, cloud)| !cloud.name.is_empty());
        let entries: Vec<Entry<'_>> = named
            .map(|(i, cloud)| (i, Sample::Marker, cloud.name.as_str()))
            .collect();
        legend(&entries, left, right, 4.0)
    }

    fn scales(&self, area: &Area) -> Option<(Scale, Scale)> {
        let points = || self.clouds.iter().flat_map(|cloud| &cloud.points);
        let kept = || points().filter(|(x, y)| takes(self.x.steps, *x) && takes(self.y.steps, *y));
        let x = self
            .x
            .scale(kept().map(|(x, _)| *x), (area.left, area.right))?;
        let y = self
            .y
            .scale(kept().map(|(_, y)| *y), (area.bottom, area.top))?;
        Some((x, y))
    }
}

/// Gives both axes the same units per pixel; the height in pixels, from half of [`SIDE`] to all of it.
fn fit(x: &mut Scale, y: &mut Scale, top: f64) -> f64 {
    let (wide, high) = (x.high - x.low, y.high - y.low);
    let height = (SIDE * high / wide).clamp(SIDE / 2.0, SIDE);
    let unit = (wide / SIDE).max(high / height);
    widen(x, unit * SIDE);
    widen(y, unit * height);
    (y.from, y.to) = (top + height, top);
    height
}

/// A scale with the given span about its middle.
fn widen(scale: &mut Scale, span: f64) {
    let middle = (scale.low + scale.high) / 2.0;
    (scale.low, scale.high) = (middle - span / 2.0, middle + span / 2.0);
}

/// The size of markers: smaller for many points, but so that shapes can be told apart where colours repeat.
fn radius(count: usize, classes: usize) -> f64 {
    let least = if classes > SERIES.len() { 2.2 } else { 1.2 };
    (60.0 / (count.max(1) as f64).sqrt()).clamp(least, 4.5)
}

fn draw(cloud: &Cloud, index: usize, radius: f64, (x, y): (&Scale, &Scale)) -> Markup {
    let paint = series(index);
    let place = |point: &(f64, f64)| {
        (x.takes(point.0) && y.takes(point.1))
            .then(|| outline(index, x.at(point.0), y.at(point.1), radius))
    };
    html! {
        g class=(paint.fill()) fill=(paint.light) fill-opacity="0.75" {
            @if cloud.titles.is_empty() {
                path d=(cloud.points.iter().filter_map(place).collect::<String>()) {}
            } @else {
                @for (i, point) in cloud.points.iter().enumerate() {
                    @if let Some(d) = place(point) {
                        path d=(d) {
                            @if let Some(text) = cloud.titles.get(i) { title { (clean(text)) } }
                        }
                    }
                }
            }
        }
    }
}
