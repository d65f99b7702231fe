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
}
