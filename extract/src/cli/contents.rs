//! The slices of a cache by split and class, as the summary of an extraction shows them.

use std::collections::HashSet;

use cache::{CacheReader, Labels, SliceMeta, Split};
use serde_json::{Map, Value, json};

use super::table;

/// Maximum number of classes in a table.
const CLASSES: usize = 20;

/// Slices, samples and patients of a split, and its slices of each class.
struct Part<'a> {
    split: Option<Split>,
    slices: usize,
    samples: HashSet<&'a str>,
    patients: HashSet<&'a str>,
    classes: Vec<usize>,
}

/// Counts of a cache's slices, without augmented views.
pub(super) struct Contents {
    classes: Vec<String>,
    /// Name, slices, samples and patients of each split, and its slices of each class.
    splits: Vec<(&'static str, [usize; 3], Vec<usize>)>,
}

impl Contents {
    /// Counts the slices of a finished cache.
    ///
    /// # Errors
    ///
    /// [`cache::Error`] if its slices cannot be read.
    pub(super) fn of(reader: &CacheReader) -> Result<Contents, cache::Error> {
        let slices = reader.slices()?;
        let classes = reader.meta().classes.clone();
        let mut parts: Vec<Part<'_>> = Vec::new();
        for slice in slices.iter().filter(|slice| slice.view == 0) {
            let at = parts.iter().position(|part| part.split == slice.split);
            let at = at.unwrap_or_else(|| {
                parts.push(Part {
                    split: slice.split,
                    slices: 0,
                    samples: HashSet::new(),
                    patients: HashSet::new(),
                    classes: vec![0; classes.len()],
                });
                parts.len() - 1
            });
            parts[at].add(slice);
        }
        let place = |part: &Part<'_>| {
            Split::ALL
                .iter()
                .position(|split| Some(*split) == part.split)
        };
        parts.sort_by_key(|part| place(part).unwrap_or(Split::ALL.len()));
        let splits = parts.into_iter().map(|part| {
            let counts = [part.slices, part.samples.len(), part.patients.len()];
            (part.split.map_or("none", Split::name), counts, part.classes)
        });
        Ok(Contents {
            splits: splits.collect(),
            classes,
        })
    }

    /// A table of splits, and one of classes if there are any.
    pub(super) fn text(&self) -> String {
        let has_patients = self.splits.iter().any(|(_, counts, _)| counts[2] > 0);
        let columns = if has_patients { 4 } else { 3 };
        let rows = self.splits.iter().map(|(name, counts, _)| {
            let counts = counts.iter().map(usize::to_string);
            let row = std::iter::once((*name).to_owned()).chain(counts);
            row.take(columns).collect()
        });
        let header = ["split", "slices", "samples", "patients"];
        let mut text = table(&header[..columns], rows.collect(), 1);
        if self.classes.is_empty() {
            return text;
        }
        let mut header = vec!["slices of class"];
        header.extend(self.splits.iter().map(|(name, ..)| *name));
        let classes = self.classes.iter().enumerate().take(CLASSES);
        let rows = classes.map(|(class, name)| {
            let counts = self.splits.iter().map(|(.., of)| of[class].to_string());
            std::iter::once(name.clone()).chain(counts).collect()
        });
        text += &format!("\n{}", table(&header, rows.collect(), 1));
        if self.classes.len() > CLASSES {
            text += &format!("\nand {} more classes", self.classes.len() - CLASSES);
        }
        text
    }

    /// The same counts as JSON, by the names of splits and classes.
    pub(super) fn json(&self) -> Value {
        let splits = self
            .splits
            .iter()
            .map(|(name, [slices, samples, patients], classes)| {
                let classes = self.classes.iter().zip(classes);
                let classes: Map<String, Value> = classes
                    .map(|(class, &count)| (class.clone(), count.into()))
                    .collect();
                let counts = json!({
                    "slices": slices,
                    "samples": samples,
                    "patients": patients,
                    "classes": classes,
                });
                ((*name).to_owned(), counts)
            });
        Value::Object(splits.collect())
    }
}

impl<'a> Part<'a> {
    fn add(&mut self, slice: &'a SliceMeta) {
        self.slices += 1;
        self.samples.insert(&slice.sample);
        self.patients.extend(slice.patient.as_deref());
        match &slice.labels {
            Labels::Single(Some(class)) => {
                if let Some(count) = self.classes.get_mut(*class as usize) {
                    *count += 1;
                }
            }
            Labels::Multi(states) => {
                for (count, _) in self
                    .classes
                    .iter_mut()
                    .zip(states)
                    .filter(|(_, state)| **state == Some(1))
                {
                    *count += 1;
                }
            }
            Labels::Single(None) | Labels::Unlabelled => {}
        }
    }
}
