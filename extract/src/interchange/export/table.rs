//! `rows.csv`: what is known of each row, as an import reads it.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use cache::{CacheMeta, Labels, SliceMeta, Split, Task};

use crate::Error;

/// Name of the file.
pub(super) const NAME: &str = "rows.csv";

/// The table in the making.
pub(super) struct Table {
    path: PathBuf,
    file: BufWriter<File>,
    classes: Vec<String>,
}

impl Table {
    pub(super) fn create(folder: &Path, meta: &CacheMeta) -> Result<Table, Error> {
        let path = folder.join(NAME);
        let file = File::create(&path).map_err(Error::io(&path))?;
        let mut table = Table {
            path,
            file: BufWriter::new(file),
            classes: meta.classes.clone(),
        };
        let fixed = ["sample", "image", "slice", "patient", "split"];
        let labels = match meta.task {
            Task::Unlabelled => Vec::new(),
            Task::SingleLabel => vec!["label"],
            Task::MultiLabel => meta.classes.iter().map(String::as_str).collect(),
        };
        table.line(fixed.into_iter().chain(labels))?;
        Ok(table)
    }

    pub(super) fn add(&mut self, slice: &SliceMeta) -> Result<(), Error> {
        let classes = std::mem::take(&mut self.classes);
        let number = slice.slice.to_string();
        let states: Vec<String> = match &slice.labels {
            Labels::Unlabelled => Vec::new(),
            Labels::Single(class) => vec![
                class
                    .and_then(|class| classes.get(class as usize).cloned())
                    .unwrap_or_default(),
            ],
            Labels::Multi(states) => states
                .iter()
                .map(|state| state.map_or(String::new(), |state| state.to_string()))
                .collect(),
        };
        let fixed = [
            slice.sample.as_str(),
            &slice.image,
            &number,
            slice.patient.as_deref().unwrap_or_default(),
            slice.split.map_or("", Split::name),
        ];
        let line = self.line(fixed.into_iter().chain(states.iter().map(String::as_str)));
        self.classes = classes;
        line
    }

    /// Ends the table, and writes the order of the classes beside it.
    pub(super) fn finish(mut self, meta: &CacheMeta) -> Result<String, Error> {
        self.file.flush().map_err(Error::io(&self.path))?;
        if meta.task == Task::SingleLabel {
            let path = self.path.with_file_name("classes.txt");
            let text = meta.classes.join("\n") + "\n";
            std::fs::write(&path, text).map_err(Error::io(&path))?;
        }
        Ok(NAME.to_owned())
    }

    fn line<'a>(&mut self, cells: impl Iterator<Item = &'a str>) -> Result<(), Error> {
        let cells: Vec<Cow<'_, str>> = cells.map(quoted).collect();
        writeln!(self.file, "{}", cells.join(",")).map_err(Error::io(&self.path))
    }
}

/// A cell of CSV.
pub(super) fn quoted(cell: &str) -> Cow<'_, str> {
    let is_plain = !cell.contains([',', ';', '\t', '"', '\n', '\r']) && cell.trim() == cell;
    if is_plain {
        Cow::Borrowed(cell)
    } else {
        Cow::Owned(format!("\"{}\"", cell.replace('"', "\"\"")))
    }
}
