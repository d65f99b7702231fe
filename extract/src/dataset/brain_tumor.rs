//! The brain tumours of Cheng et al. (figshare 1512427): a MATLAB 7.3 file per slice, `1.mat` to
//! `3064.mat`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cache::{Labels, Task};
use rayon::prelude::*;

use super::files::{Tree, name};
use super::{Dataset, DatasetCard, Sample};
use crate::Error;
use crate::read::mat::MatFile;
use crate::read::{MaskPart, Source};

/// The file of the official folds.
const FOLDS: &str = "cvind.mat";

/// Lists the slices in all folders below `root` by their numbers; reads the patient and the class
/// of each.
///
/// The card says the classes, in the order of the labels 1, 2, ….
pub(super) fn open(root: &Path, card: &DatasetCard) -> Result<Dataset, Error> {
    let tree = Tree::walk(root)?;
    let files: Vec<(u32, &PathBuf)> = numbered(&tree)?.into_iter().collect();
    let classes = card.classes.len();
    let read = |(number, file): &(u32, &PathBuf)| sample(&tree.root, *number, file, classes);
    let samples: Vec<Result<Sample, Error>> = files.par_iter().map(read).collect();
    let mut samples: Vec<Sample> = samples.into_iter().collect::<Result<_, _>>()?;
    let numbers = files.iter().map(|(number, _)| *number);
    let warnings = add_folds(&tree, numbers.zip(&mut samples));
    Ok(Dataset {
        mask_classes: card.mask_classes.clone(),
        warnings: warnings.into_iter().collect(),
        ..Dataset::new(root, Task::SingleLabel, card.classes.clone(), samples)
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
    match files.is_empty() {
        true => Err(Error::Layout {
            path: tree.root.clone(),
            found: "no file named like `1.mat`".to_owned(),
            expected: "`brainTumorDataPublic_1-766/1.mat` to `brainTumorDataPublic_2299-3064/3064.mat`, in whatever folders".to_owned(),
            hint: "unpack the four archives below one folder, and pass that; for PNG or JPEG copies use `--dataset folder`".to_owned(),
        }),
        false => Ok(files),
    }
}

fn number(file_name: &str) -> Option<u32> {
    let stem = file_name.strip_suffix(".mat")?;
    let is_number = stem.bytes().all(|byte| byte.is_ascii_digit());
    stem.parse().ok().filter(|_| is_number)
}

fn sample(root: &Path, number: u32, file: &Path, classes: usize) -> Result<Sample, Error> {
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
    let class = (1..=classes as u32).find(|class| label[..] == [f64::from(*class)]);
    let class = class.ok_or_else(|| {
        let found = format!("`cjdata/label` as {label:?}");
        odd(found, format!("one number in 1..={classes}"))
    })?;
    let array = |name| Source::Array(file.to_path_buf(), name);
    Ok(Sample {
        id: number.to_string(),
        mask: vec![MaskPart {
            source: array("cjdata/tumorMask"),
            value: Some(1),
        }],
        patient: Some(patient),
        labels: Labels::Single(Some(class - 1)),
        ..Sample::of_image(array("cjdata/image"))
    })
}

/// Sets the official folds, of which the entry `k` is that of the file `k`, counted from 1; says
/// why if some have none.
fn add_folds<'a>(
    tree: &Tree,
    samples: impl Iterator<Item = (u32, &'a mut Sample)>,
) -> Option<String> {
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
    let mut without = 0;
    for (number, sample) in samples {
        sample.fold = fold_of(number);
        without += usize::from(sample.fold.is_none());
    }
    (without > 0).then(|| {
        format!("`{FOLDS}` has no fold in 1..=5 for {without} of the files, which are in none")
    })
}

#[cfg(test)]
mod tests {

    use hdf5_pure::{DatasetBuilder, FileBuilder};

    use super::*;
    use crate::dataset::fixtures::folder;

    /// A file as MATLAB writes it: an array's columns are the image's rows.
    fn mat(fill: impl FnOnce(&mut FileBuilder)) -> Vec<u8> {
        let mut builder = FileBuilder::new();
        builder.with_userblock(512);
        fill(&mut builder);
        let mut bytes = builder.finish().unwrap();
        bytes[..19].copy_from_slice(b"MATLAB 7.3 MAT-file");
        bytes
    }

    fn slice(patient: &str, label: f64) -> Vec<u8> {
        mat(|file| {
            let mut group = file.create_group("cjdata");
            let units: Vec<u16> = patient.encode_utf16().collect();
            let count = units.len() as u64;
            shaped(
                group.create_dataset("PID").with_u16_data(&units),
                &[count, 1],
            );
            shaped(
                group.create_dataset("label").with_f64_data(&[label]),
                &[1, 1],
            );
            let pixels: Vec<i16> = (0..12).collect();
            shaped(
                group.create_dataset("image").with_i16_data(&pixels),
                &[4, 3],
            );
            let mask: Vec<u8> = (0..12).map(|pixel| u8::from(pixel > 9)).collect();
            shaped(
                group.create_dataset("tumorMask").with_u8_data(&mask),
                &[4, 3],
            );
            file.add_group(group.finish());
        })
    }

    fn shaped(array: &mut DatasetBuilder, shape: &[u64]) {
        array.with_shape(shape);
    }

    fn folds(folds: &[f64]) -> Vec<u8> {
        mat(|file| {
            let array = file.create_dataset("cvind");
            shaped(array.with_f64_data(folds), &[1, folds.len() as u64]);
        })
    }

    fn opened(root: &Path) -> Result<Dataset, Error> {
        open(root, &DatasetCard::find("brain-tumor").unwrap())
    }

    #[test]
    fn slices_are_sorted_by_number_and_know_patient_class_and_fold() {
        let root = folder(&[
            ("b_767-1532/767.mat", slice("MR020260B\0", 2.0)),
            ("b_1-766/10.mat", slice("100360", 1.0)),
            ("b_1-766/2.mat", slice("100360", 3.0)),
            ("b_1-766/._2.mat", b"\0\x05\x16\x07".to_vec()),
            ("cvind.mat", folds(&[1.0, 5.0, 2.0])),
            ("README.txt", b"text".to_vec()),
        ]);
        let dataset = opened(root.path()).unwrap();
        let found: Vec<_> = dataset
            .samples
            .iter()
            .map(|s| {
                (
                    &*s.id,
                    s.patient.as_deref().unwrap(),
                    s.labels.clone(),
                    s.fold,
                )
            })
            .collect();
        let single = |class| Labels::Single(Some(class));
        let expected = [
            ("2", "100360", single(2), Some(4)),
            ("10", "100360", single(0), None),
            ("767", "MR020260B", single(1), None),
        ];
        assert_eq!(found, expected);
        assert_eq!(dataset.classes, ["meningioma", "glioma", "pituitary"]);
        assert!(dataset.warnings[0].contains("for 2 of the files"));
        assert_eq!(dataset.mask_classes[0].name, "tumor");
    }

    #[test]
    fn image_and_mask_are_as_stored_and_axial_transposes_them() {
        use crate::preprocess::Slicing;
        let root = folder(&[("1.mat", slice("1", 1.0)), ("cvind.mat", folds(&[1.0]))]);
        let dataset = opened(root.path()).unwrap();
        let reader = crate::read::Reader::new(root.path());
        let sample = &dataset.samples[0];
        let stored = reader.volume(&sample.image).unwrap();
        assert_eq!(stored.shape(0), [1, 4, 3]);
        let shown = stored.cut(Slicing::Axial).unwrap();
        assert_eq!(
            (shown.shape(0), shown.plane(0)[[0, 0, 3]]),
            ([1, 3, 4], 9.0)
        );
        let mask = reader.volume(&sample.mask[0].source).unwrap();
        assert_eq!(mask.label_plane(0).unwrap().sum(), 2);
        assert!(dataset.warnings.is_empty());
    }

    #[test]
    fn folds_may_be_absent_or_unreadable() {
        let old = b"MATLAB 5.0 MAT-file, Platform: PCWIN64".to_vec();
        for (name, bytes) in [("other.mat", old.clone()), ("cvind.mat", old)] {
            let root = folder(&[("1.mat", slice("1", 1.0)), (name, bytes)]);
            let dataset = opened(root.path()).unwrap();
            assert_eq!((dataset.samples.len(), dataset.samples[0].fold), (1, None));
            assert!(dataset.warnings[0].contains("folds are not known"));
        }
    }

    #[test]
    fn bad_files_are_errors_that_name_them() {
        let old = b"MATLAB 5.0 MAT-file, Platform: PCWIN64".to_vec();
        let cut = slice("1", 1.0)[..700].to_vec();
        let cases = [
            ("1.mat", old, "expected version 7.3"),
            ("2.mat", cut, "damaged"),
            ("3.mat", Vec::new(), "empty"),
            ("4.mat", slice("1", 4.0), "1..=3"),
            ("5.mat", slice(" ", 1.0), "blank `cjdata/PID`"),
        ];
        for (name, bytes, reason) in cases {
            let text = opened(folder(&[(name, bytes)]).path())
                .unwrap_err()
                .to_string();
            assert!(text.contains(name) && text.contains(reason), "{text}");
            assert!(text.contains("\nhint: "), "{text}");
        }
    }

    #[test]
    fn two_files_of_one_number_and_no_file_at_all_are_refused() {
        let root = folder(&[("a/1.mat", Vec::new()), ("b/01.mat", Vec::new())]);
        let text = opened(root.path()).unwrap_err().to_string();
        assert!(text.contains("`a/1.mat` and `b/01.mat`"), "{text}");
        let root = folder(&[("a/1.png", Vec::new()), ("cvind.mat", Vec::new())]);
        let text = opened(root.path()).unwrap_err().to_string();
        assert!(text.contains("no file named like `1.mat`"), "{text}");
    }
}
