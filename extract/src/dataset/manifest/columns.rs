//! The columns of a manifest.

use cache::Task;

use crate::Error;
use crate::dataset::table::{Table, clipped};
use crate::dataset::{LayoutOptions, files};

/// Source of the labels.
#[derive(PartialEq, Eq)]
pub(super) enum LabelSource {
    Nothing,
    Single(usize),
    Joined(usize),
    Columns(Vec<usize>),
    Mask,
}

impl LabelSource {
    fn find(table: &Table, options: &LayoutOptions, mask: bool) -> Result<LabelSource, Error> {
        if !options.label_columns.is_empty() {
            let columns = options
                .label_columns
                .iter()
                .map(|name| table.required(&[name]));
            return columns.collect::<Result<_, _>>().map(LabelSource::Columns);
        }
        if let Some(column) = table.column(&["labels"])? {
            return Ok(LabelSource::Joined(column));
        }
        Ok(match table.column(&["label", "class", "target", "y"])? {
            Some(column) => LabelSource::Single(column),
            None if mask => LabelSource::Mask,
            None => LabelSource::Nothing,
        })
    }

    pub(super) fn task(&self) -> Task {
        match self {
            LabelSource::Nothing => Task::Unlabelled,
            LabelSource::Single(_) => Task::SingleLabel,
            LabelSource::Joined(_) | LabelSource::Columns(_) | LabelSource::Mask => {
                Task::MultiLabel
            }
        }
    }

    /// A warning if there are no labels, or names may have another separator.
    pub(super) fn warning(&self, table: &Table) -> Option<String> {
        let name = files::name(&table.path);
        match self {
            LabelSource::Nothing => Some(format!(
                "`{name}`: no column `label`, `labels` or `mask`, and no `--label-columns`: the \
                 samples have no labels"
            )),
            LabelSource::Joined(column) => {
                let cells = || table.rows.iter().map(|row| row.cells[*column].as_str());
                let other = cells().find(|cell| cell.contains([',', ';']))?;
                (!cells().any(|cell| cell.contains('|'))).then(|| {
                    format!(
                        "`{name}`: names in the column `labels` are separated by `|`, which no cell \
                         contains: `{}` is one class",
                        clipped(other)
                    )
                })
            }
            _ => None,
        }
    }

    /// The columns that are read.
    fn columns(&self) -> &[usize] {
        match self {
            LabelSource::Nothing | LabelSource::Mask => &[],
            LabelSource::Single(column) | LabelSource::Joined(column) => {
                std::slice::from_ref(column)
            }
            LabelSource::Columns(columns) => columns,
        }
    }

    /// The class names in a cell: at most one, or those between bars.
    pub(super) fn names<'a>(&self, cell: &'a str) -> Vec<&'a str> {
        let parts: Vec<&str> = match self {
            LabelSource::Joined(_) => cell.split('|').map(str::trim).collect(),
            _ => vec![cell],
        };
        parts.into_iter().filter(|name| !name.is_empty()).collect()
    }
}

/// The places of the columns that are there.
pub(super) struct Columns {
    pub(super) image: usize,
    pub(super) mask: Option<usize>,
    pub(super) labels: LabelSource,
    pub(super) slices: Option<usize>,
    pub(super) patient: Option<usize>,
    pub(super) split: Option<usize>,
    pub(super) id: Option<usize>,
}

impl Columns {
    pub(super) fn find(table: &Table, options: &LayoutOptions) -> Result<Columns, Error> {
        let image = ["image", "path", "file_name", "filepath", "filename", "img"];
        let mask = table.column(&["mask", "seg", "label_path", "mask_path"])?;
        Ok(Columns {
            image: table.required(&image)?,
            mask,
            labels: LabelSource::find(table, options, mask.is_some())?,
            slices: table.column(&["slices", "slice"])?,
            patient: table.column(&[
                "patient",
                "patient_id",
                "subject",
                "subject_id",
                "PatientID",
            ])?,
            split: table.column(&["split"])?,
            id: table.column(&["id"])?,
        })
    }

    /// All of them.
    pub(super) fn used(&self) -> Vec<usize> {
        let others = [self.mask, self.slices, self.patient, self.split, self.id];
        let others = others.into_iter().flatten();
        let labels = self.labels.columns().iter().copied();
        std::iter::once(self.image)
            .chain(others)
            .chain(labels)
            .collect()
    }
}
