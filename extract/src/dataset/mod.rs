//! Datasets: files, labels, patients and splits, as known before pixels are read.

mod amos;
mod brain_tumor;
mod card;
mod chexpert;
mod dicom;
mod examples;
pub(crate) mod files;
#[cfg(test)]
mod fixtures;
mod folder;
mod hidden;
mod label_table;
mod layouts;
mod manifest;
mod medmnist;
mod missing;
mod montgomery;
mod names;
mod nih_chest_xray;
mod nnunet;
mod sample_notes;
mod sars_cov_2;
pub(crate) mod table;
mod tables;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use cache::{Labels, MaskClass, Split, Task};
use imaging::read::{MaskPart, Source};

pub use self::card::{DatasetCard, LayoutOptions, Recipe, Uncertain, UnnamedValues};
pub(crate) use self::examples::examples;
pub use self::label_table::{LabelTable, Merge};
pub use self::layouts::{LAYOUTS, Layout};
pub(crate) use self::manifest::{
    LabelRow, LabelRows, TokenLines, TokenTable, TokenTableOptions, plain_slice,
};
pub(crate) use self::sample_notes::SampleNotes;
pub use self::sample_notes::SampleOddities;
use crate::Error;
use crate::pseudonyms::Pseudonyms;

/// Endings of pictures: PNG, JPEG and TIFF.
const PICTURES: [&str; 5] = [".png", ".jpg", ".jpeg", ".tif", ".tiff"];

/// Endings of NIfTI files; `.hdr` and `.img` are one image.
const NIFTI: [&str; 6] = [".nii.gz", ".nii", ".hdr.gz", ".hdr", ".img.gz", ".img"];

/// Endings of DICOM files; many files have none.
const DICOM: [&str; 3] = [".dcm", ".dicom", ".ima"];

/// Value of ignored pixels in the masks of a cache.
pub const IGNORED: u16 = u16::MAX;

/// One image or volume, or a range of its slices.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Id, unique in the dataset.
    pub id: String,
    /// Source of its voxels.
    pub image: Source,
    /// Label map of the same shape, in parts; later parts overwrite earlier ones. Empty without a mask.
    pub mask: Vec<MaskPart>,
    /// Slices to read, counted from 0; `None` for all.
    pub slices: Option<RangeInclusive<u32>>,
    /// Patient, if known; unique in the dataset.
    pub patient: Option<String>,
    /// Split: the official one until [`crate::split`] assigns another.
    pub split: Option<Split>,
    /// Fold of an official cross-validation, counted from 0.
    pub fold: Option<u16>,
    /// Labels of all its slices; unknown if [`Dataset::labels_from_mask`].
    pub labels: Labels,
}

impl Sample {
    /// A sample with an image only; its id is the path of the image without the ending.
    pub fn of_image(image: Source) -> Sample {
        Sample {
            id: id_of(image.file()),
            image,
            mask: Vec::new(),
            slices: None,
            patient: None,
            split: None,
            fold: None,
            labels: Labels::Unlabelled,
        }
    }

    /// True for pictures (PNG, JPEG, TIFF, by name) and items of archives, which have neither units nor a
    /// position in the patient.
    pub(crate) fn is_picture(&self) -> bool {
        let is_picture = |ext| PICTURES.contains(&ext);
        match &self.image {
            Source::Item(..) => true,
            image => image_extension(&files::name(image.file())).is_some_and(is_picture),
        }
    }

    /// All files of image and masks.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let masks = self.mask.iter().flat_map(|part| part.source.files());
        self.image.files().iter().chain(masks)
    }
}

/// A list of samples; no pixels are read.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Name in the cache.
    pub name: String,
    /// Folder that paths are relative to.
    pub root: PathBuf,
    /// Kind of the labels.
    pub task: Task,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// Names of the values in masks, without background (0).
    pub mask_classes: Vec<MaskClass>,
    /// Values in masks that exclude a pixel, as nnU-Net's `ignore`.
    pub ignored_values: Vec<u16>,
    /// True if pixels with values that are not in `mask_classes` are ignored; else they are an error.
    pub ignore_unnamed: bool,
    /// True if a slice's labels are the values in its mask: class `c` is present if
    /// `mask_classes[c].value` is.
    pub labels_from_mask: bool,
    /// Samples in the order of extraction.
    pub samples: Vec<Sample>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// Identifiers in DICOM attributes, if patients and ids are from them.
    pub dicom_ids: Option<HashSet<String>>,
    /// Hashes for patients and paths, if they are hidden.
    pub pseudonyms: Option<Pseudonyms>,
}

impl Dataset {
    /// A dataset without masks. [`open`] gives it the name of the card; if that describes only a layout, the
    /// name that the layout set, else that of the folder.
    fn new(root: &Path, task: Task, classes: Vec<String>, samples: Vec<Sample>) -> Dataset {
        Dataset {
            name: String::new(),
            root: root.to_path_buf(),
            task,
            classes,
            mask_classes: Vec::new(),
            ignored_values: Vec::new(),
            ignore_unnamed: false,
            labels_from_mask: false,
            samples,
            warnings: Vec::new(),
            dicom_ids: None,
            pseudonyms: None,
        }
    }

    /// The value of ignored pixels in the cache's masks, if pixels may be ignored.
    pub fn ignored_mask_value(&self) -> Option<u16> {
        (self.ignore_unnamed || !self.ignored_values.is_empty()).then_some(IGNORED)
    }

    /// A dataset whose slices are labelled by the values in their masks.
    fn of_masks(root: &Path, mask_classes: Vec<MaskClass>, samples: Vec<Sample>) -> Dataset {
        let classes: Vec<String> = mask_classes.iter().map(|c| c.name.clone()).collect();
        let unknown = Labels::Multi(vec![None; classes.len()]);
        let labelled = samples.into_iter().map(|sample| Sample {
            labels: unknown.clone(),
            ..sample
        });
        Dataset {
            mask_classes,
            labels_from_mask: true,
            ..Dataset::new(root, Task::MultiLabel, classes, labelled.collect())
        }
    }
}

/// A warning if the dataset has fewer samples than its card says.
pub(crate) fn incomplete(card: &DatasetCard, dataset: &Dataset) -> Option<String> {
    let (found, whole) = (dataset.samples.len(), card.samples?);
    (found < whole).then(|| {
        format!(
            "{found} of {whole} samples: the dataset is incomplete, and rules split it differently"
        )
    })
}

/// Lists the dataset that `card` describes under `root`.
///
/// # Errors
///
/// [`Error::UnknownLayout`], [`Error::DuplicateId`], [`Error::DuplicateClass`], and errors of the layout.
pub fn open(card: &DatasetCard, root: &Path) -> Result<Dataset, Error> {
    let layout = Layout::of(card)?;
    for option in card.options.given() {
        layout.check(root, option, option)?;
    }
    let mut dataset = (layout.open)(root, card)?;
    if let Some(word) = &card.options.channel
        && !["nnunet", "amos"].contains(&layout.name)
    {
        take_channel(&mut dataset, word)?;
    }
    let describes_one = card.name != card.layout || !card.source.is_empty();
    if card.name != card.layout || dataset.name.is_empty() {
        dataset.name = if describes_one {
            card.name.clone()
        } else {
            folder_name(&dataset.root)
        };
    }
    dataset.ignore_unnamed = card.options.unnamed_values == UnnamedValues::Ignore;
    if dataset.ignore_unnamed && dataset.mask_classes.is_empty() {
        let warning = "no mask value has a class, so `unnamed_values` has no effect";
        dataset.warnings.push(warning.to_owned());
    }
    let path = || root.to_path_buf();
    let mut values = HashSet::new();
    if dataset.ignored_mask_value().is_some() {
        values.insert(IGNORED);
    }
    let wrong = dataset
        .mask_classes
        .iter()
        .find(|class| class.value == 0 || !values.insert(class.value));
    if let Some(class) = wrong {
        return Err(Error::Layout {
            path: path(),
            found: format!("the value {} for `{}` in masks", class.value, class.name),
            expected:
                "values above 0 (the background), each once, and not 65535 where pixels are ignored"
                    .to_owned(),
            hint: "correct `mask_classes` in the card, or `classes.csv`".to_owned(),
        });
    }
    dataset.warnings.extend(names::check(root, &dataset)?);
    Ok(dataset)
}

/// Selects the channel with the number `word` in all NIfTI images.
fn take_channel(dataset: &mut Dataset, word: &str) -> Result<(), Error> {
    let wrong = |found: String| Error::Layout {
        path: dataset.root.clone(),
        found,
        expected: "the number, from 0, of a channel of NIfTI images".to_owned(),
        hint: "give a number, or leave `--channel` out".to_owned(),
    };
    let number = word
        .parse()
        .map_err(|_| wrong(format!("the channel `{word}`")))?;
    let mut files = Vec::new();
    for sample in &mut dataset.samples {
        match &sample.image {
            Source::File(path) if files::is_nifti(path) => files.push(&mut sample.image),
            _ => {}
        }
    }
    if files.is_empty() {
        return Err(wrong(format!("the channel `{word}`, and no NIfTI image")));
    }
    for image in files {
        *image = Source::Channel(image.file().to_path_buf(), number);
    }
    Ok(())
}

fn folder_name(root: &Path) -> String {
    let absolute = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    files::name(&absolute)
}

/// The path without the extension of an image, with `/` between folders.
fn id_of(image: &Path) -> String {
    let parts: Vec<_> = image.iter().map(|part| part.to_string_lossy()).collect();
    let path = parts.join("/");
    let end = image_extension(&path).map_or(path.len(), |ext| path.len() - ext.len());
    path[..end].to_owned()
}

/// The ending of an image in `name`, with its dot, in lower case.
fn image_extension(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let mut endings = PICTURES.iter().chain(&NIFTI).chain(&DICOM);
    endings.find(|ext| name.ends_with(*ext)).copied()
}

/// Natural order: runs of digits by their value, so `p2` before `p10`; the rest by bytes.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (left.first(), right.first()) {
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (m, n) = (take_number(&mut left), take_number(&mut right));
            m.len().cmp(&n.len()).then_with(|| m.cmp(n))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            x.cmp(y)
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// Takes the digits at the front of `text` and returns them without leading zeros.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    *text = rest;
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_sort_by_value() {
        let mut names = ["p10", "p2", "p02", "a", "10", "9", "p", "p2b"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["9", "10", "a", "p", "p02", "p2", "p2b", "p10"]);
    }

    #[test]
    fn ids_lose_the_whole_extension() {
        for name in [
            "a/b.c.nii.gz",
            "a/b.c.PNG",
            "a/b.c.nii",
            "a/b.c",
            "a/b.c.img.gz",
        ] {
            assert_eq!(id_of(Path::new(name)), "a/b.c");
        }
    }

    #[test]
    fn a_channel_is_taken_of_the_nifti_images_of_any_layout() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("m.csv");
        for name in ["a.nii.gz", "b.png"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        std::fs::write(&table, "image\na.nii.gz\nb.png\n").unwrap();
        let mut card = DatasetCard::find("manifest").unwrap();
        card.options.channel = Some("2".to_owned());
        let dataset = open(&card, &table).unwrap();
        let images: Vec<_> = dataset.samples.into_iter().map(|s| s.image).collect();
        let expected = [
            Source::Channel("a.nii.gz".into(), 2),
            Source::File("b.png".into()),
        ];
        assert_eq!(images, expected);
        for (word, table_text) in [("T1", "image\na.nii.gz\n"), ("0", "image\nb.png\n")] {
            card.options.channel = Some(word.to_owned());
            std::fs::write(&table, table_text).unwrap();
            let text = open(&card, &table).unwrap_err().to_string();
            assert!(text.contains("the number, from 0, of a channel"), "{text}");
        }
    }

    #[test]
    fn an_unknown_kind_is_answered_with_the_known_ones() {
        let text = DatasetCard::find("imagenet").unwrap_err().to_string();
        assert!(
            text.contains("`imagenet`") && text.contains("`folder`, `manifest`"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn natural_order_is_total(a in "[a0-2]{0,6}", b in "[a0-2]{0,6}", c in "[a0-2]{0,6}") {
            prop_assert_eq!(natural_order(&a, &b), natural_order(&b, &a).reverse());
            prop_assert_eq!(natural_order(&a, &b).is_eq(), a == b);
            let mut sorted = [&a, &b, &c];
            sorted.sort_by(|x, y| natural_order(x, y));
            prop_assert!(natural_order(sorted[0], sorted[2]).is_le());
        }
    }
}
