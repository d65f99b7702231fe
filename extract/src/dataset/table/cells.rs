//! The cells of a row of a table.

use std::ops::Index;

/// The cells of a row in one text: a table may have millions of rows, and a text of its own for each cell takes
/// several times as much memory.
pub(crate) struct Cells {
    text: Box<str>,
    /// Begin and end of each cell in the text.
    places: Box<[(u32, u32)]>,
}

impl Cells {
    /// The cells of these texts; `None` if they take more than 4 GiB.
    pub(super) fn of(texts: &[String]) -> Option<Cells> {
        let mut end = 0;
        let places = texts.iter().map(|text| {
            let start = end;
            end = u32::try_from(text.len())
                .ok()
                .and_then(|length| length.checked_add(start))?;
            Some((start, end))
        });
        Some(Cells {
            places: places.collect::<Option<_>>()?,
            text: texts.concat().into(),
        })
    }

    /// Makes a cell blank.
    pub(super) fn clear(&mut self, column: usize) {
        self.cut(column, 0);
    }

    /// Keeps the first `bytes` bytes of a cell.
    pub(super) fn cut(&mut self, column: usize, bytes: usize) {
        let (start, end) = &mut self.places[column];
        *end = (*end).min(start.saturating_add(bytes as u32));
    }
}

impl Index<usize> for Cells {
    type Output = str;

    fn index(&self, column: usize) -> &str {
        let (start, end) = self.places[column];
        &self.text[start as usize..end as usize]
    }
}
