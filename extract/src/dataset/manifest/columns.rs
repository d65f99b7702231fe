//! Which column of a manifest says what.

use cache::Task;

use crate::Error;
use crate::dataset::LayoutOptions;
use crate::dataset::table::Table;

/// Where the labels come from.
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
        let joined = table.column(&["labels"]).map(LabelSource::Joined);
        let single = || {
            table
                .column(&["label", "class", "target", "y"])
                .map(LabelSource::Single)
        };
        let mask = mask.then_some(LabelSource::Mask);
        Ok(joined
            .or_else(single)
            .or(mask)
            .unwrap_or(LabelSource::Nothing))
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
        let mask = table.column(&["mask", "seg", "label_path", "mask_path"]);
        Ok(Columns {
            image: table.required(&image)?,
            mask,
            labels: LabelSource::find(table, options, mask.is_some())?,
            slices: table.column(&["slices", "slice"]),
            patient: table.column(&[
                "patient",
                "patient_id",
                "subject",
                "subject_id",
                "PatientID",
            ]),
            split: table.column(&["split"]),
            id: table.column(&["id"]),
        })
    }
}
