//! Escaping of text from files (names of classes, files, datasets and models) before it is shown.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;

/// Greatest number of characters of a text that [`clipped`] keeps.
const MOST_SHOWN: usize = 100;

/// Escapes `text` so that it stays on one line and cannot control a terminal.
///
/// Control characters (C0, DEL and C1, so also line breaks and the escape character), the line and
/// paragraph separators and the marks that change the direction of text are written as JSON writes
/// them (`\n`, `\u001b`, `\u202e`); all other text stays. JSON stays JSON of the same value.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_unsafe)
}

/// A name or path escaped by [`printable`], for messages.
pub fn shown(text: &(impl AsRef<OsStr> + ?Sized)) -> String {
    printable(&text.as_ref().to_string_lossy()).into_owned()
}

/// The first 100 characters of a text, for messages.
pub fn clipped(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A path as it is typed as an argument of a command: in single quotes if a shell would change it.
pub fn argument(path: &Path) -> String {
    let text = shown(path);
    let is_plain = |c: char| c.is_alphanumeric() || "/\\._-+=:@,%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Text that Markdown (GitHub's) shows as it is, also in a cell of a table.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '|' | '[' | ']' | '#' | '~' | '!' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// A path with `/` between its parts, on every system.
pub fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// `text` with its first `part` escaped by [`printable`], for an error of several lines of which `part` may
/// quote a file.
pub fn printable_part(text: &str, part: &str) -> String {
    text.replacen(part, &printable(part), 1)
}

/// Escapes text of several lines like [`printable`], but keeps line breaks (`\n`). Names within the
/// text must go through [`printable`] first, so that none of them adds a line.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_unsafe(c))
}

/// A writer that escapes all text by [`printable_lines`].
#[derive(Debug)]
pub struct Printable<W>(pub W);

impl<W: Write> Write for Printable<W> {
    /// Takes whole characters, as `write!` and `writeln!` give them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.write_all(printable_lines(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn is_unsafe(c: char) -> bool {
    let is_separator = matches!(c, '\u{2028}' | '\u{2029}');
    let is_direction = matches!(c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_separator || is_direction
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if !is_escaped(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // All of them are below U+10000.
            c => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_cursor_or_turns_text_around_is_escaped_and_all_else_stays() {
        for (text, expected) in [
            (
                "Lungenödem, \"left\" — 肺 👩‍⚕️",
                "Lungenödem, \"left\" — 肺 👩‍⚕️",
            ),
            ("a\u{1b}[2J\u{7}b", "a\\u001b[2J\\u0007b"),
            ("a\nhint: b\r\tc", "a\\nhint: b\\r\\tc"),
            ("\u{9b}31m\u{85}\u{7f}", "\\u009b31m\\u0085\\u007f"),
            (
                "gnp.\u{202e}\u{2066}\u{200f}\u{61c}",
                "gnp.\\u202e\\u2066\\u200f\\u061c",
            ),
            ("\u{2028}\u{2029}", "\\u2028\\u2029"),
        ] {
            assert_eq!(printable(text), expected);
        }
        assert!(matches!(printable("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn markdown_has_no_meaning() {
        let text = markdown("a|b_c\n[x](y) <i> `z`");
        assert_eq!(text, "a\\|b\\_c\\\\n\\[x\\](y) &lt;i&gt; \\`z\\`");
    }

    #[test]
    fn lines_stay_lines_and_json_stays_the_same_json() {
        let text = "error: a\u{1b}\nhint: b";
        assert_eq!(printable_lines(text), "error: a\\u001b\nhint: b");
        let value = serde_json::json!({"class": "\u{9b}a\u{202e}\n\u{1b}"});
        let shown = printable_lines(&value.to_string()).into_owned();
        assert!(!shown.contains('\u{9b}') && !shown.contains('\u{202e}'));
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read, value);
        let mut written = Printable(Vec::new());
        let name = "\u{9b}\n";
        writeln!(written, "ä{name}").unwrap();
        assert_eq!(written.0, "ä\\u009b\n\n".as_bytes());
    }
}
