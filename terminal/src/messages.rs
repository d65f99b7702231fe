//! Messages on standard error.

use std::io::{self, IsTerminal, LineWriter, Write};

use common::text::printable_lines;

use crate::{WIDTH, folded};

/// Bytes of a line that are folded together.
const LINE: usize = 1 << 16;

/// Standard error, on which all text is escaped by [`printable_lines`]. In a terminal, lines are at most [`WIDTH`](crate::WIDTH)
/// characters long where they have spaces; a file or pipe gets them whole.
pub fn messages() -> impl Write {
    let is_terminal = io::stderr().is_terminal();
    LineWriter::with_capacity(LINE, Messages { is_terminal })
}

struct Messages {
    is_terminal: bool,
}

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let text = printable_lines(&text);
        let mut out = io::stderr();
        if self.is_terminal {
            out.write_all(fitted(&text).as_bytes())?;
        } else {
            out.write_all(text.as_bytes())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Text whose lines fit a terminal. Commands go on as a shell expects it, and aligned columns stay.
fn fitted(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let is_command = ["  extract ", "  probe ", "  scripts/", "$ "]
            .iter()
            .any(|begin| line.starts_with(begin));
        if is_command {
            folded(line, 6).replace('\n', " \\\n")
        } else if line.trim_start_matches(' ').contains("  ") {
            line.to_owned()
        } else {
            folded_outside_of_commands(line)
        }
    });
    let lines: Vec<String> = lines.collect();
    lines.join("\n")
}

/// Stands for a space at which no line ends.
const TIED: char = '\u{a0}';

/// A sentence in lines that do not end within backticks, where a line holds what is between them.
fn folded_outside_of_commands(line: &str) -> String {
    let parts = line.split('`').enumerate().map(|(at, part)| {
        let is_quoted = at % 2 == 1 && part.chars().count() + "  ``,".len() <= WIDTH;
        if is_quoted {
            part.replace(' ', &TIED.to_string())
        } else {
            part.to_owned()
        }
    });
    let parts: Vec<String> = parts.collect();
    folded(&parts.join("`"), 2).replace(TIED, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_folded_commands_are_continued_and_columns_stay() {
        let sentence = format!("warning: {}end\n", "word ".repeat(30));
        let found = fitted(&sentence);
        assert!(found.ends_with("end\n") && found.lines().count() > 1);
        assert!(found.lines().all(|line| line.len() <= WIDTH), "{found}");
        let command = format!("  extract {}end", "--option value ".repeat(10));
        let found = fitted(&command);
        assert!(found.contains(" \\\n      --option") || found.contains(" \\\n      value"));
        assert_eq!(found.replace(" \\\n     ", ""), command);
        let script = format!("  scripts/finetune {}end", "--option value ".repeat(10));
        assert_eq!(fitted(&script).replace(" \\\n     ", ""), script);
        let quoted = "extract split --dataset images --rule random:0.7:0.1:0.2 --name main";
        let sentence = format!("hint: divide it, for instance by `{quoted}`, and name the split");
        let found = fitted(&sentence);
        assert!(
            found.contains(quoted) && found.lines().count() > 1,
            "{found}"
        );
        assert!(found.lines().all(|line| line.len() <= WIDTH), "{found}");
        let columns = format!("scores      {}", "x".repeat(90));
        assert_eq!(fitted(&columns), columns);
    }
}
