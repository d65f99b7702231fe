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

/// The dashes of a series without markers, where each series has other ones; they repeat after six.
pub(crate) fn unmarked_dashes(index: usize) -> Option<&'static str> {
    [
        None,
        Some("8 3"),
        Some("2 3"),
        Some("10 3 2 3"),
        Some("14 4"),
        Some("10 3 2 3 2 3"),
    ][index % MARKERS]
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
    let corners: &[(f64, f64)] = match index % MARKERS {
        0 => return circle(x, y, r),
        1 => &[(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)],
        2 => &[(0.0, -1.2), (1.15, 0.9), (-1.15, 0.9)],
        3 => &[(0.0, -1.35), (1.35, 0.0), (0.0, 1.35), (-1.35, 0.0)],
        4 => &[(0.0, 1.2), (1.15, -0.9), (-1.15, -0.9)],
        _ => &PLUS,
    };
    polygon(x, y, r, corners)
}

/// A plus with thick arms.
const PLUS: [(f64, f64); 12] = [
    (-0.45, -1.3),
    (0.45, -1.3),
    (0.45, -0.45),
    (1.3, -0.45),
    (1.3, 0.45),
    (0.45, 0.45),
    (0.45, 1.3),
    (-0.45, 1.3),
    (-0.45, 0.45),
    (-1.3, 0.45),
    (-1.3, -0.45),
    (-0.45, -0.45),
];

/// A circle of two arcs.
fn circle(x: f64, y: f64, r: f64) -> String {
    let (start, r, across) = (at(x - r), at(r), at(2.0 * r));
    let y = at(y);
    format!("M{start} {y}a{r} {r} 0 1 0 {across} 0a{r} {r} 0 1 0-{across} 0z")
}

/// A polygon whose corners are given in units of `r`; after the first, each as the way from the one before.
fn polygon(x: f64, y: f64, r: f64, corners: &[(f64, f64)]) -> String {
    let mut path = format!(
        "M{} {}l",
        at(x + corners[0].0 * r),
        at(y + corners[0].1 * r)
    );
    for pair in corners.windows(2) {
        for way in [pair[1].0 - pair[0].0, pair[1].1 - pair[0].1] {
            let way = at(way * r);
            if !path.ends_with('l') && !way.starts_with('-') {
                path.push(' ');
            }
            path += &way;
        }
    }
    path.push('z');
    path
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
