//! Scores of cases beside their targets, in memory and as Parquet.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray, UInt32Array,
};
use arrow::datatypes::{Float64Type, UInt32Type};
use arrow::record_batch::RecordBatch;
use common::files::write_whole;
use ndarray::{Array2, Axis};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::error::FileError;
use crate::error::MeasureError;
use crate::error::{Cause, Error};
use crate::examples::Case;
use crate::scores::{ScoreKind, Scores};
use crate::targets::Targets;

/// Key of the task in the metadata of the file: whether each case is of exactly one class.
const TASK: &str = "slicebank.task";
const SINGLE_LABEL: &str = "single-label";
/// Key of the meaning of the scores in the metadata of the file; absent for probabilities.
const SCORES: &str = "slicebank.scores";
const DECISION_VALUES: &str = "decision-values";

/// Scores of `N` cases for `C` classes, and their targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// `[N, C]`.
    pub scores: Scores,
    /// Targets of the `N` cases.
    pub targets: Targets,
    /// Samples, slices and patients of the `N` cases.
    pub cases: Vec<Case>,
}

impl Predictions {
    /// One case per patient: scores are means over the cases of the patient; a class is present if any case
    /// has it, else unknown if it is unknown for any, else absent. A case without a patient remains a case of
    /// its own.
    ///
    /// # Errors
    ///
    /// [`Error::PatientLabels`] if a patient has cases of different exclusive classes.
    pub fn per_patient(&self) -> Result<Predictions, Error> {
        let mut patients: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, case) in self.cases.iter().enumerate() {
            patients.entry(case.cluster()).or_default().push(index);
        }
        let groups: Vec<Vec<usize>> = patients.into_values().collect();
        let values = &self.scores.values;
        let mut means = Array2::zeros((groups.len(), values.ncols()));
        for (mut row, group) in means.outer_iter_mut().zip(&groups) {
            let mean = values.select(Axis(0), group).mean_axis(Axis(0));
            row.assign(&mean.unwrap_or_default());
        }
        let targets = self.targets.merged(&groups);
        let case = |group: &Vec<usize>| Case {
            slice: None,
            ..self.cases[group[0]].clone()
        };
        Ok(Predictions {
            scores: Scores {
                values: means,
                kind: self.scores.kind,
            },
            targets: targets.map_err(|group| Error::PatientLabels {
                patient: self.cases[groups[group][0]].cluster().into(),
            })?,
            cases: groups.iter().map(case).collect(),
        })
    }

    /// Some of the cases, in this order.
    pub(crate) fn part(&self, cases: &[usize]) -> Predictions {
        Predictions {
            scores: Scores {
                values: self.scores.values.select(Axis(0), cases),
                kind: self.scores.kind,
            },
            targets: self.targets.select(cases),
            cases: cases.iter().map(|&case| self.cases[case].clone()).collect(),
        }
    }

    /// Writes a row per case: `sample`, `slice`, `patient`, then `target/CLASS` and `score/CLASS` for
    /// each of `names`. The file appears under its name only when it is whole.
    ///
    /// # Errors
    ///
    /// [`FileError::Output`] if it cannot be written.
    pub fn write(&self, path: &Path, names: &[String]) -> Result<(), Error> {
        let failed = |source: Cause| {
            Error::File(FileError::Output {
                path: path.into(),
                source,
            })
        };
        let bytes = self.to_bytes(names).map_err(failed)?;
        write_whole(path, &bytes).map_err(|error| failed(error.into()))
    }

    fn to_bytes(&self, names: &[String]) -> Result<Vec<u8>, Cause> {
        let batch = RecordBatch::try_from_iter_with_nullable(self.columns(names))?;
        let compression = Compression::ZSTD(ZstdLevel::default());
        let task = match self.targets {
            Targets::Single(_) => SINGLE_LABEL,
            Targets::Multi(_) => "multi-label",
        };
        let mut metadata = vec![KeyValue::new(TASK.to_owned(), task.to_owned())];
        if !self.scores.kind.is_probability() {
            metadata.push(KeyValue::new(SCORES.to_owned(), DECISION_VALUES.to_owned()));
        }
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_key_value_metadata(Some(metadata));
        let mut writer =
            ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build()))?;
        writer.write(&batch)?;
        Ok(writer.into_inner()?)
    }

    fn columns(&self, names: &[String]) -> Vec<(String, ArrayRef, bool)> {
        let samples = self.cases.iter().map(|case| Some(case.sample.as_str()));
        let slices = self.cases.iter().map(|case| case.slice);
        let patients = self.cases.iter().map(|case| case.patient.as_deref());
        let mut columns: Vec<(String, ArrayRef, bool)> = vec![
            (
                "sample".into(),
                Arc::new(StringArray::from_iter(samples)),
                false,
            ),
            (
                "slice".into(),
                Arc::new(UInt32Array::from_iter(slices)),
                true,
            ),
            (
                "patient".into(),
                Arc::new(StringArray::from_iter(patients)),
                true,
            ),
        ];
        for (class, name) in names.iter().enumerate() {
            let states = (0..self.cases.len()).map(|case| self.targets.is(case, class));
            let states = Arc::new(BooleanArray::from_iter(states));
            columns.push((format!("target/{name}"), states, true));
        }
        for (class, name) in names.iter().enumerate() {
            let scores = self.scores.values.column(class).to_vec();
            let scores = Arc::new(Float64Array::from(scores));
            columns.push((format!("score/{name}"), scores, false));
        }
        columns
    }

    /// The same predictions in the order of `cases`.
    ///
    /// # Errors
    ///
    /// [`MeasureError::UnlikeCases`] if a case is missing, or there are others.
    pub fn in_order_of(&self, cases: &[Case]) -> Result<Predictions, Error> {
        let key = |case: &Case| (case.sample.clone(), case.slice);
        let places = self.cases.iter().enumerate();
        let places: HashMap<_, usize> = places.map(|(at, case)| (key(case), at)).collect();
        let order = cases.iter().map(|case| places.get(&key(case)).copied());
        let order: Option<Vec<usize>> = order.collect();
        match order.filter(|order| order.len() == self.cases.len()) {
            Some(order) => Ok(self.part(&order)),
            None => Err(Error::Measure(MeasureError::UnlikeCases)),
        }
    }

    /// Reads what [`write`](Predictions::write) wrote, and the classes' names.
    ///
    /// # Errors
    ///
    /// [`FileError::Input`] if there is no such file, or it is damaged.
    pub fn read(path: &Path) -> Result<(Predictions, Vec<String>), Error> {
        read(path).map_err(|source| {
            Error::File(FileError::Input {
                path: path.into(),
                source,
            })
        })
    }
}

fn read(path: &Path) -> Result<(Predictions, Vec<String>), Cause> {
    let (batch, metadata) = cache::read_table(path).map_err(|error| match error {
        cache::Error::Io { source, .. } => Cause::from(source),
        cache::Error::Parquet { source, .. } => Cause::from(source),
        other => Cause::from(other),
    })?;
    let has = |key: &str, value: &str| {
        let mut pairs = metadata.iter();
        pairs.any(|pair| pair.key == key && pair.value.as_deref() == Some(value))
    };
    let schema = batch.schema();
    let fields = schema.fields().iter();
    let names = fields.filter_map(|field| Some(field.name().strip_prefix("score/")?.to_owned()));
    let names: Vec<String> = names.collect();
    cache::check_class_names(&names)?;
    let table = Table(&batch);
    let (values, states) = table.scores(&names)?;
    let targets = if has(TASK, SINGLE_LABEL) {
        states
            .exclusive()
            .ok_or("a case is not of exactly one class")?
    } else {
        states
    };
    let kind = if has(SCORES, DECISION_VALUES) {
        ScoreKind::DecisionValue
    } else {
        ScoreKind::Probability
    };
    let predictions = Predictions {
        scores: Scores { values, kind },
        targets,
        cases: table.cases()?,
    };
    Ok((predictions, names))
}

/// A table of scores, of any content.
struct Table<'a>(&'a RecordBatch);

impl Table<'_> {
    fn column(&self, name: &str) -> Result<&ArrayRef, String> {
        let column = self.0.column_by_name(name);
        column.ok_or_else(|| format!("the column `{name}` is missing"))
    }

    fn strings(&self, name: &str) -> Result<&StringArray, String> {
        let column = self.column(name)?.as_string_opt::<i32>();
        column.ok_or_else(|| other_type(name))
    }

    /// Scores and targets `[N, C]` of the classes `names`.
    fn scores(&self, names: &[String]) -> Result<(Array2<f64>, Targets), Cause> {
        let shape = (self.0.num_rows(), names.len());
        let (mut scores, mut states) = (Array2::zeros(shape), Array2::from_elem(shape, None));
        for (class, name) in names.iter().enumerate() {
            let (score, target) = (format!("score/{name}"), format!("target/{name}"));
            let values = self.column(&score)?.as_primitive_opt::<Float64Type>();
            let values = values.ok_or_else(|| other_type(&score))?;
            if values.null_count() > 0 {
                return Err(format!("the column `{score}` has rows without a score").into());
            }
            let present = self.column(&target)?.as_boolean_opt();
            let present = present.ok_or_else(|| other_type(&target))?;
            for case in 0..shape.0 {
                scores[[case, class]] = values.value(case);
                states[[case, class]] = present.is_valid(case).then(|| present.value(case));
            }
        }
        Ok((scores, Targets::Multi(states)))
    }

    fn cases(&self) -> Result<Vec<Case>, Cause> {
        let (samples, patients) = (self.strings("sample")?, self.strings("patient")?);
        let slices = self.column("slice")?.as_primitive_opt::<UInt32Type>();
        let slices = slices.ok_or_else(|| other_type("slice"))?;
        if samples.null_count() > 0 {
            return Err("a case has no sample".into());
        }
        let case = |row| Case {
            sample: samples.value(row).to_owned(),
            slice: slices.is_valid(row).then(|| slices.value(row)),
            patient: patients
                .is_valid(row)
                .then(|| patients.value(row).to_owned()),
            split: None,
        };
        Ok((0..self.0.num_rows()).map(case).collect())
    }
}

fn other_type(column: &str) -> String {
    format!("the column `{column}` has another type")
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn case(sample: &str, patient: Option<&str>) -> Case {
        Case {
            sample: sample.into(),
            slice: Some(3),
            patient: patient.map(Into::into),
            split: None,
        }
    }

    fn predictions(targets: Targets) -> Predictions {
        Predictions {
            scores: Scores::probabilities(array![[0.1, 0.9], [0.4, 0.6], [0.8, 0.2]]),
            targets,
            cases: vec![case("a", Some("p")), case("b", None), case("c", Some("p"))],
        }
    }

    #[test]
    fn what_was_written_is_read_again_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["left".to_owned(), "right, upper".to_owned()];
        let single = predictions(Targets::Single(vec![1, 0, 0]));
        let multi = predictions(Targets::Multi(array![
            [Some(true), None],
            [Some(false), Some(true)],
            [None, None]
        ]));
        let mut decisions = single.clone();
        decisions.scores.kind = ScoreKind::DecisionValue;
        for written in [single, multi, decisions] {
            let path = folder.path().join("new/scores.parquet");
            written.write(&path, &names).unwrap();
            let (read, found) = Predictions::read(&path).unwrap();
            assert_eq!((&read, &found[..]), (&written, &names[..]));
            let mut turned = written.cases.clone();
            turned.reverse();
            let ordered = read.in_order_of(&turned).unwrap();
            let [found, expected] = [&ordered, &written].map(|table| &table.scores.values);
            assert_eq!(found.row(0), expected.row(2));
            assert!(matches!(
                read.in_order_of(&turned[1..]),
                Err(Error::Measure(MeasureError::UnlikeCases))
            ));
        }
        assert_eq!(
            std::fs::read_dir(folder.path().join("new"))
                .unwrap()
                .count(),
            1
        );
    }

    #[test]
    fn a_file_that_is_no_table_of_scores_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.parquet");
        std::fs::write(&path, "nothing").unwrap();
        let text = Predictions::read(&path).unwrap_err().to_string();
        assert!(text.contains("scores.parquet`: cannot read it"), "{text}");
    }

    #[test]
    fn damaged_files_are_errors_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.parquet");
        let names = ["left".to_owned(), "right".to_owned()];
        let written = predictions(Targets::Single(vec![1, 0, 0]));
        written.write(&path, &names).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for place in (4..whole.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (place % 8);
            std::fs::write(&path, bytes).unwrap();
            if let Err(error) = Predictions::read(&path) {
                assert!(
                    error
                        .to_string()
                        .contains("scores.parquet`: cannot read it")
                );
            }
        }
    }

    #[test]
    fn a_patient_has_the_mean_score_and_every_class_of_its_cases() {
        let multi = predictions(Targets::Multi(array![
            [Some(true), None],
            [Some(false), Some(true)],
            [Some(false), None]
        ]));
        let found = multi.per_patient().unwrap();
        assert_eq!(
            found.cases.iter().map(Case::cluster).collect::<Vec<_>>(),
            ["b", "p"]
        );
        assert!((found.scores.values[[1, 0]] - 0.45).abs() < 1e-12);
        let expected = array![[Some(false), Some(true)], [Some(true), None]];
        assert_eq!(found.targets, Targets::Multi(expected));
        let differing = predictions(Targets::Single(vec![1, 0, 0])).per_patient();
        assert!(matches!(differing, Err(Error::PatientLabels { .. })));
    }
}
