//! The samples of a cache, with what is asked about them.

use std::collections::HashMap;

use cache::{CacheReader, SliceMeta};
use half::f16;
use ndarray::{Array2, Axis};

use crate::Error;
use crate::examples::{Case, Examples, Pool, Selection, Unit};
use crate::features::Tokens;
use crate::protocol::Protocol;

/// The samples of a cache.
#[derive(Debug)]
pub(super) struct Subject {
    /// Means over the slices of each sample, `[N, F]`.
    pub(super) features: Array2<f16>,
    /// The same, each row of length 1.
    pub(super) unit: Array2<f32>,
    /// The samples.
    pub(super) cases: Vec<Case>,
    /// The first slice of each sample.
    pub(super) slices: Vec<SliceMeta>,
    /// The dataset.
    pub(super) dataset: String,
    word: &'static str,
}

impl Subject {
    pub(super) fn read(
        reader: &CacheReader,
        tokens: &Tokens,
        split: Option<&str>,
    ) -> Result<Subject, Error> {
        let examples = Examples::read(
            reader,
            &Selection {
                tokens: tokens.clone(),
                unit: Some(Unit::Volume),
                pool: Pool::Mean,
                split: split.map(str::to_owned),
                protocol: Protocol::Strict,
                labelled: false,
                control: None,
            },
        )?;
        let all: Vec<usize> = (0..examples.cases.len()).collect();
        let mut firsts: HashMap<String, SliceMeta> = HashMap::new();
        for slice in reader.slices()? {
            firsts.entry(slice.sample.clone()).or_insert(slice);
        }
        let slices = examples
            .cases
            .iter()
            .filter_map(|case| firsts.remove(&case.sample));
        Ok(Subject {
            features: examples.plain(&all),
            unit: examples.normalised(&all),
            slices: slices.collect(),
            dataset: reader.meta().dataset.clone(),
            word: examples.cluster_word(),
            cases: examples.cases,
        })
    }

    /// Samples with these features, without a cache.
    #[cfg(test)]
    pub(super) fn of(rows: Array2<f32>, cases: Vec<Case>) -> Subject {
        let mut unit = rows.clone();
        for mut row in unit.rows_mut() {
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            row /= length;
        }
        Subject {
            features: rows.mapv(f16::from_f32),
            unit,
            slices: Vec::new(),
            dataset: "d".into(),
            word: "patient",
            cases,
        }
    }

    /// Word for what is resampled: `patient`, or `sample` if no patient is known.
    pub(super) fn word(&self) -> &'static str {
        self.word
    }

    /// Some of the samples.
    pub(super) fn select(&self, samples: &[usize]) -> Subject {
        Subject {
            features: self.features.select(Axis(0), samples),
            unit: self.unit.select(Axis(0), samples),
            cases: samples.iter().map(|i| self.cases[*i].clone()).collect(),
            slices: samples
                .iter()
                .filter_map(|i| self.slices.get(*i).cloned())
                .collect(),
            dataset: self.dataset.clone(),
            word: self.word,
        }
    }
}

/// Checks that the tokens of two caches are of the same backbone and size.
pub(super) fn check_comparable(first: &CacheReader, second: &CacheReader) -> Result<(), Error> {
    let (a, b) = (first.meta(), second.meta());
    if a.model.sha256 == b.model.sha256 && a.image_size == b.image_size {
        return Ok(());
    }
    Err(Error::OtherBackbone {
        path: first.dir().into(),
        other: second.dir().into(),
    })
}
