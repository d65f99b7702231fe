//! The tables of labels, and their columns.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use cache::Split;

use crate::Error;
use crate::dataset::examples::examples;
use crate::dataset::files::{Tree, name};
use crate::dataset::table::Table;

/// The names of the table of each split, the best first.
pub(super) const TABLES: [(Split, &[&str]); 3] = [
    (Split::Train, &["train.csv"]),
    (Split::Val, &["valid.csv", "val.csv", "val_labels.csv"]),
    (
        Split::Test,
        &["test_labels.csv", "test.csv", "groundtruth.csv"],
    ),
];

/// Bytes of a table that are read for its first line.
const HEADER_BYTES: u64 = 4096;

/// The table of each split that there is, relative to the root.
///
/// # Errors
///
/// [`Error::Layout`] if there is none, or more than one for a split.
pub(super) fn find_tables(root: &Path, tree: &Tree) -> Result<Vec<(PathBuf, Split)>, Error> {
    let mut tables = Vec::new();
    for (split, names) in TABLES {
        let found = names.iter().map(|name| find_table(root, tree, name));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        tables.extend(
            found
                .into_iter()
                .flatten()
                .next()
                .map(|table| (table, split)),
        );
    }
    if !tables.is_empty() {
        Ok(tables)
    } else {
        Err(Error::Layout {
            path: root.to_path_buf(),
            found: "none of the tables".to_owned(),
            expected: "`train.csv` or `valid.csv`, of which the first line begins with \
                   `Path,Sex,Age,Frontal/Lateral`, and images such as \
                   `train/patient00001/study1/view1_frontal.jpg`"
                .to_owned(),
            hint: "pass the folder that holds all that was unpacked: \
               `CheXpert-v1.0-small`, or the one with the four batches"
                .to_owned(),
        })
    }
}

/// The table of this name with the fewest folders above it.
fn find_table(root: &Path, tree: &Tree, wanted: &str) -> Result<Option<PathBuf>, Error> {
    let files = tree.files.iter().filter(|file| name(file) == wanted);
    let tables: Vec<&PathBuf> = files.filter(|file| is_table(&root.join(file))).collect();
    let depth = |table: &PathBuf| table.iter().count();
    let least = tables.iter().map(|table| depth(table)).min();
    let tables = tables
        .into_iter()
        .filter(|table| Some(depth(table)) == least);
    let tables: Vec<String> = tables.map(|table| table.display().to_string()).collect();
    match &tables[..] {
        [] => Ok(None),
        [only] => Ok(Some(PathBuf::from(only))),
        _ => Err(Error::Layout {
            path: root.to_path_buf(),
            found: examples(&tables),
            expected: format!("only one `{wanted}`"),
            hint: "pass the folder of one copy".to_owned(),
        }),
    }
}

/// True if the first line is that of a table of labels.
fn is_table(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEADER_BYTES).read_to_end(&mut start));
    let start = String::from_utf8_lossy(&start);
    let line = start.trim_start_matches('\u{feff}').lines().next();
    let columns: Vec<&str> = line.unwrap_or_default().split(',').map(str::trim).collect();
    let is_first = |name| columns.first() == Some(&name);
    read.is_ok() && (is_first("Path") || is_first("Study")) && columns.contains(&"Cardiomegaly")
}

/// The places of columns.
pub(super) struct Columns {
    /// That of the image, or of the study.
    pub(super) path: usize,
    /// True if a line stands for all images of a study.
    pub(super) is_study: bool,
    /// `Frontal/Lateral`; tables of test lack it, and file names tell.
    pub(super) frontal: Option<usize>,
    /// `AP/PA`.
    pub(super) view: Option<usize>,
    /// Those of the classes, in their order.
    pub(super) classes: Vec<usize>,
}

impl Columns {
    pub(super) fn find(table: &Table, classes: &[String]) -> Result<Columns, Error> {
        let classes = classes.iter().map(|class| table.required(&[class]));
        let path = table.column(&["Path"])?;
        Ok(Columns {
            path: path.map_or_else(|| table.required(&["Study"]), Ok)?,
            is_study: path.is_none(),
            frontal: table.column(&["Frontal/Lateral"])?,
            view: table.column(&["AP/PA"])?,
            classes: classes.collect::<Result<_, _>>()?,
        })
    }
}
