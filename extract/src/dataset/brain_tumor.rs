//! The brain tumours of Cheng et al. (figshare 1512427): a MATLAB 7.3 file per slice, `1.mat` to
//! `3064.mat`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cache::{Labels, Task};
use common::counted;
use imaging::read::mat::MatFile;
use imaging::read::{MaskPart, Source};
use rayon::prelude::*;

use super::examples::examples;
use super::files::{Tree, name};
use super::missing::Gap;
use super::{Dataset, DatasetCard, Sample};
use crate::Error;

/// The file of the official folds.
const FOLDS: &str = "cvind.mat";

/// Prefix of the names of the download's folders.
const FOLDERS: &str = "brainTumorData";

/// The classes, in the order of the labels 1, 2, 3.
const CLASSES: [&str; 3] = ["meningioma", "glioma", "pituitary"];

/// Lists the slices in all folders below `root` by their numbers; reads the patient and the class
/// of each.
///
/// The card may rename the classes. Also uses `options.allow_missing`.
pub(super) fn open(root: &Path, card: &DatasetCard) -> Result<Dataset, Error> {
    let classes = card.names_for(root, &CLASSES)?;
    let tree = Tree::walk_for(root, is_needed)?;
    let files: Vec<(u32, &PathBuf)> = numbered(&tree)?.into_iter().collect();
    let read = |(number, file): &(u32, &PathBuf)| sample(&tree.root, *number, file);
    let read: Vec<Result<Sample, Error>> = files.par_iter().map(read).collect();
    let (mut samples, mut broken) = (Vec::with_capacity(files.len()), Vec::new());
    for ((number, file), sample) in files.iter().zip(read) {
        match sample {
            Ok(sample) => samples.push((*number, sample)),
            Err(error) => broken.push((file.display().to_string(), error)),
        }
    }
    let mut warnings: Vec<String> = tree.warning().into_iter().collect();
    if let Some(gap) = gap(broken) {
        warnings.push(gap.settle(root, card.options.allow_missing, samples.len())?);
    }
    warnings.extend(add_folds(&tree, &mut samples));
    let samples = samples.into_iter().map(|(_, sample)| sample).collect();
    Ok(Dataset {
        mask_classes: card.mask_classes.clone(),
        warnings,
        ..Dataset::new(root, Task::SingleLabel, classes, samples)
    })
}

/// True if a path is named like the dataset's files, or the folders of its download.
fn is_needed(path: &Path) -> bool {
    let name = name(path);
    number(&name).is_some() || name == FOLDS || name.starts_with(FOLDERS)
}

/// The unreadable files, with the reason for the first.
fn gap(broken: Vec<(String, Error)>) -> Option<Gap> {
    let names: Vec<String> = broken.iter().map(|(name, _)| name.clone()).collect();
    let (_, first) = broken.into_iter().next()?;
    let text = first.to_string();
    let (reason, hint) = text
        .split_once("\nhint: ")
        .unwrap_or((&text, "download the files again"));
    Some(Gap {
        found: format!(
            "{} of no use ({}; {reason})",
            counted(names.len(), "file"),
            examples(&names)
        ),
        expected: "only whole files of the dataset".to_owned(),
        hint: hint.to_owned(),
    })
}

/// The files named by a number, by it.
fn numbered(tree: &Tree) -> Result<BTreeMap<u32, &PathBuf>, Error> {
    let mut files = BTreeMap::new();
    for file in &tree.files {
        let Some(number) = number(&name(file)) else {
            continue;
        };
        if let Some(other) = files.insert(number, file) {
            return Err(Error::Layout {
                path: tree.root.clone(),
                found: format!("`{}` and `{}`", other.display(), file.display()),
                expected: "each number once".to_owned(),
                hint: "pass a folder with one copy of the dataset".to_owned(),
            });
        }
    }
    if files.is_empty() {
        Err(Error::Layout {
        path: tree.root.clone(),
        found: "no file named like `1.mat`".to_owned(),
        expected: "`brainTumorDataPublic_1-766/1.mat` to `brainTumorDataPublic_2299-3064/3064.mat`, in whatever folders".to_owned(),
        hint: "unpack the four archives below one folder, and pass that; for PNG or JPEG copies use `--dataset folder`".to_owned(),
    })
    } else {
        Ok(files)
    }
}

fn number(file_name: &str) -> Option<u32> {
    let stem = file_name.strip_suffix(".mat")?;
    let is_number = stem.bytes().all(|byte| byte.is_ascii_digit());
    stem.parse().ok().filter(|_| is_number)
}

fn sample(root: &Path, number: u32, file: &Path) -> Result<Sample, Error> {
    let path = root.join(file);
    let mat = MatFile::open(&path)?;
    let odd = |found: String, expected: String| Error::Layout {
        path: path.clone(),
        found,
        expected,
        hint: "download the file again, or move it away".to_owned(),
    };
    let patient = mat.text("cjdata/PID")?;
    if patient.is_empty() {
        let expected = "the patient's name";
        return Err(odd("a blank `cjdata/PID`".to_owned(), expected.to_owned()));
    }
    let label = mat.numbers("cjdata/label")?;
    let class = (0..CLASSES.len() as u32).find(|class| label[..] == [f64::from(class + 1)]);
    let class = class.ok_or_else(|| {
        let found = format!("`cjdata/label` as {label:?}");
        odd(found, format!("one number in 1..={}", CLASSES.len()))
    })?;
    let array = |name| Source::Array(file.to_path_buf(), name);
    Ok(Sample {
        id: number.to_string(),
        mask: vec![MaskPart {
            source: array("cjdata/tumorMask"),
            value: Some(1),
        }],
        patient: Some(patient),
        labels: Labels::Single(Some(class)),
        ..Sample::of_image(array("cjdata/image"))
    })
}

/// Sets the official folds (entry `k` is that of file `k`, counted from 1); gives a warning if some files
/// have none.
fn add_folds(tree: &Tree, samples: &mut [(u32, Sample)]) -> Option<String> {
    let file = tree.files.iter().find(|file| name(file) == FOLDS);
    let Some(file) = file else {
        return Some(format!(
            "there is no `{FOLDS}`, so the official folds are not known"
        ));
    };
    let path = tree.root.join(file);
    let folds = match MatFile::open(&path).and_then(|mat| mat.numbers("cvind")) {
        Ok(folds) => folds,
        Err(error) => return Some(format!("the official folds are not known: {error}")),
    };
    let fold_of = |number: u32| {
        let fold = *folds.get(number.checked_sub(1)? as usize)?;
        (1..=5).find(|k| f64::from(*k) == fold).map(|k: u16| k - 1)
    };
    let mut without = 0_usize;
    for (number, sample) in samples {
        sample.fold = fold_of(*number);
        without += usize::from(sample.fold.is_none());
    }
    (without > 0).then(|| {
        let files = counted(without, "file");
        format!("`{FOLDS}` has no fold in 1..=5 for {files}: in no fold")
    })
}

#[cfg(test)]
mod tests;
