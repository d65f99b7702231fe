//! What else an embedding knows: metadata, patients, duplicates across splits, drift between two caches.
//!
//! The unit is the sample: the tokens of its slices are averaged. Nothing is learned from the labels of the dataset.

mod columns;
mod decode;
mod drift;
mod duplicates;
mod patients;
mod subject;

use std::time::Instant;

use cache::{CacheReader, Split};
use serde_json::{Map, Value, json};

pub use self::columns::BUILT_IN;
use self::columns::{Column, column};
use self::decode::{Decoded, FOLDS, decode};
pub use self::duplicates::USUAL_SHARE;
use self::subject::{Subject, check_comparable};
use crate::Error;
use crate::evaluate::{Identity, NOTHING_CHOSEN, Settings, blank, fields};
use crate::examples::{Case, Unit};
use crate::features::Tokens;
use crate::metrics::measures::Confidence;
use crate::protocol::Protocol;
use crate::record::RunRecord;

/// Name in records.
pub const NAME: &str = "trust";

/// What is asked of a cache.
#[derive(Clone, Debug)]
pub struct Questions {
    /// Tokens used as features.
    pub tokens: Tokens,
    /// Metadata columns to predict: [`BUILT_IN`] ones and label sets. All that the cache has if empty.
    pub columns: Vec<String>,
    /// Name of the split of the samples; `None` for that of the extraction.
    pub split_name: Option<String>,
    /// Cosine from which two samples are near-duplicates; by default that of [`USUAL_SHARE`] of the usual distance of
    /// neighbours.
    pub cosine: Option<f64>,
    /// Random permutations for p-values.
    pub permutations: usize,
    /// Intervals by patients, and the seed of all draws.
    pub confidence: Option<Confidence>,
    /// Seed of folds, permutations and draws.
    pub seed: u64,
}

/// A cache, its label sets, and another cache to compare with.
#[derive(Debug)]
pub struct Caches<'a> {
    /// The cache.
    pub reader: &'a CacheReader,
    /// The same cache with each of the label sets that are asked for.
    pub sets: &'a [CacheReader],
    /// Another cache of the same backbone.
    pub other: Option<&'a CacheReader>,
}

impl Questions {
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            protocol: Protocol::Strict,
            unit: Some(Unit::Volume),
            pool: None,
            split_name: self.split_name.clone(),
            fit: Vec::new(),
            eval: Split::Test,
            val_share: None,
            control: None,
            seed: self.seed,
            confidence: self.confidence,
            per_patient: false,
        }
    }

    /// All that the answers depend on.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if slices or the named split cannot be read.
    pub fn identity(&self, caches: &Caches<'_>) -> Result<Identity, Error> {
        let set = |reader: &CacheReader| reader.labels().map(|set| set.sha256.clone());
        let mut files: Vec<String> = caches.sets.iter().filter_map(set).collect();
        files.extend(caches.other.map(|other| other.sha256().to_owned()));
        let options = json!({
            "probe": NAME,
            "tokens": self.tokens,
            "columns": self.columns,
            "cosine": self.cosine,
            "permutations": self.permutations,
            "against": caches.other.map(name_of),
        });
        self.settings()
            .identity(caches.reader, fields(&options), NOTHING_CHOSEN, &files)
    }

    /// The answers, a record each. That of a question that the cache cannot answer has no measures, and `why` among
    /// the parameters.
    ///
    /// # Errors
    ///
    /// [`Error::OtherBackbone`] if the other cache has other tokens, [`Error::NotFinite`], and [`Error::Cache`] if
    /// a cache cannot be read.
    pub fn ask(&self, caches: &Caches<'_>, say: &dyn Fn(&str)) -> Result<Vec<RunRecord>, Error> {
        let identity = self.identity(caches)?;
        if let Some(other) = caches.other {
            check_comparable(caches.reader, other)?;
        }
        let subject = Subject::read(caches.reader, &self.tokens, self.split_name.as_deref())?;
        let mut answers = Vec::new();
        let mut timed = |answer: &mut dyn FnMut() -> Result<Answer, Error>| {
            let start = Instant::now();
            let mut answer = answer()?;
            answer.seconds = start.elapsed().as_secs_f64();
            answers.push(answer);
            Ok::<_, Error>(())
        };
        let columns = self.columns(caches);
        let all = columns.len() + 2 + usize::from(caches.other.is_some());
        let mut number = 0;
        let mut say = |question: &str| {
            number += 1;
            say(&format!("question {number} of {all}: {question}"));
        };
        for name in &columns {
            say(&format!("column {name}"));
            timed(&mut || {
                let column = column(name, &subject, caches)?;
                self.of_column(name, &subject, column)
            })?;
        }
        say("patients");
        timed(&mut || patients::answer(&subject, self))?;
        say("duplicates");
        timed(&mut || Ok(duplicates::answer(&subject, self)))?;
        if let Some(other) = caches.other {
            say("drift");
            timed(&mut || {
                let second = Subject::read(other, &self.tokens, None)?;
                drift::answer(&subject, (&second, other), self)
            })?;
        }
        Ok(self.records(caches.reader, &identity, answers))
    }

    /// The columns to predict.
    fn columns(&self, caches: &Caches<'_>) -> Vec<String> {
        if !self.columns.is_empty() {
            return self.columns.clone();
        }
        let sets = caches.sets.iter().filter_map(CacheReader::labels);
        let sets = sets.map(|set| set.name.clone());
        BUILT_IN
            .iter()
            .map(ToString::to_string)
            .chain(sets)
            .collect()
    }

    fn of_column(
        &self,
        name: &str,
        subject: &Subject,
        column: Result<Column, String>,
    ) -> Result<Answer, Error> {
        let answer = Answer::new(format!("column {name}"), "column", json!({"column": name}));
        let column = match column {
            Ok(column) => column,
            Err(why) => return Ok(answer.without(why)),
        };
        let mut answer = answer;
        answer
            .params
            .insert("classes".into(), json!(column.classes));
        answer
            .params
            .insert("counts".into(), json!(column.counts()));
        answer
            .params
            .insert("left_out".into(), column.left_out().into());
        let who: Vec<&str> = subject.cases.iter().map(Case::cluster).collect();
        let x = subject.features.view();
        match decode(x, &column.values, column.classes.len(), &who, self)? {
            Ok(decoded) => Ok(answer.with(&decoded, subject.word())),
            Err(why) => Ok(answer.without(why)),
        }
    }

    fn records(
        &self,
        reader: &CacheReader,
        identity: &Identity,
        answers: Vec<Answer>,
    ) -> Vec<RunRecord> {
        let results = answers.len();
        let settings = self.settings();
        let record = |(number, answer): (usize, Answer)| RunRecord {
            probe: NAME.into(),
            setting: answer.setting,
            params: answer.params,
            split: "all".into(),
            n_train: answer.cases,
            n_test: answer.cases,
            metrics: answer.metrics,
            ci: answer.ci,
            warnings: answer.warnings,
            seconds: answer.seconds,
            result: number + 1,
            results,
            ..blank(reader, &settings, identity)
        };
        answers.into_iter().enumerate().map(record).collect()
    }
}

/// An answer to a question, as the fields of a record.
#[derive(Clone, Debug, Default)]
struct Answer {
    setting: String,
    params: Map<String, Value>,
    cases: usize,
    metrics: Map<String, Value>,
    ci: Option<Map<String, Value>>,
    warnings: Vec<String>,
    seconds: f64,
}

impl Answer {
    fn new(setting: String, question: &str, params: Value) -> Answer {
        let mut all =
            fields(&json!({"question": question, "unit": "volume", "measured_unit": "volume"}));
        all.extend(fields(&params));
        Answer {
            setting,
            params: all,
            ..Answer::default()
        }
    }

    /// The answer that there is none.
    fn without(mut self, why: String) -> Answer {
        self.params.insert("why".into(), why.into());
        self
    }

    /// Adds a measure.
    fn measure(&mut self, name: &str, value: impl Into<Value>) {
        self.metrics.insert(name.into(), value.into());
    }

    /// Adds an interval.
    fn interval(&mut self, name: &str, ends: Option<[f64; 2]>, (level, word): (f64, &str)) {
        let Some(ends) = ends else {
            return;
        };
        let method = format!("bootstrap of {word}s");
        let ci = self
            .ci
            .get_or_insert_with(|| fields(&json!({"level": level, "method": method})));
        ci.insert(name.into(), json!(ends));
    }

    /// Adds the measures of a classifier.
    fn with(mut self, decoded: &Decoded, word: &str) -> Answer {
        self.cases = decoded.cases;
        self.params.insert("folds".into(), FOLDS.into());
        self.params
            .insert("permuted".into(), decoded.permuted.into());
        self.measure("auroc_macro", decoded.auroc);
        self.measure("balanced_accuracy", decoded.balanced_accuracy);
        self.measure("chance_auroc", 0.5);
        self.measure("chance_balanced_accuracy", decoded.chance);
        if let Some(p) = decoded.p {
            self.measure("p", p);
        }
        self.interval("auroc_macro", decoded.interval, (decoded.level, word));
        self
    }
}

/// Dataset, backbone and input size of a cache.
fn name_of(reader: &CacheReader) -> String {
    let meta = reader.meta();
    format!("{}/{}@{}", meta.dataset, meta.model.name, meta.image_size)
}

/// The share of permutations that reach what was found, which counts as one itself.
fn p_value(found: f64, permuted: &[f64]) -> f64 {
    let reached = permuted.iter().filter(|value| **value >= found).count();
    (1 + reached) as f64 / (1 + permuted.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::subject::Subject;
    use super::*;
    use ndarray::Array2;

    pub(super) fn questions() -> Questions {
        Questions {
            tokens: Tokens::last_blocks(1),
            columns: Vec::new(),
            split_name: None,
            cosine: Some(0.999),
            permutations: 40,
            confidence: Some(Confidence {
                draws: 200,
                level: 0.95,
                seed: 0,
            }),
            seed: 0,
        }
    }

    /// A sample of each patient, in a split.
    pub(super) fn cases(patients: &[&str], splits: &[Option<Split>]) -> Vec<Case> {
        let case = |(number, (patient, split)): (usize, (&&str, &Option<Split>))| Case {
            sample: format!("s{number}"),
            slice: None,
            patient: Some(patient.to_string()),
            split: *split,
        };
        patients.iter().zip(splits).enumerate().map(case).collect()
    }

    pub(super) fn subject(rows: Array2<f32>, cases: Vec<Case>) -> Subject {
        Subject::of(rows, cases)
    }

    #[test]
    fn the_found_value_counts_among_the_permuted_ones() {
        assert_eq!(p_value(1.0, &[0.0, 0.5, 0.9]), 0.25);
        assert_eq!(p_value(0.5, &[0.0, 0.5, 0.9]), 0.75);
    }
}
