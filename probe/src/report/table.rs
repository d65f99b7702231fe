//! Tables as data, for the renderers.

use serde_json::{Value, json};

/// A table of a report.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Name for links and files: `table-3-paper`.
    pub id: String,
    /// Title: `Table 3 (protocol paper)`.
    pub title: String,
    /// What the table shows, and the rules by which its figures were chosen and marked.
    pub caption: String,
    /// The columns.
    pub columns: Vec<Column>,
    /// Cells by row, as many in each as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

/// A column of a [`Table`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// Header of several neighbouring columns.
    pub group: Option<String>,
    /// Header of the column.
    pub name: String,
    /// Whether the cells are numbers.
    pub is_number: bool,
}

/// A cell of a [`Table`].
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A measured or published figure.
    Figure(Figure),
    /// A whole number.
    Count(usize),
    /// A figure that no record has.
    Missing,
    /// Nothing belongs here.
    Blank,
}

/// A figure.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figure {
    /// The value.
    pub value: f64,
    /// Decimals to show.
    pub decimals: usize,
    /// `[low, high]` of a confidence interval.
    pub interval: Option<[f64; 2]>,
    /// Standard deviation over draws.
    pub deviation: Option<f64>,
    /// Whether it is the best of its column and differs significantly from the others.
    pub is_best: bool,
}

impl Column {
    /// A column of text.
    pub fn text(name: &str) -> Column {
        Column {
            name: name.into(),
            ..Column::default()
        }
    }

    /// A column of numbers.
    pub fn number(name: &str) -> Column {
        Column {
            is_number: true,
            ..Column::text(name)
        }
    }

    /// The column under the header of a group.
    #[must_use]
    pub fn of(self, group: &str) -> Column {
        Column {
            group: Some(group.into()),
            ..self
        }
    }

    /// Header of group and column on one line.
    pub fn full_name(&self) -> String {
        match &self.group {
            Some(group) => format!("{group} {}", self.name),
            None => self.name.clone(),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.into())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl Cell {
    /// A figure with 3 decimals and no interval; [`Cell::Missing`] without a value.
    pub fn plain(value: Option<f64>) -> Cell {
        value.map_or(Cell::Missing, |value| {
            Cell::Figure(Figure {
                value,
                decimals: 3,
                ..Figure::default()
            })
        })
    }

    /// Text for people; missing figures as a dash.
    pub fn shown(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Figure(figure) => figure.shown(),
            Cell::Count(count) => count.to_string(),
            Cell::Missing => "–".into(),
            Cell::Blank => String::new(),
        }
    }

    /// The value by which rows are sorted.
    pub fn key(&self) -> Value {
        match self {
            Cell::Text(text) => json!(text),
            Cell::Figure(figure) => json!(figure.value),
            Cell::Count(count) => json!(count),
            Cell::Missing | Cell::Blank => Value::Null,
        }
    }
}

impl Figure {
    /// The value with its decimals.
    pub fn number(&self) -> String {
        format!("{:.*}", self.decimals, self.value)
    }

    /// The interval or the standard deviation, for people.
    pub fn uncertainty(&self) -> Option<String> {
        let places = self.decimals;
        match (self.interval, self.deviation) {
            (Some([low, high]), _) => Some(format!("[{low:.places$}, {high:.places$}]")),
            (None, Some(deviation)) => Some(format!("± {deviation:.places$}")),
            (None, None) => None,
        }
    }

    fn shown(&self) -> String {
        match self.uncertainty() {
            Some(more) => format!("{} {more}", self.number()),
            None => self.number(),
        }
    }
}

impl Table {
    /// Whether any cell of a column has an interval, and whether any has a standard deviation.
    pub fn uncertainties(&self, column: usize) -> [bool; 2] {
        let figures = || {
            self.rows.iter().filter_map(|row| match &row[column] {
                Cell::Figure(figure) => Some(figure),
                _ => None,
            })
        };
        [
            figures().any(|figure| figure.interval.is_some()),
            figures().any(|figure| figure.deviation.is_some()),
        ]
    }

    /// Headers of groups with the number of their columns; an empty one for columns without a group. `None`
    /// if no column has one.
    pub fn groups(&self) -> Option<Vec<(&str, usize)>> {
        if self.columns.iter().all(|column| column.group.is_none()) {
            return None;
        }
        let runs = self.columns.chunk_by(|a, b| a.group == b.group);
        let named = runs.map(|run| (run[0].group.as_deref().unwrap_or_default(), run.len()));
        Some(named.collect())
    }
}
