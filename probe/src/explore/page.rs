//! Contact sheets as pages of HTML, complete in one file.

use std::io::Cursor;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::{GrayImage, ImageFormat};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::nearest::{Nearest, Neighbour, Shown};

/// Colours follow the system's choice of light or dark; a narrow screen gets one column of cards less.
const STYLE: &str = "
:root { color-scheme: light dark; --line: #d0d4da; --soft: #5a6270; --back: #f6f7f9; --mark: #9a3412;
  --page: #fff; --ink: #1a1d23; }
@media (prefers-color-scheme: dark) { :root { --line: #3a414c; --soft: #a3acba; --back: #1b1f26; --mark: #fdba74;
  --page: #12151a; --ink: #e6e9ee; } }
body { background: var(--page); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 80rem; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
li { border: 1px solid var(--line); border-radius: 6px; padding: .5rem; background: var(--back); overflow-wrap: anywhere; }
li.query { border-width: 2px; border-color: currentColor; }
li.same { border-style: dashed; border-color: var(--mark); }
img { width: 100%; aspect-ratio: 1; object-fit: contain; background: #000; border-radius: 3px; display: block; }
p { margin: .3rem 0 0; } .mark { color: var(--mark); }
@media print { li { break-inside: avoid; } }
";

/// A page with a line of text under the title, and further rules of style.
pub(super) fn page(title: &str, about: &str, rules: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(rules)) }
            }
            body {
                main {
                    h1 { (title) }
                    p.soft { (about) }
                    (body)
                }
            }
        }
    }
    .into_string()
}

impl Nearest {
    /// The contact sheet.
    pub fn page(&self) -> String {
        let record = &self.record;
        let title = format!("Nearest neighbours in {}", record.dataset);
        let model = format!("{}@{}", record.model, record.image_size);
        let about = format!(
            "{model}, {}; cosine distance to each of {} other examples. A dashed frame marks the query's own patient.",
            record.setting,
            record.n_train.saturating_sub(1)
        );
        let body = html! {
            @for (query, neighbours) in &self.queries {
                section {
                    h2 { (query.name) }
                    ol {
                        li.query {
                            (picture(query))
                            p { "query" }
                            (facts(query))
                        }
                        @for (rank, neighbour) in (1..).zip(neighbours) {
                            (card(rank, query, neighbour))
                        }
                    }
                }
            }
        };
        page(&title, &about, "", &body)
    }
}

fn card(rank: usize, query: &Shown, neighbour: &Neighbour) -> Markup {
    let is_alike = !query.label.is_empty() && query.label == neighbour.shown.label;
    html! {
        li.same[neighbour.same_patient] {
            (picture(&neighbour.shown))
            p { (rank) " · distance " (format!("{:.4}", neighbour.distance)) }
            p { (neighbour.shown.name) }
            (facts(&neighbour.shown))
            @if is_alike { p.soft { "same label" } }
            @if neighbour.same_patient { p.mark { "same patient" } }
        }
    }
}

fn facts(shown: &Shown) -> Markup {
    html! {
        @if !shown.label.is_empty() { p { strong { (shown.label) } } }
        p.soft {
            @if !shown.patient.is_empty() { "patient " (shown.patient) }
            @if !shown.patient.is_empty() && !shown.split.is_empty() { " · " }
            (shown.split)
        }
    }
}

fn picture(shown: &Shown) -> Markup {
    let Some(picture) = &shown.picture else {
        return html! {};
    };
    let source = format!(
        "data:image/png;base64,{}",
        BASE64_STANDARD.encode(png(picture))
    );
    html! { img src=(source) alt=(format!("Picture of {}", shown.name)); }
}

/// A picture as the bytes of a PNG file.
pub(super) fn png(picture: &GrayImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    // Writing to memory fails for pictures without pixels only, which there are none of.
    let _ = picture.write_to(&mut bytes, ImageFormat::Png);
    bytes.into_inner()
}
