//! Parts of a dataset for several machines: `--shard I/N`.

use std::env;
use std::fmt;
use std::fs;
use std::ops::Range;
use std::str::FromStr;

use cache::MOST_PARTS;
use imaging::read;

use crate::Error;
use crate::dataset::{Dataset, Sample};

/// A part of a dataset: number `index`, from 1, of `of` parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatasetPart {
    /// Its number, from 1.
    pub index: u32,
    /// Number of parts.
    pub of: u32,
}

/// A part as it is named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartRule {
    /// `I/N`: this part.
    Given(DatasetPart),
    /// `auto/N`: the index of the task in its array or Job, of `N`; `auto`: the number is that of the array.
    Auto(Option<u32>),
}

impl FromStr for PartRule {
    type Err = Error;

    fn from_str(word: &str) -> Result<PartRule, Error> {
        let number = |text: &str| text.parse().ok().filter(|of| (1..=MOST_PARTS).contains(of));
        let rule = match word.split_once('/') {
            None if word == "auto" => Some(PartRule::Auto(None)),
            Some(("auto", of)) => number(of).map(|of| PartRule::Auto(Some(of))),
            Some((index, of)) => number(index).zip(number(of)).and_then(|(index, of)| {
                (index <= of).then_some(PartRule::Given(DatasetPart { index, of }))
            }),
            None => None,
        };
        rule.ok_or_else(|| wrong(format!("`{word}` is not a part"), FORMS))
    }
}

const FORMS: &str = "give `--shard I/N` with I from 1 to N, for instance `--shard 3/8`, or `auto` in a Slurm array, or `auto/N` in a Slurm array or a Kubernetes Job";

fn wrong(found: String, hint: &str) -> Error {
    Error::Options {
        found,
        hint: hint.to_owned(),
    }
}

impl PartRule {
    /// The part, by the variables of Slurm or Kubernetes if they are asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if the variables are missing or do not name a part.
    pub fn part(self) -> Result<DatasetPart, Error> {
        match self {
            PartRule::Given(part) => Ok(part),
            PartRule::Auto(of) => of_task(of, &|name| env::var(name).ok()),
        }
    }
}

/// The part of this task of a Slurm array (`SLURM_ARRAY_TASK_ID`) or a Kubernetes Job
/// (`JOB_COMPLETION_INDEX`). Without `of`, the array has all parts, and nothing else.
fn of_task(
    of: Option<u32>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<DatasetPart, Error> {
    let number = |name: &str| -> Result<Option<u32>, Error> {
        let Some(text) = variable(name) else {
            return Ok(None);
        };
        let parsed = text.trim().parse().ok();
        let found = || format!("the variable {name} is `{text}`, not a number");
        parsed.map(Some).ok_or_else(|| wrong(found(), FORMS))
    };
    let (name, index, of) = match (number("SLURM_ARRAY_TASK_ID")?, of) {
        (Some(id), Some(of)) => ("SLURM_ARRAY_TASK_ID", id, of),
        (Some(id), None) => {
            let bounds =
                ["COUNT", "MIN", "MAX"].map(|end| number(&format!("SLURM_ARRAY_TASK_{end}")));
            let [Some(count), Some(least), Some(most)] = transposed(bounds)? else {
                let found = "SLURM_ARRAY_TASK_COUNT, _MIN or _MAX is missing";
                return Err(wrong(
                    found.to_owned(),
                    "give the number of parts: `--shard auto/N`",
                ));
            };
            if most.checked_sub(least).and_then(|d| d.checked_add(1)) != Some(count) {
                let found = format!("the array has {count} of the tasks {least} to {most}");
                let hint =
                    "give the number of parts, `--shard auto/N`, and number the tasks from 1 to N";
                return Err(wrong(found, hint));
            }
            (
                "SLURM_ARRAY_TASK_ID",
                id.wrapping_sub(least).wrapping_add(1),
                count,
            )
        }
        (None, of) => {
            let index = number("JOB_COMPLETION_INDEX")?;
            let (Some(index), Some(of)) = (index, of) else {
                let found =
                    "`--shard auto` outside of a Slurm array, and not `auto/N` in a Kubernetes Job";
                return Err(wrong(found.to_owned(), FORMS));
            };
            ("JOB_COMPLETION_INDEX + 1", index.wrapping_add(1), of)
        }
    };
    if (1..=of).contains(&index) {
        return Ok(DatasetPart { index, of });
    }
    let found = format!("{name} is {index}, which is no part of {of}");
    Err(wrong(
        found,
        "number the tasks of a Slurm array from 1 to N, and give a Kubernetes Job `completions: N`",
    ))
}

fn transposed<T, const N: usize>(
    found: [Result<Option<T>, Error>; N],
) -> Result<[Option<T>; N], Error> {
    let mut values = Vec::with_capacity(N);
    for value in found {
        values.push(value?);
    }
    let mut values = values.into_iter();
    Ok(std::array::from_fn(|_| values.next().flatten()))
}

impl DatasetPart {
    /// Indices of its samples: consecutive ones, at least one, with about the same work in each part.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if there are more parts than samples.
    pub fn samples(self, dataset: &Dataset) -> Result<Range<usize>, Error> {
        let (count, of) = (dataset.samples.len(), self.of as usize);
        if of > count {
            let found = format!(
                "`--shard {self}`: the dataset has {}",
                common::counted(count, "sample")
            );
            return Err(wrong(
                found,
                "take at most as many parts as there are samples",
            ));
        }
        let ends = ends(&work(dataset), of);
        let index = self.index as usize;
        let start = index.checked_sub(2).map_or(0, |before| ends[before]);
        Ok(start..ends[index - 1])
    }
}

impl fmt::Display for DatasetPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// Work for each sample, in any unit: numbers of slices where all are known, else sizes of the images' files.
fn work(dataset: &Dataset) -> Vec<u64> {
    let slices = |sample: &Sample| match &sample.slices {
        Some(range) => Some(u64::from(range.end().saturating_sub(*range.start())) + 1),
        None => sample.is_picture().then_some(1),
    };
    let known: Option<Vec<u64>> = dataset.samples.iter().map(slices).collect();
    known.unwrap_or_else(|| {
        let size = |sample: &Sample| {
            let files = sample.image.files().iter();
            let files = files.filter_map(|file| read::file_behind(&dataset.root.join(file)).ok());
            let bytes: u64 = files
                .filter_map(|file| fs::metadata(file).ok())
                .map(|file| file.len())
                .sum();
            bytes.max(1)
        };
        dataset.samples.iter().map(size).collect()
    })
}

/// The ends of `parts` runs of about equal work, none of them empty; `work` is at least as long.
fn ends(work: &[u64], parts: usize) -> Vec<usize> {
    let total: u128 = work.iter().map(|&work| u128::from(work)).sum();
    let (mut end, mut done) = (0, 0_u128);
    let mut ends = Vec::with_capacity(parts);
    for part in 1..=parts {
        let most = work.len() - (parts - part);
        let wanted = total * part as u128;
        let first = end;
        // A sample belongs to the part that its middle is in.
        while end < most
            && (end == first || (2 * done + u128::from(work[end])) * parts as u128 <= 2 * wanted)
        {
            done += u128::from(work[end]);
            end += 1;
        }
        ends.push(end);
    }
    ends
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_named_by_numbers_or_by_the_scheduler() {
        let part = |index, of| DatasetPart { index, of };
        assert_eq!(
            "3/8".parse::<PartRule>().unwrap(),
            PartRule::Given(part(3, 8))
        );
        for word in [
            "0/8", "9/8", "8", "a/b", "1/0", "auto/0", "-1/2", "1/2/3", "",
        ] {
            let text = word.parse::<PartRule>().unwrap_err().to_string();
            assert!(text.contains("--shard 3/8"), "{text}");
        }
        let of = |of, variables: &[(&str, &str)]| {
            let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
            of_task(of, &|name| find(name).map(|(_, value)| (*value).to_owned()))
        };
        let slurm = |id, count, least, most| {
            ["ID", "COUNT", "MIN", "MAX"].map(|end| match end {
                "ID" => ("SLURM_ARRAY_TASK_ID", id),
                "COUNT" => ("SLURM_ARRAY_TASK_COUNT", count),
                "MIN" => ("SLURM_ARRAY_TASK_MIN", least),
                _ => ("SLURM_ARRAY_TASK_MAX", most),
            })
        };
        assert_eq!(of(None, &slurm("2", "4", "0", "3")).unwrap(), part(3, 4));
        assert_eq!(of(None, &slurm("4", "4", "1", "4")).unwrap(), part(4, 4));
        // One task of an array that is repeated.
        assert_eq!(of(Some(8), &slurm("5", "1", "5", "5")).unwrap(), part(5, 8));
        assert_eq!(
            of(Some(8), &[("JOB_COMPLETION_INDEX", "0")]).unwrap(),
            part(1, 8)
        );
        for (number, variables) in [
            (None, &slurm("5", "2", "3", "5")[..]),
            (None, &[("SLURM_ARRAY_TASK_ID", "5")]),
            (Some(8), &[("SLURM_ARRAY_TASK_ID", "0")]),
            (Some(8), &[("SLURM_ARRAY_TASK_ID", "x")]),
            (Some(8), &[("JOB_COMPLETION_INDEX", "8")]),
            (None, &[("JOB_COMPLETION_INDEX", "3")]),
            (Some(8), &[]),
            (None, &[]),
        ] {
            let text = of(number, variables).unwrap_err().to_string();
            assert!(text.contains("hint: "), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_balanced_and_none_is_empty(
            work in prop::collection::vec(1_u64..1000, 1..60),
            share in 0.0..1.0_f64,
        ) {
            let parts = 1 + (share * (work.len() - 1) as f64) as usize;
            let ends = ends(&work, parts);
            prop_assert_eq!(ends.len(), parts);
            prop_assert_eq!(ends[parts - 1], work.len());
            let (total, largest) = (work.iter().sum::<u64>(), work.iter().max().unwrap());
            let mut start = 0;
            for end in ends {
                prop_assert!(end > start);
                let sum: u64 = work[start..end].iter().sum();
                // At most half a sample too much at each end, and one sample in any case.
                prop_assert!(sum <= total / parts as u64 + 2 * largest);
                start = end;
            }
        }

        #[test]
        fn samples_of_equal_work_are_dealt_evenly(count in 1_usize..200, share in 0.0..1.0_f64) {
            let parts = 1 + (share * (count - 1) as f64) as usize;
            let ends = ends(&vec![1; count], parts);
            let starts = [0].into_iter().chain(ends.iter().copied());
            for (start, end) in starts.zip(&ends) {
                prop_assert!((count / parts..=count.div_ceil(parts)).contains(&(end - start)));
            }
        }
    }
}
