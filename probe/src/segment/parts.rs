//! Rows that decoders learn from, are chosen on and are measured on.

use std::collections::BTreeSet;

use cache::{SliceMeta, Split};
use common::draw::equidistant;

use super::task::Task;
use crate::error::SegmentError;
use crate::hold_out::HeldOut;
use crate::{Error, random};

/// Rows of the parts of a training.
pub(super) struct Parts {
    /// Rows that the scan learns from.
    pub(super) scan: Vec<usize>,
    /// Rows on which learning rate and epochs are chosen.
    pub(super) choose: Vec<usize>,
    pub(super) chosen_on: Split,
    /// Rows that the final decoder learns from.
    pub(super) fit: Vec<usize>,
    pub(super) fitted_on: Vec<Split>,
    /// Whether a draw took all rows that there are.
    pub(super) takes_all: bool,
}

impl Task<'_> {
    /// Rows with masks of some splits.
    pub(super) fn part(&self, splits: &[Split], with_views: bool) -> Result<Vec<usize>, Error> {
        self.cases.part(self.reader, splits, with_views)
    }

    pub(super) fn parts(&self, shots: Option<usize>, seed: u64) -> Result<Parts, Error> {
        match shots {
            None => self.all_samples(),
            Some(shots) => self.few_samples(shots, seed),
        }
    }

    fn all_samples(&self) -> Result<Parts, Error> {
        let has_val = !self.cases.rows(&[Split::Val], false).is_empty();
        let chosen_on = self.settings.protocol.chosen_on(has_val);
        let fitted_on = vec![Split::Train, Split::Val];
        Ok(Parts {
            scan: self.part(&[Split::Train], true)?,
            choose: self.choose(chosen_on)?,
            chosen_on,
            fit: self.part(&fitted_on, true)?,
            fitted_on,
            takes_all: false,
        })
    }

    fn few_samples(&self, shots: usize, seed: u64) -> Result<Parts, Error> {
        let protocol = self.settings.protocol;
        let (fitted_on, chosen_on) = protocol.few_shot_splits();
        let pool = self.part(fitted_on, true)?;
        let slices = &self.cases.slices;
        let cluster = |row: usize| {
            let slice = &slices[row];
            let patient = slice.patient.as_ref().filter(|_| !protocol.one_draw());
            patient.unwrap_or(&slice.sample)
        };
        let taken: BTreeSet<&String> = if protocol.one_draw() {
            study_draw(slices, &pool, fitted_on, shots)
        } else {
            let known = pool.iter().map(|&row| cluster(row)).collect();
            random::sample(known, shots, seed, 0).collect()
        };
        let most = pool.len();
        let drawn: Vec<usize> = pool
            .into_iter()
            .filter(|&row| taken.contains(cluster(row)))
            .collect();
        Ok(Parts {
            takes_all: drawn.len() == most,
            scan: drawn.clone(),
            choose: self.choose(chosen_on)?,
            chosen_on,
            fit: drawn,
            fitted_on: fitted_on.to_vec(),
        })
    }

    /// Rows of the split to choose on; none if nothing is chosen.
    fn choose(&self, split: Split) -> Result<Vec<usize>, Error> {
        if self.options.scans() {
            self.part(&[split], false)
        } else {
            Ok(Vec::new())
        }
    }

    /// Warnings about the parts.
    ///
    /// # Errors
    ///
    /// [`SegmentError::OnlyBackground`] if there is nothing to learn, and, except in few-shot runs,
    /// [`SegmentError::ClassAbsent`] if a class of `test` or `val` is absent from the training data.
    pub(super) fn check(
        &self,
        parts: &Parts,
        test: &[usize],
        is_few: bool,
    ) -> Result<Vec<String>, Error> {
        let held_out = self.cases.held_out.iter();
        let mut warnings: Vec<String> = held_out.map(HeldOut::warning).collect();
        if parts.chosen_on == Split::Test && !parts.choose.is_empty() {
            warnings
                .push("the learning rate was chosen on `test`, as the study's code does".into());
        }
        let learnt = self.cases.present(&parts.scan);
        let scanned = (!is_few).then_some((&[Split::Train][..], &parts.scan));
        let chosen_on = (!parts.choose.is_empty())
            .then_some((std::slice::from_ref(&parts.chosen_on), &parts.choose));
        for (splits, rows) in scanned.into_iter().chain(chosen_on) {
            if self.cases.present(rows).into_iter().all(|class| class == 0) {
                return Err(Error::Segment(SegmentError::OnlyBackground {
                    path: self.reader.dir().into(),
                    split: crate::examples::join(splits),
                }));
            }
        }
        for rows in [test, &parts.choose[..]] {
            if let Some(&class) = self.cases.present(rows).difference(&learnt).next() {
                let class = self.cases.names[usize::from(class)].clone();
                if is_few {
                    warnings.push(format!("no slice of the draw has `{class}`"));
                } else {
                    let path = self.reader.dir().into();
                    return Err(Error::Segment(SegmentError::ClassAbsent { path, class }));
                }
            }
        }
        warnings.sort();
        warnings.dedup();
        let patients = |rows: &[usize]| -> BTreeSet<&String> {
            let slices = rows.iter().map(|&row| &self.cases.slices[row]);
            slices.filter_map(|slice| slice.patient.as_ref()).collect()
        };
        if let Some(patient) = patients(&parts.fit).intersection(&patients(test)).next() {
            warnings.push(format!(
                "the patient `{patient}` is in both `test` and the training data"
            ));
        }
        Ok(warnings)
    }
}

/// The draw of the study's code: equidistant samples of the rows `pool`, which are ordered by split, then by
/// name.
fn study_draw<'a>(
    slices: &'a [SliceMeta],
    pool: &[usize],
    splits: &[Split],
    shots: usize,
) -> BTreeSet<&'a String> {
    let of_split = |&split: &Split| -> BTreeSet<&String> {
        let slices = pool.iter().map(|&row| &slices[row]);
        let slices = slices.filter(|slice| slice.split == Some(split));
        slices.map(|slice| &slice.sample).collect()
    };
    let known: Vec<&String> = splits.iter().flat_map(of_split).collect();
    let at = equidistant(known.len(), shots).into_iter();
    at.map(|at| known[at]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Montgomery: 92 radiographs of which, in the order of names, every fourth is of `val`.
    #[test]
    fn the_study_numbers_train_before_val() {
        let splits = [Split::Val, Split::Train, Split::Train, Split::Train];
        let slice = |number: usize| SliceMeta {
            split: Some(splits[number % 4]),
            ..::tests::slice(&format!("s{number:02}"))
        };
        let slices: Vec<SliceMeta> = (0..92).map(slice).collect();
        let pool: Vec<usize> = (0..92).collect();
        let drawn = |shots| -> Vec<&str> {
            let drawn = study_draw(&slices, &pool, &[Split::Train, Split::Val], shots);
            drawn.into_iter().map(String::as_str).collect()
        };
        // The 69 of `train` are 1, 2, 3, 5, 6, 7, 9 …, then come 0, 4, 8 … of `val`.
        assert_eq!(drawn(1), ["s01"]);
        assert_eq!(drawn(2), ["s01", "s62"]);
        assert_eq!(drawn(4), ["s00", "s01", "s31", "s62"]);
    }
}
