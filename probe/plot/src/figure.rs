//! The `<svg>` element around a chart.

use maud::{Markup, html};

use crate::color::{GRID, MUTED, PAPER};
use crate::number::at;
use crate::text::{Label, SIZE, clean};

/// What a figure shows, for screen readers, tooltips and captions.
#[derive(Clone, Debug, Default)]
pub struct Caption {
    /// Prefix of all ids in the figure, any text that is unique in the page.
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

    /// An id in the figure. A prefix with other characters than letters, digits and `-` gets a hash (FNV-1a), so that
    /// `a b` and `a_b` differ.
    pub(crate) fn id(&self, name: &str) -> String {
        let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let prefix = self.id.replace(|c| !is_safe(c), "-");
        if self.id.chars().all(is_safe) {
            return format!("plot-{prefix}-{name}");
        }
        let hash = self.id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        format!("plot-{prefix}-{hash:016x}-{name}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_different_figures_differ() {
        let id = |prefix: &str| Caption::new(prefix, "", "").id("title");
        assert_eq!(id("roc-amos"), "plot-roc-amos-title");
        assert_ne!(id("a b"), id("a_b"));
        assert_ne!(id("a b"), id("a-b"));
    }
}
