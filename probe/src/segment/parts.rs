//! Which rows are learnt from, chosen by and measured.

use std::collections::BTreeSet;

use cache::Split;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::Task;
use crate::evaluate::equidistant;
use crate::{Error, random};

/// Rows of the parts of one training.
pub(super) struct Parts {
    pub(super) scan: Vec<usize>,
    pub(super) choose: Vec<usize>,
    pub(super) chosen_on: Split,
    pub(super) fit: Vec<usize>,
    pub(super) fitted_on: Vec<Split>,
}

impl Task<'_> {
    /// Rows with masks of some splits.
    pub(super) fn part(&self, splits: &[Split], with_views: bool) -> Result<Vec<usize>, Error> {
        let rows = self.cases.rows(splits, with_views);
        match rows.is_empty() {
            true => Err(self.empty_split(splits)),
            false => Ok(rows),
        }
    }

    fn empty_split(&self, wanted: &[Split]) -> Error {
        let count = |split| self.cases.rows(&[split], false).len();
        let known = Split::ALL.map(|split| format!("{} in `{}`", count(split), split.name()));
        Error::NoMaskedSlices {
            path: self.reader.dir().into(),
            wanted: crate::examples::join(wanted),
            found: known.join(", "),
        }
    }

    pub(super) fn parts(&self, shots: Option<usize>, seed: u64) -> Result<Parts, Error> {
        let both = vec![Split::Train, Split::Val];
        let scans = self.options.learning_rates.len() > 1 || self.options.patience.is_some();
        let choose = |split| match scans {
            true => self.part(&[split], false),
            false => Ok(Vec::new()),
        };
        let Some(shots) = shots else {
            return Ok(Parts {
                scan: self.part(&[Split::Train], true)?,
                choose: choose(Split::Val)?,
                chosen_on: Split::Val,
                fit: self.part(&both, true)?,
                fitted_on: both,
            });
        };
        let one_draw = self.settings.protocol.one_draw();
        let (fitted_on, chosen_on) = match one_draw {
            true => (both, Split::Test),
            false => (vec![Split::Train], Split::Val),
        };
        let pool = self.part(&fitted_on, true)?;
        let cluster = |row: usize| {
            let slice = &self.cases.slices[row];
            match one_draw {
                true => &slice.sample,
                false => slice.patient.as_ref().unwrap_or(&slice.sample),
            }
        };
        let known: BTreeSet<&String> = pool.iter().map(|&row| cluster(row)).collect();
        let mut known: Vec<&String> = known.into_iter().collect();
        let taken: BTreeSet<&String> = match one_draw {
            true => equidistant(known.len(), shots)
                .into_iter()
                .map(|at| known[at])
                .collect(),
            false => {
                random::shuffle(&mut known, &mut ChaCha8Rng::seed_from_u64(seed));
                known.into_iter().take(shots).collect()
            }
        };
        let drawn: Vec<usize> = pool
            .into_iter()
            .filter(|&row| taken.contains(cluster(row)))
            .collect();
        Ok(Parts {
            scan: drawn.clone(),
            choose: choose(chosen_on)?,
            chosen_on,
            fit: drawn,
            fitted_on,
        })
    }

    /// Refuses, or of few shots tells, that there is a class to find that nothing can be learnt of.
    pub(super) fn check(
        &self,
        parts: &Parts,
        test: &[usize],
        is_few: bool,
    ) -> Result<Vec<String>, Error> {
        let mut warnings = Vec::new();
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
                return Err(Error::OnlyBackground {
                    path: self.reader.dir().into(),
                    split: crate::examples::join(splits),
                });
            }
        }
        for rows in [test, &parts.choose[..]] {
            if let Some(&class) = self.cases.present(rows).difference(&learnt).next() {
                let class = self.cases.names[usize::from(class)].clone();
                match is_few {
                    true => warnings.push(format!("no slice of the draw has `{class}`")),
                    false => {
                        let path = self.reader.dir().into();
                        return Err(Error::ClassAbsent { path, class });
                    }
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
                "the patient `{patient}` is in `test` and in what is learnt from"
            ));
        }
        Ok(warnings)
    }
}
