//! Lines, markers and hatching: what tells series apart without colour.

use maud::{Markup, html};

use crate::color::{Paint, SERIES, series};
use crate::number::at;

/// A straight line.
pub(crate) fn line(paint: Paint, width: f64, from: (f64, f64), to: (f64, f64)) -> Markup {
    html! {
        line class=(paint.stroke()) stroke=(paint.light) stroke-width=(width)
            x1=(at(from.0)) y1=(at(from.1)) x2=(at(to.0)) y2=(at(to.1)) {}
    }
}

/// The dashes of a series: none for the first seven, other ones for those that repeat a colour.
pub(crate) fn dashes(index: usize) -> Option<&'static str> {
    [None, Some("7 3"), Some("2 3"), Some("9 3 2 3")][index / SERIES.len() % 4]
}

/// A path in the colour and with the dashes of a series.
pub(crate) fn curve(index: usize, path: &str, dash: Option<&str>) -> Markup {
    let paint = series(index);
    html! {
        path class=(paint.stroke()) stroke=(paint.light) stroke-width="2" fill="none" stroke-linejoin="round"
            stroke-dasharray=[dash] d=(path) {}
    }
}

/// Shapes of markers, which repeat after six: their number and that of the colours have no common divisor.
const MARKERS: usize = 6;

/// The outline of a marker about a point, as commands of a path. Equal for `index` and `index + 6`.
pub(crate) fn outline(index: usize, x: f64, y: f64, r: f64) -> String {
    let start = |dx: f64, dy: f64| format!("M{} {}", at(x + dx), at(y + dy));
    let (d, r2) = (at(r), at(2.0 * r));
    match index % MARKERS {
        // A circle of two arcs.
        0 => format!(
            "{}a{d} {d} 0 1 0 {r2} 0a{d} {d} 0 1 0 -{r2} 0z",
            start(-r, 0.0)
        ),
        1 => format!("{}h{r2}v{r2}h-{r2}z", start(-r, -r)),
        2 => polygon(
            x,
            y,
            &[(0.0, -1.2 * r), (1.15 * r, 0.9 * r), (-1.15 * r, 0.9 * r)],
        ),
        3 => polygon(
            x,
            y,
            &[
                (0.0, -1.35 * r),
                (1.35 * r, 0.0),
                (0.0, 1.35 * r),
                (-1.35 * r, 0.0),
            ],
        ),
        4 => polygon(
            x,
            y,
            &[(0.0, 1.2 * r), (1.15 * r, -0.9 * r), (-1.15 * r, -0.9 * r)],
        ),
        _ => cross(x, y, r),
    }
}

fn polygon(x: f64, y: f64, corners: &[(f64, f64)]) -> String {
    let points: Vec<String> = corners
        .iter()
        .map(|(dx, dy)| format!("{} {}", at(x + dx), at(y + dy)))
        .collect();
    format!("M{}z", points.join("L"))
}

/// A plus with thick arms.
fn cross(x: f64, y: f64, r: f64) -> String {
    let (a, b) = (1.3 * r, 0.45 * r);
    let corners = [
        (-b, -a),
        (b, -a),
        (b, -b),
        (a, -b),
        (a, b),
        (b, b),
        (b, a),
        (-b, a),
        (-b, b),
        (-a, b),
        (-a, -b),
        (-b, -b),
    ];
    polygon(x, y, &corners)
}

/// A marker of a series.
pub(crate) fn marker(index: usize, x: f64, y: f64, r: f64) -> Markup {
    let paint = series(index);
    html! { path class=(paint.fill()) fill=(paint.light) d=(outline(index, x, y, r)) {} }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn forty_two_series_differ_in_colour_or_marker() {
        let looks = |i: usize| (series(i).light, outline(i, 0.0, 0.0, 3.0));
        let all: HashSet<_> = (0..42).map(looks).collect();
        assert_eq!(all.len(), 42);
        assert_ne!(dashes(0), dashes(7));
    }
}
