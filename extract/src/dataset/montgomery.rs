//! Montgomery County: 138 chest radiographs with masks of both lungs; with them, in a merged copy,
//! the larger set from Shenzhen.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use cache::{Labels, MaskClass, Task};
use common::counted;
use imaging::read::{MaskPart, Source};

use super::examples::examples;
use super::files::{Tree, find_root, is_image, name};
use super::missing::Gap;
use super::{Dataset, DatasetCard, Sample, id_of};
use crate::Error;

const EXPECTED: &str = "`CXR_png/MCUCXR_0001_0.png` with `ManualMask/leftMask` and \
                        `ManualMask/rightMask`, or with `masks`";

/// Meaning of the last digit of a file name.
const FINDINGS: [&str; 2] = ["normal", "tuberculosis"];

/// Lists the images in `CXR_png`, sorted by the bytes of their names, with their masks.
///
/// Labels come from the masks; if the card has the `classes` `normal` and `tuberculosis`, from the file
/// names. Also uses `options.allow_missing`.
pub(super) fn open(root: &Path, card: &DatasetCard) -> Result<Dataset, Error> {
    let root = &find_root(root, EXPECTED, |folder| Masks::in_folder(folder).is_some())?;
    let masks = Masks::in_folder(root).unwrap_or(Masks::Merged);
    let tree = Tree::walk(root)?;
    let files: HashSet<&Path> = tree.files.iter().map(PathBuf::as_path).collect();
    let images = tree.in_folder(Path::new("CXR_png"));
    let images: Vec<&PathBuf> = images.filter(|file| is_image(file)).collect();
    if images.is_empty() {
        return Err(no_images(root));
    }
    let mut samples = Vec::with_capacity(images.len());
    let mut unmasked = Vec::new();
    for image in &images {
        let mask = masks.of(image, &files);
        if mask.is_empty() {
            unmasked.push(name(image));
        }
        samples.push(sample(root, image, mask, &card.classes)?);
    }
    let mut warnings = Vec::new();
    let orphans = masks.without_image(&tree, &images);
    let masked = images.len() - unmasked.len();
    if let Some(gap) = masks.gap(&unmasked, &orphans, masked) {
        warnings.push(gap.settle(root, card.options.allow_missing, masked)?);
    } else if !unmasked.is_empty() {
        let (count, names) = (unmasked.len(), examples(&unmasked));
        warnings.push(format!(
            "no mask for {count} of {} ({names})",
            counted(images.len(), "image")
        ));
    }
    let dataset = if card.classes.is_empty() {
        Dataset::of_masks(root, masks.classes(), samples)
    } else {
        Dataset {
            mask_classes: masks.classes(),
            ..Dataset::new(root, Task::SingleLabel, card.classes.clone(), samples)
        }
    };
    Ok(Dataset {
        warnings,
        ..dataset
    })
}

fn no_images(root: &Path) -> Error {
    Error::Layout {
        path: root.join("CXR_png"),
        found: "no image".to_owned(),
        expected: "`MCUCXR_0001_0.png` and so on".to_owned(),
        hint: "unpack the download again".to_owned(),
    }
}

fn sample(
    root: &Path,
    image: &Path,
    mask: Vec<MaskPart>,
    classes: &[String],
) -> Result<Sample, Error> {
    let id = id_of(Path::new(&name(image)));
    let (patient, finding) = parse_name(&id).ok_or_else(|| Error::Layout {
        path: root.join(image),
        found: "this image".to_owned(),
        expected: "names such as `MCUCXR_0001_0.png` (0 normal, 1 tuberculosis)".to_owned(),
        hint: "move it out of `CXR_png`".to_owned(),
    })?;
    let class = classes.iter().position(|class| class == finding);
    if class.is_none() && !classes.is_empty() {
        return Err(Error::Layout {
            path: root.to_path_buf(),
            found: format!(
                "the classes `{}` in the dataset's card",
                classes.join("`, `")
            ),
            expected: format!(
                "`{}`, or none for what the masks hold",
                FINDINGS.join("`, `")
            ),
            hint: "correct `classes` in the card".to_owned(),
        });
    }
    Ok(Sample {
        mask,
        patient: Some(patient.to_owned()),
        labels: Labels::Single(class.and_then(|class| u32::try_from(class).ok())),
        id: id.clone(),
        ..Sample::of_image(Source::File(image.to_path_buf()))
    })
}

/// The patient and the finding in `MCUCXR_0001_0`.
fn parse_name(id: &str) -> Option<(&str, &'static str)> {
    let (patient, finding) = id.rsplit_once('_')?;
    let (set, number) = patient.split_once('_')?;
    let is_patient = set.bytes().all(|byte| byte.is_ascii_alphabetic())
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !set.is_empty()
        && !number.is_empty();
    match finding {
        "0" if is_patient => Some((patient, FINDINGS[0])),
        "1" if is_patient => Some((patient, FINDINGS[1])),
        _ => None,
    }
}

/// The ways in which masks are distributed.
#[derive(Clone, Copy)]
enum Masks {
    /// One file for each lung, in `ManualMask/leftMask` and `ManualMask/rightMask`.
    Halves,
    /// One file for both lungs, in `masks`; many of the images from Shenzhen have none.
    Merged,
}

const HALVES: [&str; 2] = ["ManualMask/leftMask", "ManualMask/rightMask"];

impl Masks {
    fn in_folder(folder: &Path) -> Option<Masks> {
        let has = |name: &str| folder.join(name).is_dir();
        match has("CXR_png") {
            true if has(HALVES[0]) => Some(Masks::Halves),
            true if has("masks") => Some(Masks::Merged),
            _ => None,
        }
    }

    fn classes(self) -> Vec<MaskClass> {
        let names: &[&str] = match self {
            Masks::Halves => &["left lung", "right lung"],
            Masks::Merged => &["lung"],
        };
        let class = |(value, name): (u16, &&str)| MaskClass {
            value,
            name: (*name).to_owned(),
        };
        (1..).zip(names).map(class).collect()
    }

    /// The mask of an image; empty if it is missing or incomplete.
    fn of(self, image: &Path, files: &HashSet<&Path>) -> Vec<MaskPart> {
        let file = name(image);
        let masks = match self {
            Masks::Halves => HALVES.map(|folder| Path::new(folder).join(&file)).to_vec(),
            Masks::Merged => {
                let stem = id_of(Path::new(&file));
                let names = [file, format!("{stem}_mask.png")];
                let masks = names.map(|name| Path::new("masks").join(name));
                masks
                    .into_iter()
                    .find(|mask| files.contains(mask.as_path()))
                    .into_iter()
                    .collect()
            }
        };
        if !masks.iter().all(|mask| files.contains(mask.as_path())) {
            return Vec::new();
        }
        let parts = (1..).zip(masks).map(|(value, mask)| MaskPart {
            source: Source::File(mask),
            value: Some(value),
        });
        parts.collect()
    }

    /// Masks without an image.
    fn without_image(self, tree: &Tree, images: &[&PathBuf]) -> Vec<String> {
        let images: HashSet<String> = images
            .iter()
            .map(|image| id_of(Path::new(&name(image))))
            .collect();
        let folders: &[&str] = match self {
            Masks::Halves => &HALVES,
            Masks::Merged => &["masks"],
        };
        let masks = folders
            .iter()
            .flat_map(|folder| tree.in_folder(Path::new(folder)));
        let orphans = masks.filter(|mask| {
            let stem = id_of(Path::new(&name(mask)));
            is_image(mask) && !images.contains(stem.trim_end_matches("_mask"))
        });
        orphans.map(|mask| mask.display().to_string()).collect()
    }

    /// Missing masks and images, if `masked` images have their mask.
    fn gap(self, unmasked: &[String], orphans: &[String], masked: usize) -> Option<Gap> {
        let mut parts = Vec::new();
        let needs_all = matches!(self, Masks::Halves) || masked == 0;
        if !unmasked.is_empty() && needs_all {
            let (images, names) = (counted(unmasked.len(), "image"), examples(unmasked));
            parts.push(format!("no whole mask for {images} ({names})"));
        }
        if !orphans.is_empty() {
            let (masks, names) = (counted(orphans.len(), "mask"), examples(orphans));
            parts.push(format!("no image for {masks} ({names})"));
        }
        (!parts.is_empty()).then(|| Gap {
            found: parts.join(" and "),
            expected: "a mask for each image, and an image for each mask".to_owned(),
            hint: "unpack the whole of the download again".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
