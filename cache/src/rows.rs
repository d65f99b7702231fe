//! Checks of rows, by which a writer and a reader refuse invalid ones.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::BuildHasher;

use common::counted;
use common::text::printable;
use serde_json::Value;

use crate::{CacheMeta, Labels, SliceMeta, Split};

/// Longest name of a sample, an image or a patient in bytes.
pub const NAME_BYTES: usize = 8192;

/// Greatest number of rows and columns of a slice.
const LARGEST_SIDE: u32 = 1 << 20;

/// Greatest size of a mask in bytes, since it is one value of a column.
const MASK_BYTES: u64 = i32::MAX as u64;

/// Fault of a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub(crate) what: &'static str,
    pub(crate) found: String,
    pub(crate) expected: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Invalid {
            what,
            found,
            expected,
        } = self;
        write!(f, "{what} is {found}, expected {expected}")
    }
}

impl Invalid {
    pub(crate) fn new(
        what: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Invalid {
        Invalid {
            what,
            found: found.into(),
            expected: expected.into(),
        }
    }
}

/// Refuses a row that is invalid in a cache of this description.
pub(crate) fn check(meta: &CacheMeta, slice: &SliceMeta) -> Result<(), Invalid> {
    check_names([
        Some(slice.sample.as_str()),
        Some(slice.image.as_str()),
        slice.patient.as_deref(),
    ])?;
    let views = views(meta);
    if u64::from(slice.view) > views {
        let expected = format!("0 to {views}, as `preprocess.views.count` says");
        return Err(Invalid::new("view", slice.view.to_string(), expected));
    }
    let (sides, bytes) = (1..=LARGEST_SIDE, mask_bytes(slice));
    let is_side = sides.contains(&slice.height) && sides.contains(&slice.width);
    if !is_side || meta.has_masks && bytes > MASK_BYTES {
        let found = format!("{} x {}", slice.height, slice.width);
        let masks = format!(", and masks of at most {MASK_BYTES} bytes");
        let masks = if meta.has_masks { masks.as_str() } else { "" };
        let expected = format!("1 to {LARGEST_SIDE} rows and columns{masks}");
        return Err(Invalid::new("size of a slice", found, expected));
    }
    let is_length = |mm: &f32| mm.is_finite() && *mm >= 0.0;
    match slice.spacing_mm {
        Some(spacing) if !spacing.iter().all(is_length) => Err(Invalid::new(
            "spacing in mm",
            format!("{spacing:?}"),
            "lengths",
        )),
        _ => check_labels(meta, &slice.labels),
    }
}

/// Refuses too long names of a sample, an image and a patient.
pub(crate) fn check_names(names: [Option<&str>; 3]) -> Result<(), Invalid> {
    let kinds = ["name of a sample", "name of an image", "name of a patient"];
    for (what, name) in kinds.into_iter().zip(names) {
        let bytes = name.map_or(0, str::len);
        if bytes > NAME_BYTES {
            let expected = format!("at most {NAME_BYTES} bytes");
            return Err(Invalid::new(what, counted(bytes, "byte"), expected));
        }
    }
    Ok(())
}

/// Bytes of a slice's mask.
pub(crate) fn mask_bytes(slice: &SliceMeta) -> u64 {
    2 * u64::from(slice.height) * u64::from(slice.width)
}

/// Number of augmented views of each slice.
fn views(meta: &CacheMeta) -> u64 {
    let count = meta.preprocess.get("views").and_then(|of| of.get("count"));
    count.and_then(Value::as_u64).unwrap_or(0)
}

fn check_labels(meta: &CacheMeta, labels: &Labels) -> Result<(), Invalid> {
    let classes = meta.classes.len();
    match labels {
        Labels::Single(Some(label)) if *label as usize >= classes => Err(Invalid::new(
            "label",
            label.to_string(),
            format!("one of {}", counted(classes, "class")),
        )),
        Labels::Multi(states) => {
            let is_state = |state: &&Option<i8>| !matches!(state, None | Some(-1..=1));
            let wrong = states.iter().find(is_state).copied().flatten();
            let expected = "-1, 0, 1 or null";
            wrong.map_or(Ok(()), |state| {
                Err(Invalid::new("label", state.to_string(), expected))
            })
        }
        _ => Ok(()),
    }
}

/// Compares rows with those before them, in about 100 bytes of memory for a sample.
pub(crate) struct Known {
    /// For each sample a number and its split.
    samples: HashMap<Box<str>, (u32, Option<Split>)>,
    /// Sample, slice and view of each row.
    rows: HashSet<(u32, u32, u16)>,
    has_views: bool,
    /// Hashes of the labels of each slice that may have several views.
    labels: HashMap<(u32, u32), u64>,
}

impl Known {
    /// No rows of a cache of this description yet.
    pub(crate) fn of(meta: &CacheMeta) -> Known {
        Known {
            samples: HashMap::new(),
            rows: HashSet::new(),
            has_views: views(meta) > 0,
            labels: HashMap::new(),
        }
    }

    /// Refuses duplicate rows, and rows that contradict others of their sample.
    pub(crate) fn add(&mut self, slice: &SliceMeta) -> Result<(), Invalid> {
        let named = |what: String| format!("{what} of the sample `{}`", printable(&slice.sample));
        let (sample, split) = self.sample(slice);
        if split != slice.split {
            let word = |split: Option<Split>| split.map_or("none", Split::name);
            let found = named(format!("`{}`", word(slice.split)));
            return Err(Invalid::new(
                "split",
                found,
                format!("`{}` as in the sample's rows before", word(split)),
            ));
        }
        let number = format!("slice {}", slice.slice);
        if !self.rows.insert((sample, slice.slice, slice.view)) {
            let found = named(format!("view {} of {number}", slice.view));
            return Err(Invalid::new(
                "row",
                format!("a second one of {found}"),
                "one of each",
            ));
        }
        if !self.has_views {
            return Ok(());
        }
        let labels = self.rows.hasher().hash_one(&slice.labels);
        if *self.labels.entry((sample, slice.slice)).or_insert(labels) == labels {
            return Ok(());
        }
        let found = named(format!("others than before of {number}"));
        Err(Invalid::new("labels", found, "the same of all views"))
    }

    /// Number and split of the row's sample.
    fn sample(&mut self, slice: &SliceMeta) -> (u32, Option<Split>) {
        if let Some(known) = self.samples.get(&*slice.sample) {
            return *known;
        }
        let new = (self.samples.len() as u32, slice.split);
        self.samples.insert(slice.sample.as_str().into(), new);
        new
    }
}
