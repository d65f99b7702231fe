//! Examples of a cache with their features, for searches among all of them.

use std::collections::BTreeMap;

use cache::{CacheReader, SliceMeta};
use image::GrayImage;
use ndarray::Array2;
use serde::Serialize;
use serde_json::{Map, Value};

use super::chosen::middle;
use super::{Choice, record, settings};
use crate::Error;
use crate::evaluate::Settings;
use crate::examples::{Case, Examples, Pool, Selection, Unit};
use crate::features::Tokens;
use crate::picture::grey;
use crate::protocol::Protocol;
use crate::record::RunRecord;

/// The features of examples.
#[derive(Clone, Debug, Serialize)]
pub struct Embedding {
    /// The tokens.
    pub tokens: Tokens,
    /// Unit of examples; found from the labels if `None`.
    pub unit: Option<Unit>,
    /// Pooling of slices to volumes; the mean if `None`.
    pub pool: Option<Pool>,
    /// Name of a split other than that of the extraction.
    pub split: Option<String>,
}

/// All examples of a cache.
#[derive(Debug)]
pub(super) struct Embedded {
    pub(super) examples: Examples,
    pub(super) slices: Vec<SliceMeta>,
    /// The row of the cache that shows each example: its slice, or the middle one of a volume. `[N]`.
    pub(super) rows: Vec<usize>,
    /// Name of each example: `ID`, or `ID:SLICE` of a slice among several of its sample. `[N]`.
    pub(super) names: Vec<String>,
}

impl Embedding {
    /// The rows of the cache that hold the examples of a selection.
    pub(super) fn selection(&self, labelled: bool) -> Selection {
        Selection {
            tokens: self.tokens.clone(),
            unit: self.unit,
            pool: self.pool.unwrap_or(Pool::Mean),
            split: self.split.clone(),
            protocol: Protocol::Strict,
            labelled,
            control: None,
        }
    }

    /// Name of the features for people: `cls_1`, `cls_1 mean_1`.
    pub(super) fn name(&self) -> String {
        let cls = self.tokens.cls.iter().map(|layer| format!("cls_{layer}"));
        let mean = self.tokens.mean.iter().map(|layer| format!("mean_{layer}"));
        cls.chain(mean).collect::<Vec<_>>().join(" ")
    }
}

impl Embedded {
    /// Reads all examples, or the labelled ones.
    ///
    /// # Errors
    ///
    /// As [`Examples::read`].
    pub(super) fn read(
        reader: &CacheReader,
        embedding: &Embedding,
        labelled: bool,
    ) -> Result<Embedded, Error> {
        let examples = Examples::read(reader, &embedding.selection(labelled))?;
        let slices = reader.slices()?;
        let mut of_sample: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (row, slice) in slices.iter().enumerate().filter(|(_, s)| s.view == 0) {
            of_sample.entry(&slice.sample).or_default().push(row);
        }
        let row = |case: &Case| {
            let rows = of_sample
                .get(case.sample.as_str())
                .cloned()
                .unwrap_or_default();
            let own = rows
                .iter()
                .find(|&&row| Some(slices[row].slice) == case.slice);
            own.copied().unwrap_or_else(|| middle(&slices, rows))
        };
        let name = |case: &Case| match (case.slice, of_sample.get(case.sample.as_str())) {
            (Some(slice), Some(rows)) if rows.len() > 1 => format!("{}:{slice}", case.sample),
            _ => case.sample.clone(),
        };
        Ok(Embedded {
            rows: examples.cases.iter().map(row).collect(),
            names: examples.cases.iter().map(name).collect(),
            examples,
            slices,
        })
    }

    /// A record of a look at all examples. `what` are the options, of which `probe` is the name of the command.
    pub(super) fn record(
        &self,
        reader: &CacheReader,
        embedding: &Embedding,
        what: Map<String, Value>,
    ) -> Result<RunRecord, Error> {
        let unit = self.examples.unit;
        let pool = embedding.pool.filter(|_| unit == Unit::Volume);
        let settings = Settings {
            split_name: embedding.split.clone(),
            ..settings(unit, pool, None)
        };
        let mut params = what.clone();
        let probe = params.shift_remove("probe");
        params.insert("unit".into(), unit.name().into());
        Ok(RunRecord {
            probe: probe
                .as_ref()
                .and_then(Value::as_str)
                .unwrap_or_default()
                .into(),
            params,
            ..record(reader, &settings, what)?
        })
    }

    /// Number of examples.
    pub(super) fn len(&self) -> usize {
        self.examples.cases.len()
    }

    /// Features of all examples, rows of length 1, `[N, F]`.
    pub(super) fn normalised(&self) -> Array2<f32> {
        self.examples
            .normalised(&(0..self.len()).collect::<Vec<_>>())
    }

    /// The chosen examples. A slice of a volume stands for the volume.
    ///
    /// # Errors
    ///
    /// [`ExploreError::NoSuchCase`](crate::error::ExploreError::NoSuchCase).
    pub(super) fn chosen(
        &self,
        reader: &CacheReader,
        choice: &Choice,
    ) -> Result<Vec<usize>, Error> {
        let rows = choice.rows(reader, &self.slices)?;
        let is_of = |example: &usize, row: usize| match self.examples.unit {
            Unit::Slice => self.rows[*example] == row,
            Unit::Volume => self.examples.cases[*example].sample == self.slices[row].sample,
        };
        let example = |&row: &usize| (0..self.len()).find(|example| is_of(example, row));
        let mut chosen: Vec<usize> = Vec::new();
        for example in rows.iter().filter_map(example) {
            if !chosen.contains(&example) {
                chosen.push(example);
            }
        }
        Ok(chosen)
    }

    /// Names of the classes that an example has; empty if none is known.
    pub(super) fn label(&self, example: usize) -> String {
        let classes = self.examples.classes.iter().enumerate();
        let row = self.examples.rows[example][0];
        let states = |class| self.examples.targets.is(row, class);
        let present: Vec<&str> = classes
            .clone()
            .filter(|&(class, _)| states(class) == Some(true))
            .map(|(_, name)| name.as_str())
            .collect();
        let is_known = classes
            .into_iter()
            .any(|(class, _)| states(class).is_some());
        if present.is_empty() && is_known {
            return "none".into();
        }
        present.join(", ")
    }

    /// The upright picture of an example whose longer side is at most `longest` pixels; `None` if the cache has no
    /// pictures.
    pub(super) fn picture(
        &self,
        reader: &CacheReader,
        example: usize,
        longest: u32,
    ) -> Result<Option<GrayImage>, Error> {
        if !reader.meta().has_pictures {
            return Ok(None);
        }
        let row = self.rows[example];
        let picture = reader.picture(row)?;
        Ok(Some(grey(&picture, &self.slices[row], longest)))
    }
}
