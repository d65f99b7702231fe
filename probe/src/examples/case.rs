//! Single cases, and what is independent of other cases.

use cache::Split;

/// Sample, slice, patient and split of an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The sample that it is, or was cut from.
    pub sample: String,
    /// The slice of the sample; `None` for a volume.
    pub slice: Option<u32>,
    /// The patient, where known.
    pub patient: Option<String>,
    /// The part of the dataset.
    pub split: Option<Split>,
}

/// Clusters of dependent cases, in the order of the cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clusters<'a> {
    /// The cluster of each case, `[N]`.
    pub names: Vec<&'a str>,
    /// Word for a cluster: `patient`, or `sample` if no patient is known.
    pub word: &'static str,
}

/// A unit that is independent of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who<'a> {
    /// A patient.
    Patient(&'a str),
    /// A sample of which no patient is known.
    Sample(&'a str),
}

impl<'a> Who<'a> {
    pub(crate) fn of(patient: Option<&'a str>, sample: &'a str) -> Who<'a> {
        patient.map_or(Who::Sample(sample), Who::Patient)
    }
}

impl Case {
    /// The patient, or the sample if no patient is known.
    pub(crate) fn who(&self) -> Who<'_> {
        Who::of(self.patient.as_deref(), &self.sample)
    }

    /// Name of the patient, or of the sample if no patient is known.
    pub fn cluster(&self) -> &str {
        self.patient.as_deref().unwrap_or(&self.sample)
    }
}

impl<'a> Clusters<'a> {
    /// Clusters of some cases.
    pub fn of(cases: &'a [Case]) -> Clusters<'a> {
        Clusters {
            names: cases.iter().map(Case::cluster).collect(),
            word: cluster_word(cases.iter().map(|case| case.patient.as_deref())),
        }
    }
}

/// Word for a cluster: `patient`, or `sample` if no patient is known.
pub(crate) fn cluster_word<'a>(
    mut patients: impl Iterator<Item = Option<&'a str>>,
) -> &'static str {
    if patients.any(|patient| patient.is_some()) {
        "patient"
    } else {
        "sample"
    }
}
