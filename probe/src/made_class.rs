//! Classes that the study's code derives from the labels of two datasets.

use cache::Labels;

use crate::targets::is_blank;

/// The findings of NIH ChestX-ray14.
const NIH: [&str; 14] = [
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
];

/// The findings of CheXpert's competition.
const CHEXPERT: [&str; 5] = [
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Pleural Effusion",
];

/// A class that is derived from the labels of the other classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeClass {
    /// NIH ChestX-ray14: no finding is present.
    NoFinding,
    /// CheXpert: one of the findings is uncertain (-1).
    Uncertain,
}

impl MadeClass {
    /// Class that the study's code adds to a dataset, which is identified by its classes.
    pub fn of(classes: &[String]) -> Option<MadeClass> {
        let are = |known: &[&str]| {
            classes.len() == known.len() && known.iter().all(|name| holds(classes, name))
        };
        if are(&NIH) {
            Some(MadeClass::NoFinding)
        } else if are(&CHEXPERT) {
            Some(MadeClass::Uncertain)
        } else {
            None
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            MadeClass::NoFinding => "No Finding",
            MadeClass::Uncertain => "Uncertain",
        }
    }

    /// Whether a slice is of the class; `None` if the slice is not labelled.
    pub(crate) fn state(self, labels: &Labels) -> Option<bool> {
        let Labels::Multi(states) = labels else {
            return None;
        };
        let is = match self {
            MadeClass::NoFinding => !states.contains(&Some(1)),
            MadeClass::Uncertain => states.contains(&Some(-1)),
        };
        (!is_blank(labels)).then_some(is)
    }
}

/// Whether the study's few-shot draw of these classes is by patients: only for NIH ChestX-ray14.
pub(crate) fn draws_patients(classes: &[String]) -> bool {
    holds(classes, MadeClass::NoFinding.name()) && NIH.iter().all(|name| holds(classes, name))
}

fn holds(classes: &[String], name: &str) -> bool {
    classes.iter().any(|class| class == name)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// NIH's classes as the study has them.
    pub(crate) fn nih() -> Vec<String> {
        let names = NIH.into_iter().chain([MadeClass::NoFinding.name()]);
        names.map(str::to_owned).collect()
    }

    fn labels(states: [i8; 3]) -> Labels {
        Labels::Multi(states.map(|state| (state > -2).then_some(state)).to_vec())
    }

    #[test]
    fn the_study_s_two_datasets_have_a_class_more() {
        let nih = nih();
        assert_eq!(MadeClass::of(&nih[..14]), Some(MadeClass::NoFinding));
        assert_eq!(MadeClass::of(&nih), None);
        assert_eq!(MadeClass::of(&nih[..13]), None);
        let chexpert = CHEXPERT.map(str::to_owned);
        assert_eq!(MadeClass::of(&chexpert), Some(MadeClass::Uncertain));
        assert!(draws_patients(&nih) && !draws_patients(&nih[..14]));
    }

    #[test]
    fn made_classes_are_found_from_the_labels_and_unknown_of_blank_ones() {
        let states = |class: MadeClass| {
            [[0, 0, -1], [1, 0, -1], [0, -2, 0], [-2, -2, -2]]
                .map(|states| class.state(&labels(states)))
        };
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(states(MadeClass::NoFinding), [yes, no, yes, None]);
        assert_eq!(states(MadeClass::Uncertain), [yes, yes, no, None]);
    }
}
