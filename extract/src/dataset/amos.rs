//! AMOS22: abdominal CT and MR with 15 organs, in the layout of nnU-Net 1 with a third part, `imagesVa`.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use cache::Split;

use super::files::{find_root, name};
use super::nnunet::{self, Case, Description};
use super::{Dataset, DatasetCard};
use crate::Error;

/// Numbers of CT scans: those with labels, and those published later without. All others are MR.
const CT: [RangeInclusive<u32>; 2] = [0..=499, 5000..=6899];

/// CT scans that have labels.
const LABELLED_CT: usize = 300;

/// Lists the scans of one modality (the option `modality`; CT unless it says `MR` or `all`) in
/// `imagesTr`, `imagesVa` and, if the option `unlabelled` is set, `imagesTs`; all together in the
/// order of the bytes of their names. The study divides the 300 scans of the first two, so test
/// scans are left out even where somebody has their labels.
///
/// Lists the folders, because the lists in `dataset.json` differ between releases.
pub(super) fn open(root: &Path, card: &DatasetCard) -> Result<Dataset, Error> {
    let expected = "`imagesTr/amos_NNNN.nii.gz`, `labelsTr`, `imagesVa` and `labelsVa`";
    let root = find_root(root, expected, is_amos)?;
    let wanted = modality(&root, card)?;
    let description = Description::read(&root)?.without_lists();
    let mut dataset = nnunet::list(&root, card, &description, |case| {
        let number = number(&case.id).ok_or_else(|| odd_name(&root, case))?;
        let is_ct = CT.iter().any(|numbers| numbers.contains(&number));
        let is_in = card.options.unlabelled || case.split != Split::Test;
        Ok(is_in && wanted.is_none_or(|ct| ct == is_ct))
    })?;
    let found = dataset.samples.len();
    if wanted == Some(true) && found < LABELLED_CT {
        let warning = format!(
            "{found} of {LABELLED_CT} CT scans: the download is incomplete, and rules split it differently"
        );
        dataset.warnings.push(warning);
    }
    Ok(dataset)
}

/// True if CT is wanted; `None` if both are.
fn modality(root: &Path, card: &DatasetCard) -> Result<Option<bool>, Error> {
    match card.options.modality.as_deref() {
        None | Some("CT") => Ok(Some(true)),
        Some("MR") => Ok(Some(false)),
        Some("all") => Ok(None),
        Some(other) => Err(Error::Layout {
            path: root.to_path_buf(),
            found: format!("the option `modality = \"{other}\"`"),
            expected: "`CT`, `MR` or `all`".to_owned(),
            hint: "correct the dataset card".to_owned(),
        }),
    }
}

/// The number in `amos_0001`.
fn number(case: &str) -> Option<u32> {
    case.strip_prefix("amos_")?.parse().ok()
}

fn is_amos(folder: &Path) -> bool {
    let has_scans = |part: &str| {
        let entries = fs::read_dir(folder.join(part)).into_iter().flatten();
        let mut entries = entries.flatten();
        entries.any(|entry| name(&entry.path()).starts_with("amos_"))
    };
    has_scans("imagesTr") || has_scans("imagesVa")
}

fn odd_name(root: &Path, case: &Case) -> Error {
    Error::Layout {
        path: root.to_path_buf(),
        found: format!("a scan `{}`", case.id),
        expected: "only scans named `amos_NNNN`, whose numbers tell CT from MR".to_owned(),
        hint: "move other files away, or use `--dataset nnunet`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use cache::Task;

    use super::*;
    use crate::dataset::fixtures::empty;
    use crate::dataset::nnunet::tests::dataset_json;

    fn fixture() -> tempfile::TempDir {
        empty(&[
            "__MACOSX/amos22/imagesTr/._amos_0001.nii.gz",
            "amos22/readme.md",
            "amos22/imagesTr/amos_0001.nii.gz",
            "amos22/imagesTr/amos_0410.nii.gz",
            "amos22/imagesTr/amos_0507.nii.gz",
            "amos22/imagesVa/amos_0008.nii.gz",
            "amos22/imagesVa/amos_0541.nii.gz",
            "amos22/imagesTs/amos_0002.nii.gz",
            "amos22/imagesTs/amos_5001.nii.gz",
            "amos22/labelsTr/amos_0001.nii.gz",
            "amos22/labelsTr/amos_0410.nii.gz",
            "amos22/labelsTr/amos_0507.nii.gz",
            "amos22/labelsVa/amos_0008.nii.gz",
            "amos22/labelsVa/amos_0541.nii.gz",
        ])
    }

    fn ids(root: &Path, change: impl Fn(&mut DatasetCard)) -> Vec<String> {
        let mut card = DatasetCard::find("amos").unwrap();
        change(&mut card);
        let samples = open(root, &card).unwrap().samples;
        samples.into_iter().map(|sample| sample.id).collect()
    }

    #[test]
    fn ct_of_both_parts_is_pooled_in_the_order_of_names() {
        let root = fixture();
        let dataset = open(root.path(), &DatasetCard::find("amos").unwrap()).unwrap();
        let found: Vec<_> = dataset.samples.iter().map(|s| (&*s.id, s.split)).collect();
        let expected = [
            ("amos_0001", Some(Split::Train)),
            ("amos_0008", Some(Split::Val)),
            ("amos_0410", Some(Split::Train)),
        ];
        assert_eq!(found, expected);
        assert_eq!(dataset.samples[1].patient.as_deref(), Some("amos_0008"));
        assert_eq!(
            (dataset.task, dataset.warnings.len()),
            (Task::MultiLabel, 1)
        );
        assert_eq!(dataset.classes.len(), 15);
        assert_eq!(
            (dataset.classes[7].as_str(), dataset.mask_classes[7].value),
            ("aorta", 8)
        );
    }

    #[test]
    fn other_modalities_and_scans_without_labels_are_options() {
        let root = fixture();
        let with = |modality: &'static str, unlabelled| {
            ids(root.path(), move |card| {
                card.options.modality = Some(modality.to_owned());
                card.options.unlabelled = unlabelled;
            })
        };
        assert_eq!(with("MR", false), ["amos_0507", "amos_0541"]);
        let all = with("all", true);
        assert_eq!((all.len(), all[1].as_str()), (7, "amos_0002"));
        assert_eq!(with("CT", true).len(), 5);
    }

    #[test]
    fn lists_in_dataset_json_are_ignored() {
        let root = fixture();
        let text = r#"{"name": "AMOS", "modality": {"0": "CT"}, "labels": {"0": "background", "8": "arota"},
            "training": [{"image": "./imagesTr/amos_0001.nii.gz", "label": "./labelsTr/amos_0001.nii.gz"}]}"#;
        dataset_json(&root.path().join("amos22"), text);
        assert_eq!(ids(root.path(), |_| ()).len(), 3);
    }

    #[test]
    fn other_names_and_other_modalities_are_refused() {
        let root = fixture();
        let mut card = DatasetCard::find("amos").unwrap();
        card.options.modality = Some("PET".to_owned());
        let text = open(root.path(), &card).unwrap_err().to_string();
        assert!(text.contains("`CT`, `MR` or `all`"), "{text}");
        fs::write(root.path().join("amos22/imagesTr/scan.nii.gz"), "x").unwrap();
        let card = DatasetCard::find("amos").unwrap();
        let text = open(root.path(), &card).unwrap_err().to_string();
        assert!(text.contains("`scan`") && text.contains("hint:"), "{text}");
    }
}
