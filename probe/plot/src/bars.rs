//! Bar charts.

use maud::{Markup, html};

use crate::axis::{self, Area, Axis};
use crate::color::{INK, MUTED, PAPER};
use crate::figure::{Caption, frame, no_data};
use crate::legend::{Sample, block, legend, tick};
use crate::number::{at, short};
use crate::scale::{Scale, Steps};
use crate::shape::line;
use crate::text::{Anchor, Label, clean, width};

/// Groups of bars, a bar for each series.
#[derive(Clone, Debug, Default)]
pub struct Bars {
    /// Title and description.
    pub caption: Caption,
    /// The axis of values, always linear. Without a range it begins at 0.
    pub axis: Axis,
    /// Names of the series, in the order of `BarGroup::bars`. A single one has no legend.
    pub series: Vec<String>,
    /// The groups, in order.
    pub groups: Vec<BarGroup>,
    /// Name of the marks at [`Bar::reference`]: `published`.
    pub reference: String,
    /// Bars to the right with names to their left, for long names and many groups.
    pub horizontal: bool,
}

/// Bars that stand together.
#[derive(Clone, Debug, Default)]
pub struct BarGroup {
    /// Its name.
    pub name: String,
    /// A bar for each series.
    pub bars: Vec<Bar>,
}

/// A bar. Numbers that are not finite are missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bar {
    /// The value; a missing one is shown as missing.
    pub value: Option<f64>,
    /// `(low, high)`, drawn as whiskers.
    pub interval: Option<(f64, f64)>,
    /// A value to compare with, drawn as a mark across the bar.
    pub reference: Option<f64>,
}

fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.abs() < 1e100)
}

impl Bar {
    fn value(&self) -> Option<f64> {
        finite(self.value)
    }

    fn interval(&self) -> Option<(f64, f64)> {
        let (low, high) = self.interval?;
        Some((finite(Some(low))?, finite(Some(high))?))
    }

    fn numbers(&self) -> impl Iterator<Item = f64> {
        let ends = self.interval().map(|(low, high)| [low, high]);
        let ends = ends.into_iter().flatten();
        self.value()
            .into_iter()
            .chain(ends)
            .chain(finite(self.reference))
    }
}

/// The direction in which bars grow, and the conversion of (along the names, along the values) to x and y.
#[derive(Clone, Copy)]
struct Plane {
    horizontal: bool,
}

impl Plane {
    fn xy(self, along: f64, value: f64) -> (f64, f64) {
        if self.horizontal {
            (value, along)
        } else {
            (along, value)
        }
    }

    /// Left, top, width and height of a bar.
    fn rect(self, along: f64, thick: f64, from: f64, to: f64) -> (f64, f64, f64, f64) {
        let (start, long) = (from.min(to), (from - to).abs());
        if self.horizontal {
            (start, along, long, thick)
        } else {
            (along, start, thick, long)
        }
    }
}

impl Bars {
    /// The chart.
    pub fn svg(&self) -> Markup {
        if self.numbers().next().is_none() {
            return no_data(&self.caption);
        }
        if self.horizontal {
            self.to_the_right()
        } else {
            self.upright()
        }
    }

    fn slots(&self) -> usize {
        let bars = self.groups.iter().map(|group| group.bars.len());
        bars.max().unwrap_or(1).max(1)
    }

    /// The map of values: from 0, unless the axis has a range.
    fn scale(&self, pixels: (f64, f64)) -> Option<Scale> {
        let axis = Axis {
            steps: Steps::Linear,
            ..self.axis.clone()
        };
        let mut scale = axis.scale(self.numbers(), pixels)?;
        if self.axis.range.is_none() {
            scale.low = self.numbers().fold(0.0, f64::min) * 1.05;
            scale.high = self.numbers().fold(0.0, f64::max) * 1.05;
            if scale.low == scale.high {
                scale.high = 1.0;
            }
        }
        Some(scale)
    }

    fn numbers(&self) -> impl Iterator<Item = f64> {
        let bars = self.groups.iter().flat_map(|group| &group.bars);
        bars.flat_map(Bar::numbers)
    }

    fn legend(&self, left: f64, right: f64) -> (Markup, f64) {
        let mut entries = Vec::new();
        if self.series.len() > 1 {
            entries.extend(
                self.series
                    .iter()
                    .enumerate()
                    .map(|(i, name)| (i, Sample::Bar, name.as_str())),
            );
        }
        let marked = self
            .groups
            .iter()
            .flat_map(|group| &group.bars)
            .any(|bar| finite(bar.reference).is_some());
        if marked && !self.reference.is_empty() {
            entries.push((0, Sample::Tick, &self.reference));
        }
        legend(&entries, left, right, 6.0)
    }

    fn upright(&self) -> Markup {
        let slots = self.slots() as f64;
        let left = 64.0;
        // Between 8 and 34 pixels a bar, as fits a figure of 720 pixels.
        let pitch = ((640.0 / self.groups.len() as f64) / (slots + 0.8)).clamp(8.0, 34.0);
        let step = pitch * (slots + 0.8);
        let right = left + step * self.groups.len() as f64;
        let full = (right + 16.0).max(300.0);
        let (legend, high) = self.legend(left, full);
        let longest = self
            .groups
            .iter()
            .map(|group| width(&clean(&group.name)))
            .fold(0.0, f64::max);
        let turned = longest > step - 4.0;
        let longest = longest.min(150.0);
        let below = if turned { 18.0 + 0.72 * longest } else { 30.0 };
        let area = Area {
            left,
            right,
            top: 14.0 + high,
            bottom: 14.0 + high + 250.0,
        };
        let Some(scale) = self.scale((area.bottom, area.top)) else {
            return no_data(&self.caption);
        };
        let body = html! {
            (legend)
            (axis::left(&self.axis, &scale, &area))
            @for (g, group) in self.groups.iter().enumerate() {
                @let start = area.left + step * g as f64;
                (self.group(group, start + 0.4 * pitch, pitch, &scale))
                @if turned {
                    (Label::new(&group.name, start + step / 2.0 + 4.0, area.bottom + 12.0)
                        .anchor(Anchor::End).most(longest).turn(-45.0).draw())
                } @else {
                    (Label::new(&group.name, start + step / 2.0, area.bottom + 15.0).draw())
                }
            }
            (axis::edges(&area))
            (self.base(&scale, &area))
        };
        frame(&self.caption, full, area.bottom + below, &body)
    }

    fn to_the_right(&self) -> Markup {
        let slots = self.slots() as f64;
        let longest = self
            .groups
            .iter()
            .map(|group| width(&clean(&group.name)))
            .fold(0.0, f64::max)
            .min(220.0);
        let left = longest + 20.0;
        let right = left + 400.0;
        let pitch = if slots < 2.0 { 18.0 } else { 13.0 };
        let step = pitch * slots + 8.0;
        let (legend, high) = self.legend(10.0, right);
        let top = 8.0 + high;
        let area = Area {
            left,
            right,
            top,
            bottom: top + step * self.groups.len() as f64,
        };
        let Some(scale) = self.scale((area.left, area.right)) else {
            return no_data(&self.caption);
        };
        let body = html! {
            (legend)
            (axis::below(&self.axis, &scale, &area))
            @for (g, group) in self.groups.iter().enumerate() {
                @let start = area.top + step * g as f64;
                (self.group(group, start + 4.0, pitch, &scale))
                (Label::new(&group.name, area.left - 8.0, start + step / 2.0).anchor(Anchor::End).most(longest).draw())
            }
            (axis::edges(&area))
            (self.base(&scale, &area))
        };
        frame(
            &self.caption,
            right + 24.0,
            area.bottom + axis::BELOW,
            &body,
        )
    }

    /// The line that bars start from, if there are values on both sides.
    fn base(&self, scale: &Scale, area: &Area) -> Markup {
        let plane = Plane {
            horizontal: self.horizontal,
        };
        let (start, end) = if self.horizontal {
            (area.top, area.bottom)
        } else {
            (area.left, area.right)
        };
        html! {
            @if scale.low < 0.0 && scale.high > 0.0 {
                (line(INK, 1.0, plane.xy(start, scale.at(0.0)), plane.xy(end, scale.at(0.0))))
            }
        }
    }

    /// The bars of a group, which begin at `start` along the names.
    fn group(&self, group: &BarGroup, start: f64, pitch: f64, scale: &Scale) -> Markup {
        html! {
            @for (slot, bar) in group.bars.iter().enumerate() {
                g {
                    title { (self.tooltip(group, slot, bar)) }
                    (self.bar(bar, slot, start + pitch * slot as f64, pitch, scale))
                }
            }
        }
    }

    fn tooltip(&self, group: &BarGroup, slot: usize, bar: &Bar) -> String {
        let mut text = clean(&group.name);
        if let Some(series) = self.series.get(slot) {
            text += &format!(", {}", clean(series));
        }
        text += &match bar.value() {
            Some(value) => format!(": {}", short(value)),
            None => ": missing".to_string(),
        };
        if let Some((low, high)) = bar.interval() {
            text += &format!(" [{}, {}]", short(low), short(high));
        }
        if let Some(reference) = finite(bar.reference) {
            text += &format!(", {} {}", clean(&self.reference), short(reference));
        }
        text
    }

    fn bar(&self, bar: &Bar, slot: usize, along: f64, pitch: f64, scale: &Scale) -> Markup {
        let plane = Plane {
            horizontal: self.horizontal,
        };
        let thick = pitch - if pitch > 10.0 { 2.0 } else { 1.0 };
        let middle = along + thick / 2.0;
        let zero = scale.at(0.0);
        html! {
            @if let Some(value) = bar.value() {
                @let (x, y, wide, high) = plane.rect(along, thick, zero, scale.at(value));
                (block(slot, x, y, wide, high))
            } @else {
                (missing(plane.xy(middle, zero + if self.horizontal { 8.0 } else { -8.0 })))
            }
            @if let Some((low, high)) = bar.interval() {
                @let (from, to) = (plane.xy(middle, scale.at(low)), plane.xy(middle, scale.at(high)));
                (line(PAPER, 4.0, from, to))
                (line(INK, 1.5, from, to))
            }
            @if let Some(reference) = finite(bar.reference) {
                @let value = scale.at(reference);
                @let (from, to) = (plane.xy(along - 0.5, value), plane.xy(along + thick + 0.5, value));
                (tick(from.0, from.1, to.0, to.1))
            }
        }
    }
}

/// A small cross in place of a missing value.
fn missing((x, y): (f64, f64)) -> Markup {
    let path = format!("M{} {}l6 6m0 -6l-6 6", at(x - 3.0), at(y - 3.0));
    html! { path class=(MUTED.stroke()) stroke=(MUTED.light) stroke-width="1.5" fill="none" d=(path) {} }
}
