//! Names of run records, which people can type.

use std::collections::HashMap;

use super::RunRecord;

/// Least number of digits of the key in a name.
const DIGITS: usize = 4;
/// Maximum number of characters of a dataset or model in a name.
const LONGEST: usize = 40;

/// Names in a file of records.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// The key of the evaluation with each name, without the number of the result.
    keys: HashMap<String, String>,
}

impl Names {
    /// Names the records of an evaluation `PROBE-DATASET-MODEL-HASH`, followed by `.RESULT` if there are several. The
    /// hash is the beginning of the key, longer than 4 digits where an earlier evaluation has this name.
    pub(super) fn give(&mut self, records: &mut [RunRecord]) {
        let Some(first) = records.first() else {
            return;
        };
        let stem = self.stem(first);
        for record in &mut *records {
            record.name = if record.results > 1 {
                format!("{stem}.{}", record.result)
            } else {
                stem.clone()
            };
        }
        self.keys.insert(stem, records[0].key.clone());
    }

    /// The shortest name that no other evaluation has.
    fn stem(&self, record: &RunRecord) -> String {
        let (begin, key) = (begin(record), safe(&record.key));
        let of_length = |digits: usize| format!("{begin}-{}", &key[..digits.min(key.len())]);
        let is_free = |name: &String| self.keys.get(name).is_none_or(|key| *key == record.key);
        let mut names = (DIGITS..=key.len()).map(of_length);
        names.find(is_free).unwrap_or_else(|| of_length(key.len()))
    }
}

/// `PROBE-DATASET-MODEL-KEY-NUMBER`.
pub(super) fn file_name(record: &RunRecord, number: usize) -> String {
    format!("{}-{}-{number}", begin(record), safe(&record.key))
}

/// `PROBE-DATASET-MODEL`.
fn begin(record: &RunRecord) -> String {
    let parts = [&record.probe, &record.dataset, &record.model].map(|part| safe(part));
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

/// Letters, digits, `_` and `.` of ASCII; a hyphen for others, none at the ends.
fn safe(part: &str) -> String {
    let mut safe = String::new();
    for letter in part.chars() {
        if letter.is_ascii_alphanumeric() || ['_', '.'].contains(&letter) {
            safe.push(letter);
        } else if !safe.ends_with('-') {
            safe.push('-');
        }
    }
    safe.truncate(LONGEST);
    safe.trim_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    fn of(dataset: &str, key: &str, results: usize) -> Vec<RunRecord> {
        let numbers = 1..=results;
        let records = numbers.map(|result| RunRecord {
            dataset: dataset.into(),
            key: key.into(),
            result,
            results,
            ..record()
        });
        records.collect()
    }

    fn given(names: &mut Names, mut records: Vec<RunRecord>) -> Vec<String> {
        names.give(&mut records);
        records.into_iter().map(|record| record.name).collect()
    }

    #[test]
    fn names_are_unique_and_do_not_change_with_later_evaluations() {
        let mut names = Names::default();
        assert_eq!(
            given(&mut names, of("brain", "3f2a01", 1)),
            ["knn-brain-m-3f2a"]
        );
        assert_eq!(
            given(&mut names, of("brain", "3f2a0f", 1)),
            ["knn-brain-m-3f2a0"]
        );
        assert_eq!(
            given(&mut names, of("brain", "3f2a0b", 1)),
            ["knn-brain-m-3f2a0b"]
        );
        assert_eq!(
            given(&mut names, of("brain", "3f2a01", 1)),
            ["knn-brain-m-3f2a"]
        );
        let two = ["knn-brain-m-77aa.1", "knn-brain-m-77aa.2"];
        assert_eq!(given(&mut names, of("brain", "77aa", 2)), two);
    }

    #[test]
    fn names_are_safe_in_shells_and_paths() {
        let mut names = Names::default();
        for (dataset, expected) in [
            ("../a b\n\u{1b}[31m; rm *", "knn-a-b-31m-rm-m-k"),
            ("ä", "knn-m-k"),
        ] {
            assert_eq!(given(&mut names, of(dataset, "k", 1)), [expected]);
        }
        let long = given(&mut names, of(&"x".repeat(1000), "k", 1));
        assert!(long[0].len() < 60, "{long:?}");
    }
}
