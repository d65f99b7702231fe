//! Targets of examples.

use std::path::Path;

use cache::{Labels, SliceMeta, Task};
use ndarray::{Array2, ArrayView1, Axis, s};

use crate::Error;

/// Targets of `N` examples.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// One class per example, `[N]`.
    Single(Vec<u32>),
    /// Each class present, absent, or not known, `[N, C]`.
    Multi(Array2<Option<bool>>),
}

/// Meaning of an uncertain label (-1). A blank label of an example with known labels means absent, as in
/// datasets that list findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncertain {
    /// The class is absent, as in the study ("U-Zeros").
    Absent,
    /// Unknown: the example is neither trained on nor measured for this class.
    Unknown,
}

impl Targets {
    /// Targets of some slices of a cache.
    ///
    /// # Errors
    ///
    /// [`Error::Label`] if a label does not fit the classes, or is blank.
    pub(crate) fn of(
        path: &Path,
        (task, classes): (Task, usize),
        slices: &[SliceMeta],
        rows: &[usize],
        uncertain: Uncertain,
    ) -> Result<Targets, Error> {
        let misfit = |row: usize| Error::Label {
            path: path.into(),
            row,
            sample: slices[row].sample.clone(),
            found: format!("{:?}", slices[row].labels),
            classes,
        };
        if task == Task::SingleLabel {
            let label = |&row: &usize| match slices[row].labels {
                Labels::Single(Some(label)) if (label as usize) < classes => Ok(label),
                _ => Err(misfit(row)),
            };
            return Ok(Targets::Single(
                rows.iter().map(label).collect::<Result<_, _>>()?,
            ));
        }
        let mut present = Array2::from_elem((rows.len(), classes), None);
        for (&row, mut present) in rows.iter().zip(present.rows_mut()) {
            let Labels::Multi(labels) = &slices[row].labels else {
                return Err(misfit(row));
            };
            if labels.len() != classes {
                return Err(misfit(row));
            }
            let states = labels.iter().map(|&label| uncertain.state(label));
            present
                .iter_mut()
                .zip(states)
                .for_each(|(is, state)| *is = state);
        }
        Ok(Targets::Multi(present))
    }

    /// Known states of the classes of some slices: those of [`of`](Self::of) for labelled slices, none for
    /// others.
    pub(crate) fn states(
        classes: usize,
        slices: &[SliceMeta],
        rows: &[usize],
        uncertain: Uncertain,
    ) -> Targets {
        let state = |(row, class): (usize, usize)| match &slices[rows[row]].labels {
            labels if is_blank(labels) => None,
            Labels::Unlabelled => None,
            Labels::Single(label) => label.map(|label| label as usize == class),
            Labels::Multi(states) => states.get(class).and_then(|&label| uncertain.state(label)),
        };
        Targets::Multi(Array2::from_shape_fn((rows.len(), classes), state))
    }

    /// Unknown targets of `examples` examples for `classes` classes.
    pub(crate) fn unknown(examples: usize, classes: usize) -> Targets {
        Targets::Multi(Array2::from_elem((examples, classes), None))
    }

    /// The one class of each example; `None` unless each is of exactly one.
    pub(crate) fn exclusive(&self) -> Option<Targets> {
        let Targets::Multi(states) = self else {
            return Some(self.clone());
        };
        let only = |row: ArrayView1<'_, Option<bool>>| {
            let mut present = (0..row.len()).filter(|&class| row[class] == Some(true));
            present
                .next()
                .filter(|_| present.next().is_none())
                .map(|class| class as u32)
        };
        let labels = states.rows().into_iter().map(only);
        labels.collect::<Option<_>>().map(Targets::Single)
    }

    /// Appends a class with the states `[N]` to classes that are not exclusive; exclusive ones stay as they
    /// are.
    pub(crate) fn push_class(&mut self, states: impl Iterator<Item = Option<bool>>) {
        if let Targets::Multi(present) = self {
            let (examples, classes) = present.dim();
            let mut more = Array2::from_elem((examples, classes + 1), None);
            more.slice_mut(s![.., ..classes]).assign(present);
            let last = more.column_mut(classes).into_iter();
            last.zip(states).for_each(|(is, state)| *is = state);
            *present = more;
        }
    }

    /// Targets of groups of examples, one row per group.
    ///
    /// Single-label: the class that the examples share. Multi-label: a class is present if any
    /// example has it, else unknown if it is unknown for any, else absent.
    ///
    /// # Errors
    ///
    /// The number of the first group whose examples are of different classes.
    pub(crate) fn merged(&self, groups: &[Vec<usize>]) -> Result<Targets, usize> {
        match self {
            Targets::Single(labels) => {
                let shared = |(number, group): (usize, &Vec<usize>)| {
                    let label = labels[group[0]];
                    let is_shared = group.iter().all(|&example| labels[example] == label);
                    is_shared.then_some(label).ok_or(number)
                };
                let labels = groups.iter().enumerate().map(shared);
                labels.collect::<Result<_, _>>().map(Targets::Single)
            }
            Targets::Multi(states) => {
                let merged = |(group, class): (usize, usize)| {
                    let group: &Vec<usize> = &groups[group];
                    any_present(group.iter().map(|&example| states[[example, class]]))
                };
                let shape = (groups.len(), states.ncols());
                Ok(Targets::Multi(Array2::from_shape_fn(shape, merged)))
            }
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        match self {
            Targets::Single(labels) => labels.len(),
            Targets::Multi(present) => present.nrows(),
        }
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Targets of some rows, in their order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Targets {
        match self {
            Targets::Single(labels) => Targets::Single(rows.iter().map(|&r| labels[r]).collect()),
            Targets::Multi(present) => Targets::Multi(present.select(Axis(0), rows)),
        }
    }

    /// Whether an example is of a class; `None` if this is not known.
    pub fn is(&self, example: usize, class: usize) -> Option<bool> {
        match self {
            Targets::Single(labels) => Some(labels[example] as usize == class),
            Targets::Multi(present) => present[[example, class]],
        }
    }
}

impl Uncertain {
    fn state(self, label: Option<i8>) -> Option<bool> {
        match (label, self) {
            (Some(1), _) => Some(true),
            (Some(-1), Uncertain::Unknown) => None,
            _ => Some(false),
        }
    }
}

/// Present if any state is, else unknown if any is, else absent.
fn any_present(states: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let merged = states.reduce(|a, b| match (a, b) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (None, _) | (_, None) => None,
        _ => Some(false),
    });
    merged.flatten()
}

/// Whether nothing is known of the slice's classes.
pub(crate) fn is_blank(labels: &Labels) -> bool {
    match labels {
        Labels::Unlabelled => true,
        Labels::Single(class) => class.is_none(),
        Labels::Multi(states) => states.iter().all(Option::is_none),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn slice(labels: Labels) -> SliceMeta {
        SliceMeta {
            sample: "s".into(),
            image: "s.png".into(),
            patient: None,
            slice: 0,
            view: 0,
            split: None,
            labels,
            height: 1,
            width: 1,
            spacing_mm: None,
            placement: None,
        }
    }

    fn of(task: Task, classes: usize, labels: Labels, rule: Uncertain) -> Result<Targets, Error> {
        Targets::of(
            Path::new("c"),
            (task, classes),
            &[slice(labels)],
            &[0],
            rule,
        )
    }

    #[test]
    fn uncertain_labels_count_as_absent_or_as_nothing_and_blank_ones_as_absent() {
        let labels = || Labels::Multi(vec![Some(1), Some(0), Some(-1), None]);
        let by = |rule| of(Task::MultiLabel, 4, labels(), rule).unwrap();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(
            by(Uncertain::Absent),
            Targets::Multi(array![[yes, no, no, no]])
        );
        assert_eq!(
            by(Uncertain::Unknown),
            Targets::Multi(array![[yes, no, None, no]])
        );
    }

    #[test]
    fn labels_that_do_not_fit_the_classes_are_an_error() {
        for labels in [
            Labels::Single(Some(2)),
            Labels::Single(None),
            Labels::Unlabelled,
        ] {
            let found = of(Task::SingleLabel, 2, labels, Uncertain::Absent);
            assert!(matches!(
                found,
                Err(Error::Label {
                    row: 0,
                    classes: 2,
                    ..
                })
            ));
        }
        let few = of(
            Task::MultiLabel,
            2,
            Labels::Multi(vec![Some(1)]),
            Uncertain::Absent,
        );
        assert!(matches!(few, Err(Error::Label { .. })));
    }

    #[test]
    fn a_class_is_appended() {
        let mut targets = Targets::Multi(array![[Some(true)], [None]]);
        targets.push_class([None, Some(false)].into_iter());
        let expected = array![[Some(true), None], [None, Some(false)]];
        assert_eq!(targets, Targets::Multi(expected));
    }

    #[test]
    fn a_group_has_a_class_that_any_example_has_and_one_class_where_they_are_exclusive() {
        let (yes, no) = (Some(true), Some(false));
        let states = array![
            [no, no, no, None],
            [yes, no, None, None],
            [None, no, no, None]
        ];
        let merged = Targets::Multi(states).merged(&[vec![0, 1, 2], vec![0]]);
        let expected = array![[yes, no, None, None], [no, no, no, None]];
        assert_eq!(merged, Ok(Targets::Multi(expected)));
        let labels = Targets::Single(vec![1, 1, 0]);
        let groups = [vec![0, 1], vec![2]];
        assert_eq!(labels.merged(&groups), Ok(Targets::Single(vec![1, 0])));
        assert_eq!(labels.merged(&[vec![0], vec![1, 2]]), Err(1));
    }

    #[test]
    fn what_is_known_of_labelled_slices_is_the_same_whether_others_are_labelled_or_not() {
        let slices = [
            slice(Labels::Multi(vec![Some(1), None, Some(-1)])),
            slice(Labels::Multi(vec![None, None, None])),
            slice(Labels::Multi(vec![Some(0), Some(-1), None])),
        ];
        for rule in [Uncertain::Absent, Uncertain::Unknown] {
            let labelled = Targets::of(
                Path::new("c"),
                (Task::MultiLabel, 3),
                &slices,
                &[0, 2],
                rule,
            );
            let all = Targets::states(3, &slices, &[0, 1, 2], rule);
            assert_eq!(all.select(&[0, 2]), labelled.unwrap());
            assert_eq!(all.select(&[1]), Targets::Multi(array![[None, None, None]]));
        }
    }

    #[test]
    fn a_slice_is_blank_if_nothing_is_known_of_any_class() {
        assert!(is_blank(&Labels::Multi(vec![None, None])));
        assert!(!is_blank(&Labels::Multi(vec![None, Some(0)])));
        assert!(is_blank(&Labels::Single(None)));
    }
}
