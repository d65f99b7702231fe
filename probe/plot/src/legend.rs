//! Legends above a chart.

use maud::{Markup, html};

use crate::color::{PAPER, Paint, series};
use crate::number::at;
use crate::shape::{curve, dashes, marker, unmarked_dashes};
use crate::text::{Anchor, Label, shorten_all, width};

/// What stands before a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sample {
    /// A filled square, hatched as bars are.
    Bar,
    /// A line, with its dashes, and a marker.
    Line,
    /// A line without a marker.
    Plain,
    /// A marker.
    Marker,
    /// A tick across a bar.
    Tick,
}

/// An entry: the index of the series, what it looks like, and its name.
pub(crate) type Entry<'a> = (usize, Sample, &'a str);

const ROW: f64 = 20.0;
const SAMPLE: f64 = 30.0;
const LONGEST: f64 = 190.0;

/// A legend of several rows, and its height; no height for no entry.
pub(crate) fn legend(entries: &[Entry<'_>], left: f64, right: f64, top: f64) -> (Markup, f64) {
    let mut at = (left, top + ROW / 2.0);
    let mut places = Vec::new();
    let names: Vec<&str> = entries.iter().map(|(_, _, name)| *name).collect();
    let short = shorten_all(&names, LONGEST);
    for (entry, short) in entries.iter().zip(&short) {
        let wide = SAMPLE + width(short) + 16.0;
        if at.0 > left && at.0 + wide > right {
            at = (left, at.1 + ROW);
        }
        places.push((entry, short, at));
        at.0 += wide;
    }
    let height = places
        .last()
        .map_or(0.0, |(_, _, last)| last.1 + ROW / 2.0 - top + 6.0);
    let markup = html! {
        @for ((index, sample, name), short, (x, y)) in places {
            (draw(*index, *sample, x, y))
            (Label::new(name, x + SAMPLE, y).anchor(Anchor::Start).short(short).draw())
        }
    };
    (markup, height)
}

fn draw(index: usize, sample: Sample, x: f64, y: f64) -> Markup {
    let path = format!("M{} {}h24", at(x), at(y));
    html! {
        @match sample {
            Sample::Bar => (block(index, x + 8.0, y - 6.0, 14.0, 12.0)),
            Sample::Line => { (curve(index, &path, dashes(index))) (marker(index, x + 12.0, y, 4.0)) },
            Sample::Plain => (curve(index, &path, unmarked_dashes(index))),
            Sample::Marker => (marker(index, x + 14.0, y, 4.5)),
            Sample::Tick => (tick(x + 4.0, y, x + 22.0, y)),
        }
    }
}

/// A bar of a series. Series that repeat a colour are striped.
pub(crate) fn block(index: usize, x: f64, y: f64, wide: f64, high: f64) -> Markup {
    let paint = series(index);
    html! {
        rect class=(paint.fill()) fill=(paint.light) x=(at(x)) y=(at(y)) width=(at(wide)) height=(at(high)) {}
        @if let Some(gap) = stripes(index) {
            path class=(PAPER.stroke()) stroke=(PAPER.light) stroke-width="1.5" fill="none"
                d=(striped(gap, x, y, wide, high)) {}
        }
    }
}

/// The distance of stripes of a series in pixels; `None` for the first seven.
fn stripes(index: usize) -> Option<f64> {
    [None, Some(5.0), Some(9.0), Some(3.5)][index / crate::color::SERIES.len() % 4]
}

/// Stripes across the longer side of a rectangle.
fn striped(gap: f64, x: f64, y: f64, wide: f64, high: f64) -> String {
    let across = high >= wide;
    let long = high.max(wide);
    let count = (long / gap) as usize;
    let stripe = |i: usize| {
        let from = (i as f64 + 0.5) * gap;
        if across {
            format!("M{} {}h{}", at(x), at(y + from), at(wide))
        } else {
            format!("M{} {}v{}", at(x + from), at(y), at(high))
        }
    };
    (0..count).map(stripe).collect()
}

/// A mark of a reference value: dark with a light edge, so that it shows on bars and on the background.
pub(crate) fn tick(x1: f64, y1: f64, x2: f64, y2: f64) -> Markup {
    let half = |paint: Paint, width: f64| crate::shape::line(paint, width, (x1, y1), (x2, y2));
    html! { (half(PAPER, 5.0)) (half(crate::color::INK, 2.5)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_break_into_rows() {
        let names: Vec<String> = (0..13)
            .map(|i| format!("a model with a name {i}"))
            .collect();
        let entries: Vec<Entry<'_>> = names
            .iter()
            .enumerate()
            .map(|(i, name)| (i, Sample::Line, name.as_str()))
            .collect();
        let (markup, height) = legend(&entries, 50.0, 700.0, 0.0);
        assert!(height > 3.0 * ROW, "{height}");
        let text = markup.into_string();
        assert!(names.iter().all(|name| text.contains(name.as_str())));
        assert_eq!(legend(&[], 0.0, 100.0, 0.0).1, 0.0);
    }
}
