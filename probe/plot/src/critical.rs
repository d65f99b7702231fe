//! Critical-difference diagrams.

use maud::{Markup, html};

use crate::color::{INK, MUTED};
use crate::figure::{Caption, frame, no_data};
use crate::number::short;
use crate::scale::{Scale, Steps};
use crate::shape::{line, marker};
use crate::text::{Anchor, Label, clean, width};

/// Average ranks on an axis, with bars over those that cannot be told apart (Demšar, JMLR 7, 2006).
#[derive(Clone, Debug, Default)]
pub struct CriticalDifference {
    /// Title and description.
    pub caption: Caption,
    /// Names with their average ranks, in any order; 1 is best.
    pub ranks: Vec<(String, f64)>,
    /// Sets that cannot be told apart, as indices into `ranks`.
    pub cliques: Vec<Vec<usize>>,
    /// The critical difference of Nemenyi's test, drawn as a ruler; `None` for tests without one.
    pub difference: Option<f64>,
}

const LABELS: f64 = 210.0;
const AXIS: f64 = 300.0;
const ROW: f64 = 20.0;
const BAR: f64 = 9.0;

impl CriticalDifference {
    /// The diagram.
    pub fn svg(&self) -> Markup {
        let mut order: Vec<usize> = (0..self.ranks.len())
            .filter(|i| self.ranks[*i].1.abs() < 1e6)
            .collect();
        if order.is_empty() {
            return no_data(&self.caption);
        }
        order.sort_by(|a, b| self.ranks[*a].1.total_cmp(&self.ranks[*b].1));
        let best = self.ranks[order[0]].1.floor();
        let worst = self.ranks[order[order.len() - 1]].1.ceil().max(best + 1.0);
        let scale = Scale {
            low: best,
            high: worst,
            steps: Steps::Linear,
            from: LABELS,
            to: LABELS + AXIS,
        };
        let ruler = self
            .difference
            .filter(|difference| *difference > 0.0 && *difference < 1e6);
        let top = if ruler.is_some() { 66.0 } else { 30.0 };
        let bars = self.bars();
        let first = top + 18.0 + BAR * bars.len() as f64;
        let left = order.len().div_ceil(2);
        let body = html! {
            @if let Some(difference) = ruler { (self.ruler(difference, &scale)) }
            (axis(&scale, top))
            @for (i, place) in order[..left].iter().enumerate() {
                (self.entry(*place, &scale, (top, first + ROW * i as f64), true))
            }
            @for (i, place) in order[left..].iter().rev().enumerate() {
                (self.entry(*place, &scale, (top, first + ROW * i as f64), false))
            }
            @for (i, (low, high)) in bars.iter().enumerate() {
                @let y = top + 10.0 + BAR * i as f64;
                (line(INK, 4.0, (scale.at(*low) - 3.0, y), (scale.at(*high) + 3.0, y)))
            }
        };
        frame(
            &self.caption,
            2.0 * LABELS + AXIS,
            first + ROW * left as f64,
            &body,
        )
    }

    /// The bars as ranges of ranks, from the best; those within another are left out.
    fn bars(&self) -> Vec<(f64, f64)> {
        let rank = |i: &usize| {
            self.ranks
                .get(*i)
                .map(|(_, rank)| *rank)
                .filter(|rank| rank.abs() < 1e6)
        };
        let range = |clique: &Vec<usize>| {
            let ranks: Vec<f64> = clique.iter().filter_map(rank).collect();
            let low = ranks.iter().copied().reduce(f64::min)?;
            let high = ranks.iter().copied().reduce(f64::max)?;
            (ranks.len() > 1).then_some((low, high))
        };
        let mut all: Vec<(f64, f64)> = self.cliques.iter().filter_map(range).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
        all.dedup();
        let within = |inner: &(f64, f64), outer: &(f64, f64)| {
            inner != outer && outer.0 <= inner.0 && inner.1 <= outer.1
        };
        all.iter()
            .filter(|bar| !all.iter().any(|other| within(bar, other)))
            .copied()
            .collect()
    }

    fn ruler(&self, difference: f64, scale: &Scale) -> Markup {
        let pixels = difference * AXIS / (scale.high - scale.low);
        // A difference beyond the axis leaves the figure at the right.
        let end = LABELS + pixels.min(AXIS + LABELS - 8.0);
        let y = 26.0;
        let text = format!("critical difference {}", short(difference));
        html! {
            (line(MUTED, 1.5, (LABELS, y), (end, y)))
            (line(MUTED, 1.5, (LABELS, y - 5.0), (LABELS, y + 5.0)))
            (line(MUTED, 1.5, (end, y - 5.0), (end, y + 5.0)))
            (Label::new(&text, LABELS, y - 14.0).anchor(Anchor::Start).paint(MUTED).draw())
        }
    }

    /// The name and rank of an entry at the left or right, with a line from its place on the axis.
    fn entry(&self, index: usize, scale: &Scale, (top, y): (f64, f64), left: bool) -> Markup {
        let (name, rank) = &self.ranks[index];
        let number = format!("{rank:.2}");
        let x = scale.at(*rank);
        let room = width(&number) + 8.0;
        let (end, anchor, text) = if left {
            (LABELS - 8.0, Anchor::End, -4.0)
        } else {
            (LABELS + AXIS + 8.0, Anchor::Start, 4.0)
        };
        let beside = |distance: f64| {
            if left {
                end + text - distance
            } else {
                end + text + distance
            }
        };
        html! {
            (line(MUTED, 1.2, (x, top), (x, y)))
            (line(MUTED, 1.2, (x, y), (end, y)))
            (marker(0, x, top, 3.5))
            (Label::new(&number, beside(0.0), y).anchor(anchor).paint(MUTED).draw())
            (Label::new(&clean(name), beside(room), y).anchor(anchor).most(LABELS - room - 16.0).draw())
        }
    }
}

/// The axis at the top with a number at each whole rank, or at some.
fn axis(scale: &Scale, top: f64) -> Markup {
    let ticks = scale.ticks(12);
    html! {
        (line(INK, 1.5, (scale.from, top), (scale.to, top)))
        @for tick in ticks.iter().filter(|tick| tick.fract() == 0.0) {
            @let x = scale.at(*tick);
            (line(INK, 1.5, (x, top - 6.0), (x, top)))
            (Label::new(&short(*tick), x, top - 15.0).draw())
        }
    }
}
