//! Volumes with label maps in the layout of nnU-Net and the Medical Segmentation Decathlon:
//! `imagesTr/CASE.nii.gz` or `imagesTr/CASE_0000.nii.gz`, `labelsTr/CASE.nii.gz`, `dataset.json`.

mod cases;
mod channels;
mod json;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cache::{MaskClass, Split, Task};
use common::counted;
use imaging::read::{MaskPart, Source};

pub(super) use self::cases::Case;
use self::cases::Finder;
use self::channels::Channels;
pub(super) use self::json::Description;
use super::examples::examples;
use super::files::{Tree, find_root, name};
use super::{Dataset, DatasetCard, Sample};
use crate::Error;

/// A part of a dataset: the ending of its folders, its key in `dataset.json`, its split.
struct Part {
    ending: &'static str,
    key: &'static str,
    split: Split,
}

const PARTS: [Part; 3] = [
    Part {
        ending: "Tr",
        key: "training",
        split: Split::Train,
    },
    Part {
        ending: "Va",
        key: "validation",
        split: Split::Val,
    },
    Part {
        ending: "Ts",
        key: "test",
        split: Split::Test,
    },
];

impl Part {
    /// True if `file` is in one of the part's folders.
    fn holds(&self, file: &Path) -> bool {
        let folder = file.parent().map(name).unwrap_or_default();
        let kind = folder.strip_suffix(self.ending);
        kind.is_some_and(|kind| ["images", "labels"].contains(&kind))
    }
}

/// Lists the cases of a dataset in the format of nnU-Net 1 or 2 or of the Medical Segmentation
/// Decathlon, in the order of the bytes of their images' names.
///
/// Labels are the values in the label maps; each case is a patient. Uses the options `channel`,
/// `unlabelled`, `task_names` and `allow_missing`.
pub(super) fn open(root: &Path, card: &DatasetCard) -> Result<Dataset, Error> {
    let root = find(root, &card.options.task_names)?;
    let description = Description::read(&root)?;
    list(&root, card, &description, |_| Ok(true))
}

/// Lists the cases of the dataset in the folder `root` for which `keep` is true.
pub(super) fn list(
    root: &Path,
    card: &DatasetCard,
    description: &Description,
    keep: impl Fn(&Case) -> Result<bool, Error>,
) -> Result<Dataset, Error> {
    let tree = Tree::walk(root)?;
    let mut finder = Finder::new(&tree, card.options.unlabelled)?;
    let mut kept = Vec::new();
    for case in finder.cases(description)? {
        if keep(&case)? {
            kept.push(case);
        }
    }
    let mut warnings = description.warnings.clone();
    warnings.append(&mut finder.warnings);
    let is_taken = |case: &Case| case.label.is_some() || card.options.unlabelled;
    let (cases, without): (Vec<Case>, Vec<Case>) = kept.into_iter().partition(is_taken);
    let allow_missing = card.options.allow_missing;
    if let Some(gap) = finder.gap() {
        warnings.push(gap.settle(&root.join(json::FILE), allow_missing, cases.len())?);
    }
    warnings.extend(about_unlabelled(&without));
    if cases.is_empty() {
        return Err(no_cases(root, without.len()));
    }
    let names = channel_names(description, &cases);
    let channels = Channels::choose(root, &names, card.options.channel.as_deref())?;
    warnings.extend(channels.warning(&cases));
    let (cases, absent) = channels.partition(cases);
    if let Some(gap) = channels::gap(&absent) {
        warnings.push(gap.settle(root, allow_missing, cases.len())?);
    }
    let mut samples = Vec::new();
    for case in &cases {
        let images = channels.of(case)?.into_iter();
        samples.extend(images.map(|(channel, image)| sample(case, channel, image)));
    }
    let dataset = if cases.iter().any(|case| case.label.is_some()) {
        let classes = mask_classes(root, card, description)?;
        let is_ignored = |value: &&u16| classes.iter().all(|class| class.value != **value);
        let ignored = description.ignored_values.iter().filter(is_ignored);
        Dataset {
            ignored_values: ignored.copied().collect(),
            ..Dataset::of_masks(root, classes, samples)
        }
    } else {
        Dataset::new(root, Task::Unlabelled, Vec::new(), samples)
    };
    if card.options.task_names.is_empty() && card.source.is_empty() {
        let warning = "each case is a patient; if that is wrong, split with `file:PATH`";
        warnings.push(warning.to_owned());
    }
    Ok(Dataset {
        warnings,
        ..dataset
    })
}

/// Names of channels by number; without `dataset.json`, their numbers.
fn channel_names(description: &Description, cases: &[Case]) -> BTreeMap<u32, String> {
    if !description.channels.is_empty() {
        return description.channels.clone();
    }
    let numbers = cases.iter().flat_map(|case| case.images.numbers());
    numbers.map(|number| (number, number.to_string())).collect()
}

fn sample(case: &Case, channel: Option<u32>, image: Source) -> Sample {
    let label = case.label.iter();
    let part = |path: &PathBuf| MaskPart {
        source: Source::File(path.clone()),
        value: None,
    };
    Sample {
        id: match channel {
            Some(channel) => format!("{}#{channel}", case.id),
            None => case.id.clone(),
        },
        mask: label.map(part).collect(),
        patient: Some(case.id.clone()),
        split: Some(case.split),
        ..Sample::of_image(image)
    }
}

/// The card's classes, else those in `dataset.json`.
fn mask_classes(
    root: &Path,
    card: &DatasetCard,
    description: &Description,
) -> Result<Vec<MaskClass>, Error> {
    let candidates = [&card.mask_classes, &description.mask_classes];
    let found = candidates.into_iter().find(|classes| !classes.is_empty());
    found.cloned().ok_or_else(|| Error::Layout {
        path: root.to_path_buf(),
        found: "label maps and no names for their values".to_owned(),
        expected: "`labels` in `dataset.json`".to_owned(),
        hint: "add for instance `\"labels\": {\"background\": 0, \"liver\": 1}`, or `mask_classes` to a dataset card".to_owned(),
    })
}

/// The folder of the dataset, of one of these names if there are any.
fn find(root: &Path, names: &[String]) -> Result<PathBuf, Error> {
    let expected = "`imagesTr` and `dataset.json`";
    if names.is_empty() {
        return find_root(root, expected, is_dataset);
    }
    let is_named = |folder: &Path| {
        let absolute = folder.canonicalize().unwrap_or_default();
        let found = [Some(name(&absolute)), json::name_in(folder)];
        let mut found = found.into_iter().flatten();
        found.any(|found| names.iter().any(|name| name.eq_ignore_ascii_case(&found)))
    };
    let expected = format!("{expected} of `{}`", names[0]);
    let found = find_root(root, &expected, |folder| {
        is_dataset(folder) && is_named(folder)
    });
    found.or_else(|error| match find_root(root, &expected, is_dataset) {
        Ok(other) => Description::read(&other).and_then(|_| Err(wrong_task(&other, names))),
        Err(_) => Err(error),
    })
}

fn is_dataset(folder: &Path) -> bool {
    folder.join("imagesTr").is_dir() || folder.join(json::FILE).is_file()
}

fn wrong_task(folder: &Path, names: &[String]) -> Error {
    let found = json::name_in(folder).map_or("another name".to_owned(), |name| format!("`{name}`"));
    Error::Layout {
        path: folder.to_path_buf(),
        found: format!("a dataset of {found}"),
        expected: format!(
            "the folder or `name` in `dataset.json` to be `{}`",
            names.join("` or `")
        ),
        hint: "pass the folder of that task; `--dataset nnunet` takes any".to_owned(),
    }
}

fn about_unlabelled(without: &[Case]) -> Option<String> {
    let cases = without.iter().filter(|case| case.split != Split::Test);
    let names: Vec<String> = cases.map(|case| case.id.clone()).collect();
    let text = || format!("skipped, no label map: {}", examples(&names));
    (!names.is_empty()).then(text)
}

fn no_cases(root: &Path, unlabelled: usize) -> Error {
    Error::Layout {
        path: root.to_path_buf(),
        found: match unlabelled {
            0 => "no images".to_owned(),
            count => format!("{} and a label map for none", counted(count, "image")),
        },
        expected: "`imagesTr/CASE.nii.gz` or `imagesTr/CASE_0000.nii.gz`, and `labelsTr/CASE.nii.gz`; .nii, .png, .jpg and .tif will do too".to_owned(),
        hint: "pass the folder that holds `imagesTr`; for images without label maps, write a dataset card with `unlabelled = true` among its `[options]`".to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests;
