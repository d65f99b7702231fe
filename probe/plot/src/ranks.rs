//! Ranks over tasks.

use maud::{Markup, html};

use crate::axis::Area;
use crate::color::{GRID, INK, MUTED, PAPER};
use crate::figure::{Caption, frame, no_data};
use crate::number::{at, short};
use crate::scale::{Scale, Steps};
use crate::shape::{curve, dashes, line, marker};
use crate::text::{Anchor, Label, clean, width};

/// A line for each model over datasets, with rank 1 at the top and names at both ends.
#[derive(Clone, Debug, Default)]
pub struct Ranks {
    /// Title and description.
    pub caption: Caption,
    /// The datasets, from left to right.
    pub datasets: Vec<String>,
    /// The models.
    pub models: Vec<RankLine>,
}

/// The ranks of a model.
#[derive(Clone, Debug, Default)]
pub struct RankLine {
    /// The model's name.
    pub name: String,
    /// Its rank on each dataset; halves for ties, `None` where it was not measured.
    pub ranks: Vec<Option<f64>>,
}

const ROW: f64 = 26.0;

impl RankLine {
    /// The places of the ranks that are known: (dataset, rank).
    fn places(&self) -> impl DoubleEndedIterator<Item = (usize, f64)> {
        let known = |(dataset, rank): (usize, &Option<f64>)| {
            Some((dataset, rank.filter(|rank| rank.abs() < 1e6)?))
        };
        self.ranks.iter().enumerate().filter_map(known)
    }
}

impl Ranks {
    /// The plot.
    pub fn svg(&self) -> Markup {
        let ranks = || {
            self.models
                .iter()
                .flat_map(|model| model.places().map(|(_, rank)| rank))
        };
        let Some(worst) = ranks().reduce(f64::max) else {
            return no_data(&self.caption);
        };
        let best = ranks().fold(1.0, f64::min);
        let worst = worst.max(best + 1.0);
        let longest = self
            .models
            .iter()
            .map(|model| width(&clean(&model.name)))
            .fold(0.0, f64::max)
            .min(150.0);
        let columns = self.datasets.len();
        let step = (520.0 / columns.max(2) as f64).clamp(52.0, 110.0);
        let left = longest + 50.0;
        let top = 16.0;
        let area = Area {
            left,
            right: left + step * (columns.max(1) - 1) as f64,
            top,
            bottom: top + ROW * (worst - best).max(self.models.len() as f64 - 1.0),
        };
        let scale = Scale {
            low: best,
            high: worst,
            steps: Steps::Linear,
            from: area.top,
            to: area.bottom,
        };
        let names = self
            .datasets
            .iter()
            .map(|name| width(&clean(name)))
            .fold(0.0, f64::max);
        let turned = names > step - 6.0;
        let below = if turned {
            30.0 + 0.72 * names.min(130.0)
        } else {
            40.0
        };
        let body = html! {
            (self.grid(&scale, &area, step, turned))
            @for (i, model) in self.models.iter().enumerate() { (strand(model, i, &scale, &area, step)) }
            (self.names(&scale, (area.left - 34.0, Anchor::End, longest), true))
            (self.names(&scale, (area.right + 22.0, Anchor::Start, longest), false))
        };
        frame(
            &self.caption,
            area.right + longest + 44.0,
            area.bottom + below,
            &body,
        )
    }

    fn grid(&self, scale: &Scale, area: &Area, step: f64, turned: bool) -> Markup {
        html! {
            @for tick in scale.ticks(14).iter().filter(|tick| tick.fract() == 0.0) {
                (line(GRID, 1.0, (area.left - 8.0, scale.at(*tick)), (area.right + 8.0, scale.at(*tick))))
                (Label::new(&short(*tick), area.left - 18.0, scale.at(*tick)).paint(MUTED).draw())
            }
            @for (i, name) in self.datasets.iter().enumerate() {
                @let x = area.left + step * i as f64;
                (line(GRID, 1.0, (x, area.top), (x, area.bottom)))
                @if turned {
                    (Label::new(name, x + 4.0, area.bottom + 20.0).anchor(Anchor::End).most(130.0).turn(-45.0).draw())
                } @else {
                    (Label::new(name, x, area.bottom + 24.0).draw())
                }
            }
        }
    }

    /// The names at one end, at the height of the rank there, moved apart where they would overlap. To the right,
    /// models without a rank on the last dataset follow in grey at the height of their last one, so that each is named.
    fn names(&self, scale: &Scale, (x, anchor, most): (f64, Anchor, f64), first: bool) -> Markup {
        let column = if first {
            0
        } else {
            self.datasets.len().saturating_sub(1)
        };
        let place = |model: &RankLine| {
            let (dataset, rank) = if first {
                model.places().next()?
            } else {
                model.places().next_back()?
            };
            (!first || dataset == column).then_some((scale.at(rank), dataset == column))
        };
        let mut places: Vec<(f64, bool, usize)> = self
            .models
            .iter()
            .enumerate()
            .filter_map(|(i, model)| place(model).map(|(y, here)| (y, here, i)))
            .collect();
        places.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
        let heights = spread(places.iter().map(|(y, _, _)| *y).collect(), 15.0, scale.to);
        html! {
            @for ((_, here, i), y) in places.iter().zip(heights) {
                @if !first { (marker(*i, x, y, 3.5)) }
                (Label::new(&self.models[*i].name, if first { x } else { x + 10.0 }, y)
                    .anchor(anchor).most(most).paint(if *here { INK } else { MUTED }).draw())
            }
        }
    }
}

/// Sorted heights with at least `gap` between them, the last at most `bottom` if there is room.
fn spread(mut heights: Vec<f64>, gap: f64, bottom: f64) -> Vec<f64> {
    for i in 1..heights.len() {
        heights[i] = heights[i].max(heights[i - 1] + gap);
    }
    let mut limit = bottom;
    for height in heights.iter_mut().rev() {
        *height = height.min(limit);
        limit = *height - gap;
    }
    heights
}

/// The line of a model; a dataset without a rank interrupts it.
fn strand(model: &RankLine, index: usize, scale: &Scale, area: &Area, step: f64) -> Markup {
    let x = |dataset: usize| area.left + step * dataset as f64;
    let mut path = String::new();
    let mut before = None;
    for (dataset, rank) in model.places() {
        let joined = before.is_some_and(|before: usize| before + 1 == dataset);
        let command = if joined { 'L' } else { 'M' };
        path += &format!("{command}{} {}", at(x(dataset)), at(scale.at(rank)));
        before = Some(dataset);
    }
    html! {
        (curve(index, &path, dashes(index)))
        @for (dataset, rank) in model.places() {
            g {
                title { (clean(&model.name)) ": " (short(rank)) }
                circle class=(PAPER.fill()) fill=(PAPER.light) r="6" cx=(at(x(dataset))) cy=(at(scale.at(rank))) {}
                (marker(index, x(dataset), scale.at(rank), 4.5))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_move_apart_and_keep_their_order() {
        let heights = spread(vec![0.0, 0.0, 5.0, 100.0, 100.0], 15.0, 100.0);
        assert!(
            heights.windows(2).all(|pair| pair[1] - pair[0] >= 15.0),
            "{heights:?}"
        );
        assert_eq!(heights[4], 100.0);
    }
}
