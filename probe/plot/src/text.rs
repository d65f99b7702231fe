//! Labels: their width, shortening, and characters that XML does not allow.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use crate::color::{INK, Paint};
use crate::number::at;

/// Size of text in pixels at the figure's own width.
pub(crate) const SIZE: f64 = 12.0;

/// An estimate of the width of `text` in pixels, on the wide side for system fonts.
pub(crate) fn width(text: &str) -> f64 {
    let em: f64 = text.chars().map(em).sum();
    em * SIZE
}

fn em(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.32,
        'f' | 'r' | 't' | ' ' | '(' | ')' | '[' | ']' | '-' | '/' => 0.40,
        'm' | 'M' | 'w' | 'W' | '@' | '%' | '—' => 0.95,
        'A'..='Z' => 0.70,
        '\u{0}'..='\u{7f}' => 0.60,
        // Letters of Latin, Greek and Cyrillic, then those that fill a square.
        '\u{80}'..='\u{10ff}' => 0.66,
        _ => 1.05,
    }
}

/// `text` without characters that XML forbids or that change the direction of what follows.
pub(crate) fn clean(text: &str) -> String {
    let shown = |c: char| match c {
        '\t' | '\n' | '\r' => ' ',
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other => other,
    };
    text.chars().map(shown).collect()
}

/// `text`, without its middle if it is wider than `most` pixels.
pub(crate) fn shorten(text: &str, most: f64) -> String {
    if width(text) <= most {
        return text.to_string();
    }
    let characters: Vec<char> = text.chars().collect();
    let (mut front, mut back) = (0, 0);
    let mut used = width("…");
    loop {
        let from_front = front <= back;
        let next = if from_front {
            characters[front]
        } else {
            characters[characters.len() - 1 - back]
        };
        used += em(next) * SIZE;
        if used > most || front + back + 1 >= characters.len() {
            break;
        }
        if from_front {
            front += 1;
        } else {
            back += 1;
        }
    }
    let head: String = characters[..front].iter().collect();
    let tail: String = characters[characters.len() - back..].iter().collect();
    format!("{}…{}", head.trim_end(), tail.trim_start())
}

/// Names shortened to so many pixels, so that those that differ still differ: by what their common beginning and end
/// leave, or else by a number.
pub(crate) fn shorten_all(names: &[&str], most: f64) -> Vec<String> {
    let whole: Vec<String> = names.iter().map(|name| clean(name)).collect();
    let mut alike: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for name in &whole {
        alike.entry(shorten(name, most)).or_default().insert(name);
    }
    let mut short: BTreeMap<&str, String> = BTreeMap::new();
    for (text, names) in alike {
        let names: Vec<&str> = names.into_iter().collect();
        if names.len() == 1 {
            short.insert(names[0], text);
        } else {
            short.extend(names.iter().copied().zip(told_apart(&names, most)));
        }
    }
    whole
        .iter()
        .map(|name| short[name.as_str()].clone())
        .collect()
}

/// Different names, shortened to what they do not have in common, or numbered if that is too long as well.
fn told_apart(names: &[&str], most: f64) -> Vec<String> {
    let texts: Vec<Vec<char>> = names.iter().map(|name| name.chars().collect()).collect();
    let front = common(&texts, |text, index| text.get(index));
    let back = common(&texts, |text, index| text.iter().rev().nth(index));
    let own = texts.iter().map(|text| {
        let end = text.len().saturating_sub(back).max(front);
        let own: String = text[front.saturating_sub(8)..end].iter().collect();
        format!("…{}…", shorten(&own, most - 2.0 * width("…")))
    });
    let own: Vec<String> = own.collect();
    if own.iter().collect::<BTreeSet<_>>().len() == own.len() {
        return own;
    }
    let numbered = (1..)
        .zip(names)
        .map(|(number, name)| format!("{} ({number})", shorten(name, most - width(" (00)"))));
    numbered.collect()
}

/// How many characters, counted from an end by `of`, all texts have in common.
fn common(texts: &[Vec<char>], of: impl Fn(&Vec<char>, usize) -> Option<&char>) -> usize {
    let is_same = |index: &usize| {
        let first = of(&texts[0], *index);
        first.is_some() && texts.iter().all(|text| of(text, *index) == first)
    };
    (0..).take_while(is_same).count()
}

/// Where the given position is in the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A label at a position, which is the text's middle in height.
#[derive(Clone, Debug)]
pub(crate) struct Label<'a> {
    text: &'a str,
    /// The text as it is drawn, if not the whole text shortened.
    short: Option<&'a str>,
    x: f64,
    y: f64,
    anchor: Anchor,
    most: f64,
    turn: f64,
    paint: Paint,
    bold: bool,
}

impl<'a> Label<'a> {
    pub(crate) fn new(text: &'a str, x: f64, y: f64) -> Self {
        Label {
            text,
            short: None,
            x,
            y,
            anchor: Anchor::Middle,
            most: f64::INFINITY,
            turn: 0.0,
            paint: INK,
            bold: false,
        }
    }

    pub(crate) fn anchor(self, anchor: Anchor) -> Self {
        Label { anchor, ..self }
    }

    /// Shortens the text to so many pixels.
    pub(crate) fn most(self, most: f64) -> Self {
        Label { most, ..self }
    }

    /// Draws this in place of the whole text, which becomes a tooltip.
    pub(crate) fn short(self, short: &'a str) -> Self {
        let short = Some(short);
        Label { short, ..self }
    }

    /// Turns the text about its position, in degrees clockwise.
    pub(crate) fn turn(self, turn: f64) -> Self {
        Label { turn, ..self }
    }

    pub(crate) fn paint(self, paint: Paint) -> Self {
        Label { paint, ..self }
    }

    pub(crate) fn bold(self) -> Self {
        Label { bold: true, ..self }
    }

    pub(crate) fn draw(&self) -> Markup {
        let whole = clean(self.text);
        let shortened = || shorten(&whole, self.most);
        let text = self.short.map_or_else(shortened, str::to_owned);
        let anchor = match self.anchor {
            Anchor::Start => None,
            Anchor::Middle => Some("middle"),
            Anchor::End => Some("end"),
        };
        let turn = (self.turn != 0.0)
            .then(|| format!("rotate({} {} {})", self.turn, at(self.x), at(self.y)));
        html! {
            text class=(self.paint.fill()) fill=(self.paint.light) x=(at(self.x)) y=(at(self.y)) dy="0.35em"
                text-anchor=[anchor] transform=[turn] font-weight=[self.bold.then_some("600")] {
                @if text != whole { title { (whole) } }
                (text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_labels_lose_their_middle() {
        let name = "atelectasis-in-the-left-lower-lobe-with-effusion";
        let short = shorten(name, 120.0);
        assert!(width(&short) <= 120.0, "{short}");
        assert!(
            short.starts_with("atele") && short.ends_with("usion"),
            "{short}"
        );
        assert_eq!(shorten("short", 120.0), "short");
        assert_eq!(shorten("ab", 1.0), "…");
        let marked = Label::new(name, 0.0, 0.0).most(120.0).draw().into_string();
        assert!(
            marked.contains(&format!("<title>{name}</title>")),
            "{marked}"
        );
    }

    #[test]
    fn long_names_that_differ_in_the_middle_are_told_apart() {
        let name = |middle: &str| format!("{}{middle}{}", "a".repeat(40), "z".repeat(40));
        let names = [name("left"), name("right"), "b".repeat(60), name("left")];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let short = shorten_all(&names, 120.0);
        assert!(
            short[0].contains("le") && short[1].contains("ri"),
            "{short:?}"
        );
        assert_eq!(short[0], short[3]);
        assert!(short.iter().all(|name| width(name) <= 120.0), "{short:?}");
        // Differences that are themselves too long.
        let names = [
            name(&format!("{}1{}", "m".repeat(40), "n".repeat(40))),
            name("m2n"),
        ];
        let short = shorten_all(&[&names[0], &names[1]], 120.0);
        assert_ne!(short[0], short[1]);
    }

    #[test]
    fn characters_that_xml_forbids_are_replaced() {
        assert_eq!(
            clean("a\u{0}b\u{1b}[31m\u{202e}c\n"),
            "a\u{fffd}b\u{fffd}[31m\u{fffd}c "
        );
    }
}
