//! The `<svg>` element around a chart.

use maud::{Markup, html};

use crate::color::{GRID, MUTED, PAPER};
use crate::number::at;
use crate::text::{Label, SIZE, clean};

/// What a figure shows, for screen readers, tooltips and captions.
#[derive(Clone, Debug, Default)]
pub struct Caption {
    /// Prefix of all ids in the figure, unique in the page; characters other than letters, digits and `-` become
    /// `-`.
    pub id: String,
    /// One line.
    pub title: String,
    /// What the figure says, for those who do not see it: the kind of chart, its axes, its main numbers.
    pub description: String,
}

impl Caption {
    /// A caption.
    pub fn new(
        id: impl Into<String>,
        title: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        Caption {
            id: id.into(),
            title: title.into(),
            description: description.into(),
        }
    }

    /// An id in the figure.
    pub(crate) fn id(&self, name: &str) -> String {
        let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let prefix: String = self.id.chars().map(safe).collect();
        format!("plot-{prefix}-{name}")
    }
}

/// A chart with its caption below, as an element that scrolls sideways where the page is narrower than the chart.
pub fn figure(caption: &Caption, svg: &Markup) -> Markup {
    html! {
        figure class="plot-figure" {
            div class="plot-box" tabindex="0" role="group" aria-label=(clean(&caption.title)) { (svg) }
            figcaption { b { (clean(&caption.title)) } " " (clean(&caption.description)) }
        }
    }
}

/// Figures wider than this keep their size on phones and scroll.
const WIDE: f64 = 440.0;

/// The `<svg>` element, in pixels.
pub(crate) fn frame(caption: &Caption, width: f64, height: f64, body: &Markup) -> Markup {
    let (title, desc) = (caption.id("title"), caption.id("desc"));
    let class = if width > WIDE { "plot wide" } else { "plot" };
    html! {
        svg class=(class) xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby={ (title) " " (desc) }
            width=(at(width)) height=(at(height)) viewBox={ "0 0 " (at(width)) " " (at(height)) }
            font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
            font-size=(SIZE) {
            title id=(title) { (clean(&caption.title)) }
            desc id=(desc) { (clean(&caption.description)) }
            rect class=(PAPER.fill()) fill=(PAPER.light) width="100%" height="100%" {}
            (body)
        }
    }
}

/// A figure that says that there is nothing to draw.
pub(crate) fn no_data(caption: &Caption) -> Markup {
    let (width, height) = (400.0, 80.0);
    let body = html! {
        rect x="1" y="1" width=(width - 2.0) height=(height - 2.0) fill="none"
            class=(GRID.stroke()) stroke=(GRID.light) stroke-dasharray="4 3" {}
        (Label::new("no data", width / 2.0, height / 2.0).paint(MUTED).draw())
    };
    frame(caption, width, height, &body)
}
