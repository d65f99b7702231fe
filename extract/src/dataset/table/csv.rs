//! CSV files in several encodings.

use std::fs::File;
use std::io::Read;
use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

use flate2::bufread::MultiGzDecoder;

use super::cells::Cells;
use super::{MAX_BYTES, Row, Table};
use crate::Error;
use crate::dataset::files::refuse_failed_download;

/// Reads a CSV file, gzipped or not, in UTF-8 or UTF-16.
///
/// A line `sep=;` at the start names the separator; without one, it is found in the header.
///
/// # Errors
///
/// [`Error::Csv`] with the line of a syntax error, [`Error::RaggedRow`],
/// [`FileError::TooLarge`](common::FileError::TooLarge), and errors of failed downloads.
pub(super) fn read(path: &Path, file: File) -> Result<Table, Error> {
    let bytes = content(path, file)?;
    refuse_failed_download(path, &bytes)?;
    let text = decoded(path, bytes)?;
    let (separator, text, line) = separator(&text);
    let mut records = Records {
        path,
        separator,
        chars: text.chars().peekable(),
        line,
    };
    let header = records.next().transpose()?;
    let mut headers = header.map_or(Vec::new(), |line| line.fields);
    drop_blank_ends(&mut headers, 0);
    let rows = records.map(|line| fitted(path, line?, headers.len()));
    let rows = rows.collect::<Result<_, _>>()?;
    Ok(Table::new(path, headers, rows))
}

/// The bytes of a file, unpacked if they are gzipped.
fn content(path: &Path, file: File) -> Result<Vec<u8>, Error> {
    let too_large = || {
        Error::too_large(
            path,
            format!("over {MAX_BYTES} bytes of text"),
            format!("{MAX_BYTES} bytes"),
        )
    };
    let mut packed = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut packed);
    read.map_err(Error::io(path))?;
    if packed.len() as u64 > MAX_BYTES {
        return Err(too_large());
    }
    if !packed.starts_with(&[0x1f, 0x8b]) {
        return Ok(packed);
    }
    let mut text = Vec::new();
    let mut unpacked = MultiGzDecoder::new(&packed[..]).take(MAX_BYTES + 1);
    let read = unpacked.read_to_end(&mut text);
    read.map_err(|error| Error::damaged(path, format!("it cannot be unpacked: {error}")))?;
    if text.len() as u64 > MAX_BYTES {
        Err(too_large())
    } else {
        Ok(text)
    }
}

/// The text of UTF-8, or of UTF-16 with a byte order mark or an ASCII character at the start.
fn decoded(path: &Path, bytes: Vec<u8>) -> Result<String, Error> {
    let number: fn([u8; 2]) -> u16 = match bytes[..] {
        [0xff, 0xfe, ..] | [1..=255, 0, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] | [0, 1..=255, ..] => u16::from_be_bytes,
        [b'P', b'K', 3, 4, ..] => return Err(no_text(path)),
        _ => {
            return String::from_utf8(bytes).map_err(|error| {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
                wrong(path, line, "the text is not UTF-8", SAVE_AS_UTF8)
            });
        }
    };
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| number(*pair)).collect();
    match String::from_utf16(&units) {
        Ok(text) if rest.is_empty() => Ok(text),
        _ => Err(wrong(path, 1, "the text is not whole UTF-16", SAVE_AS_UTF8)),
    }
}

const SAVE_AS_UTF8: &str = "save it as UTF-8; in Excel the kind of file is `CSV UTF-8`";

const CLOSE_QUOTES: &str =
    "close the quote, or write two (`\"\"`) where one is part of the text of a quoted field";

fn no_text(path: &Path) -> Error {
    Error::Layout {
        path: path.to_path_buf(),
        found: "a zip archive, such as an Excel workbook".to_owned(),
        expected: "text".to_owned(),
        hint: "unpack it, or save the sheet as CSV".to_owned(),
    }
}

fn wrong(path: &Path, line: usize, found: impl Into<String>, hint: &'static str) -> Error {
    Error::Csv {
        path: path.to_path_buf(),
        line,
        found: found.into(),
        hint,
    }
}

/// The separator, the text from the header on, and the line of the header.
fn separator(text: &str) -> (char, &str, usize) {
    let text = text.trim_start_matches('\u{feff}');
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let named = first.trim_end_matches('\r').trim_matches('"');
    let named = named.strip_prefix("sep=").map(str::chars);
    match named.map(|mut chars| (chars.next(), chars.next())) {
        Some((Some(separator), None)) => (separator, rest, 2),
        _ => (likely_separator(first), text, 1),
    }
}

/// A comma if there is one outside quotes in the header, else whichever there is more of,
/// semicolons or tabs.
fn likely_separator(header: &str) -> char {
    let count = |wanted: char| {
        let unquoted = header.split('"').step_by(2);
        unquoted.map(|part| part.matches(wanted).count()).sum()
    };
    let counts: [usize; 3] = [',', ';', '\t'].map(count);
    match counts {
        [0, 0, 0] | [(1..), _, _] => ',',
        [0, semicolons, tabs] if semicolons >= tabs => ';',
        [0, _, _] => '\t',
    }
}

/// Fields of a line.
struct Line {
    /// Its number, from 1.
    line: usize,
    fields: Vec<String>,
}

/// The lines of a text; blank lines are left out.
struct Records<'a> {
    path: &'a Path,
    separator: char,
    chars: Peekable<Chars<'a>>,
    /// The line of the next character, from 1.
    line: usize,
}

impl Iterator for Records<'_> {
    type Item = Result<Line, Error>;

    fn next(&mut self) -> Option<Result<Line, Error>> {
        while self.chars.peek().is_some_and(|c| is_line_end(*c)) {
            self.take();
        }
        self.chars.peek()?;
        Some(self.fields())
    }
}

impl Records<'_> {
    fn fields(&mut self) -> Result<Line, Error> {
        let line = self.line;
        let mut fields = vec![self.field()?];
        while self.chars.next_if_eq(&self.separator).is_some() {
            fields.push(self.field()?);
        }
        Ok(Line { line, fields })
    }

    /// Takes a character, and counts lines that end in LF, CRLF or CR.
    fn take(&mut self) -> Option<char> {
        let taken = self.chars.next()?;
        let is_end = taken == '\n' || taken == '\r' && self.chars.peek() != Some(&'\n');
        self.line += usize::from(is_end);
        Some(taken)
    }

    /// The text up to the next separator or the end of the line, trimmed.
    fn field(&mut self) -> Result<String, Error> {
        let separator = self.separator;
        let is_space = |c: &char| *c != separator && c.is_whitespace() && !is_line_end(*c);
        while self.chars.next_if(is_space).is_some() {}
        let text = match self.chars.next_if_eq(&'"') {
            Some(_) => self.quoted()?,
            None => String::new(),
        };
        let mut rest = String::new();
        while let Some(c) = self.chars.next_if(|c| *c != separator && !is_line_end(*c)) {
            rest.push(c);
        }
        Ok((text + &rest).trim().to_owned())
    }

    /// The text up to the closing quote; the opening quote is already consumed.
    ///
    /// An unclosed quote extends to the next quote, which is then followed by text.
    fn quoted(&mut self) -> Result<String, Error> {
        let opened = self.line;
        let mut text = String::new();
        loop {
            match self.take() {
                None => {
                    let found = "a quote opens here and is never closed";
                    return Err(wrong(self.path, opened, found, CLOSE_QUOTES));
                }
                Some('"') if self.chars.next_if_eq(&'"').is_some() => text.push('"'),
                Some('"') => break,
                Some(c) => text.push(c),
            }
        }
        let mut ahead = self.chars.clone();
        let next = ahead.find(|c| *c == self.separator || !c.is_whitespace() || is_line_end(*c));
        if next.is_none_or(|c| c == self.separator || is_line_end(c)) {
            return Ok(text);
        }
        let found = match self.line - opened {
            0 => "text follows a closing quote".to_owned(),
            _ => format!(
                "the quote that opens here closes in line {}, and text follows",
                self.line
            ),
        };
        Err(wrong(self.path, opened, found, CLOSE_QUOTES))
    }
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

/// Drops blank fields at the end while there are more than `least`: some programs end each line
/// with a comma, some only the header or only the rows.
fn drop_blank_ends(fields: &mut Vec<String>, least: usize) {
    while fields.len() > least && fields.last().is_some_and(String::is_empty) {
        fields.pop();
    }
}

/// A row of as many cells as there are headers.
fn fitted(path: &Path, of: Line, expected: usize) -> Result<Row, Error> {
    let Line { line, mut fields } = of;
    drop_blank_ends(&mut fields, expected);
    // A file has fewer bytes than cells may have.
    let cells = Cells::of(&fields).filter(|_| fields.len() == expected);
    let cells = cells.ok_or_else(|| Error::RaggedRow {
        path: path.to_path_buf(),
        line,
        found: fields.len(),
        expected,
    })?;
    Ok(Row { line, cells })
}
