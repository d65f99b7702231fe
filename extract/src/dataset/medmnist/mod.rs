//! MedMNIST: one `.npz` archive with images and labels of all splits.

mod classes;

use std::path::{Path, PathBuf};

use cache::{Labels, Split, Task};

use self::classes::CLASSES;
use super::files::{Tree, name};
use super::{Dataset, DatasetCard, Sample};
use crate::Error;
use crate::read::Source;
use crate::read::npz::{self, NpzArray};

/// Most images in a split that are listed.
const MAX_IMAGES: usize = 1 << 22;

const NO_PATIENTS: &str =
    "MedMNIST does not say which images are of one patient; its splits are taken as they are";

/// The labels of one split, `[N, L]`.
struct LabelTable {
    split: Split,
    /// `L`.
    width: usize,
    values: Vec<u8>,
}

/// Lists the images in the archive `root`, or in the only one below the folder `root`: train, val,
/// test, each in the order of the archive.
///
/// One label per image is a class, several are classes that are present (1) or absent (0). Ids are
/// `train/00000` and on. Archives of other names have numbers for class names.
pub(super) fn open(root: &Path, card: &DatasetCard) -> Result<Dataset, Error> {
    let path = archive_in(root)?;
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let tables = tables(&path)?;
    let width = tables[0].width;
    let classes = match card.classes.is_empty() {
        true => class_names(&path, &tables),
        false => card.classes.clone(),
    };
    let mut samples = Vec::new();
    for table in &tables {
        let split = table.split.name();
        for (k, values) in (0..).zip(table.values.chunks_exact(width)) {
            let file = PathBuf::from(name(&path));
            let labels = labels(values, classes.len());
            let labels = labels.ok_or_else(|| odd_label(&path, split, k, values, &classes))?;
            samples.push(Sample {
                id: format!("{split}/{k:05}"),
                split: Some(table.split),
                labels,
                ..Sample::of_image(Source::Item(file, format!("{split}_images"), k))
            });
        }
    }
    let task = match width {
        1 => Task::SingleLabel,
        _ => Task::MultiLabel,
    };
    Ok(Dataset {
        name: name(&path.with_extension("")),
        warnings: vec![NO_PATIENTS.to_owned()],
        ..Dataset::new(folder, task, classes, samples)
    })
}

fn archive_in(root: &Path) -> Result<PathBuf, Error> {
    if root.is_file() {
        return Ok(root.to_path_buf());
    }
    let tree = Tree::walk(root)?;
    let is_archive = |file: &&PathBuf| file.extension().is_some_and(|ext| ext == "npz");
    let found: Vec<&PathBuf> = tree.files.iter().filter(is_archive).collect();
    if let [only] = found[..] {
        return Ok(root.join(only));
    }
    let names: Vec<String> = found
        .iter()
        .take(8)
        .map(|f| f.display().to_string())
        .collect();
    Err(Error::Layout {
        path: root.to_path_buf(),
        found: match found.len() {
            0 => "no `.npz` file".to_owned(),
            count => format!("{count} archives, `{}`", names.join("`, `")),
        },
        expected: "one archive of MedMNIST, for instance `pneumoniamnist.npz`".to_owned(),
        hint: "pass the archive itself as `--root`".to_owned(),
    })
}

/// Reads the labels of all splits, which says how many images there are.
fn tables(path: &Path) -> Result<Vec<LabelTable>, Error> {
    let arrays = npz::names(path)?;
    let mut tables = Vec::new();
    for split in [Split::Train, Split::Val, Split::Test] {
        let images = format!("{}_images", split.name());
        if arrays.contains(&images) {
            tables.push(table(path, split, &images)?);
        }
    }
    let odd = |found: String, expected: &str| Error::Layout {
        path: path.to_path_buf(),
        found,
        expected: expected.to_owned(),
        hint: "download the archive again from MedMNIST's page".to_owned(),
    };
    if tables.iter().all(|table| table.values.is_empty()) {
        let found = format!("the arrays `{}`", arrays.join("`, `"));
        let expected = "images in `train_images`, `val_images` or `test_images`, and `…_labels`";
        return Err(odd(found, expected));
    }
    match tables.iter().all(|table| table.width == tables[0].width) {
        true => Ok(tables),
        false => Err(odd(
            "splits with different numbers of labels".to_owned(),
            "the same number for each image",
        )),
    }
}

fn table(path: &Path, split: Split, images: &str) -> Result<LabelTable, Error> {
    let labels = format!("{}_labels", split.name());
    let array = NpzArray::open(path, &labels)?;
    let images = NpzArray::open(path, images)?.header().shape.clone();
    let shape = array.header().shape.clone();
    let width = match shape[1..] {
        [] => 1,
        [width] => width,
        _ => 0,
    };
    if width == 0 || shape[0] != images[0] || !(3..=4).contains(&images.len()) {
        return Err(Error::Layout {
            path: path.to_path_buf(),
            found: format!(
                "{} images of the shape {images:?}, labels {shape:?}",
                split.name()
            ),
            expected: "`[N, H, W]`, `[N, H, W, 3]` or `[N, D, H, W]`, and `[N, L]`".to_owned(),
            hint: "download the archive again from MedMNIST's page".to_owned(),
        });
    }
    if shape[0] > MAX_IMAGES {
        return Err(Error::TooLarge {
            path: path.to_path_buf(),
            found: format!("{} images in `{}`", shape[0], split.name()),
            limit: format!("{MAX_IMAGES}"),
        });
    }
    Ok(LabelTable {
        split,
        width,
        values: array.all()?,
    })
}

/// The classes that go with the name of the archive (`bloodmnist_64.npz`); else numbers.
fn class_names(path: &Path, tables: &[LabelTable]) -> Vec<String> {
    let file = name(path).to_ascii_lowercase();
    let flag = file.split(|c: char| !c.is_ascii_alphanumeric()).next();
    let known = CLASSES.iter().find(|(known, _)| Some(*known) == flag);
    if let Some((_, names)) = known {
        return names.iter().map(|name| (*name).to_owned()).collect();
    }
    let largest = tables.iter().flat_map(|table| &table.values).max();
    let count = match tables[0].width {
        1 => usize::from(largest.copied().unwrap_or_default()) + 1,
        width => width,
    };
    (0..count).map(|class| class.to_string()).collect()
}

/// The labels of an image; `None` if they do not fit the classes.
fn labels(values: &[u8], classes: usize) -> Option<Labels> {
    match values {
        [class] => (usize::from(*class) < classes).then(|| Labels::Single(Some((*class).into()))),
        states => {
            let are_states = states.len() == classes && states.iter().all(|state| *state <= 1);
            are_states.then(|| Labels::Multi(states.iter().map(|s| Some(*s as i8)).collect()))
        }
    }
}

fn odd_label(path: &Path, split: &str, k: u32, values: &[u8], classes: &[String]) -> Error {
    Error::Layout {
        path: path.to_path_buf(),
        found: format!("the labels {values:?} of image {k} in `{split}_labels`"),
        expected: match values.len() {
            1 => format!(
                "one of the {} classes `{}`",
                classes.len(),
                classes.join("`, `")
            ),
            _ => format!("0 or 1 for each of the {} classes", classes.len()),
        },
        hint: "give the archive its original name, which says what its classes are".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::read::Reader;
    use crate::read::npz::tests::{archive_of, npy};

    /// An archive with 3, 2 and 1 images of these sides, and these labels for each split.
    fn archive(sides: &[usize], labels: [(&[usize], &[u8]); 3]) -> Vec<u8> {
        let mut files = Vec::new();
        for ((split, count), (shape, values)) in [("train", 3), ("val", 2), ("test", 1)]
            .into_iter()
            .zip(labels)
        {
            let shape_of_images = [&[count], sides].concat();
            let size: usize = shape_of_images.iter().product();
            let pixels: Vec<u8> = (0..size).map(|k| (k * 7 + k / 9) as u8).collect();
            files.push((format!("{split}_images"), npy(&shape_of_images, &pixels)));
            files.push((format!("{split}_labels"), npy(shape, values)));
        }
        let files: Vec<_> = files.iter().map(|(n, f)| (n.as_str(), f.clone())).collect();
        archive_of(&files)
    }

    fn binary() -> Vec<u8> {
        let labels: [(&[usize], &[u8]); 3] =
            [(&[3, 1], &[1, 0, 1]), (&[2, 1], &[0, 0]), (&[1, 1], &[1])];
        archive(&[4, 5], labels)
    }

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    fn opened(root: &Path) -> Result<Dataset, Error> {
        crate::dataset::open(&DatasetCard::find("medmnist").unwrap(), root)
    }

    fn refusal(root: &Path) -> String {
        let text = opened(root).unwrap_err().to_string();
        assert!(text.contains("\nhint: "), "{text}");
        text
    }

    #[test]
    fn an_archive_or_the_folder_with_it_is_a_dataset_of_its_name() {
        let folder = folder(&[("pneumoniamnist_64.npz", &binary()), ("._x.npz", b"x")]);
        for root in [
            folder.path().to_path_buf(),
            folder.path().join("pneumoniamnist_64.npz"),
        ] {
            let dataset = opened(&root).unwrap();
            assert_eq!(dataset.name, "pneumoniamnist_64");
            assert_eq!(dataset.classes, ["normal", "pneumonia"]);
            let found: Vec<_> = dataset
                .samples
                .iter()
                .map(|s| (&*s.id, s.labels.clone()))
                .collect();
            let single = |class| Labels::Single(Some(class));
            assert_eq!(found[0], ("train/00000", single(1)));
            assert_eq!(found[4], ("val/00001", single(0)));
            assert_eq!(found[5], ("test/00000", single(1)));
            assert_eq!(dataset.samples[3].split, Some(Split::Val));
            assert_eq!(
                (dataset.warnings.len(), dataset.samples[0].patient.as_ref()),
                (1, None)
            );
            let reader = Reader::new(&dataset.root);
            let image = reader.volume(&dataset.samples[1].image).unwrap();
            assert_eq!(image.plane(0)[[0, 0, 1]], 149.0);
        }
    }

    #[test]
    fn several_labels_are_states_of_all_classes() {
        let mut states = [0; 14];
        (states[1], states[13]) = (1, 1);
        let three = [states, [0; 14], states].concat();
        let two = [states, states].concat();
        let labels: [(&[usize], &[u8]); 3] =
            [(&[3, 14], &three), (&[2, 14], &two), (&[1, 14], &states)];
        let root = folder(&[("chestmnist.npz", &archive(&[4, 5, 3], labels))]);
        let dataset = opened(root.path()).unwrap();
        assert_eq!(
            (dataset.task, dataset.classes[13].as_str()),
            (Task::MultiLabel, "hernia")
        );
        let expected = states.map(|state| Some(state as i8)).to_vec();
        assert_eq!(dataset.samples[0].labels, Labels::Multi(expected));
    }

    #[test]
    fn archives_of_other_names_have_numbers_for_classes() {
        let labels: [(&[usize], &[u8]); 3] = [(&[3], &[1, 0, 4]), (&[2], &[0, 0]), (&[1], &[1])];
        let root = folder(&[("mine.npz", &archive(&[2, 4, 5], labels))]);
        let dataset = opened(root.path()).unwrap();
        assert_eq!(dataset.classes, ["0", "1", "2", "3", "4"]);
        let reader = Reader::new(&dataset.root);
        assert_eq!(
            reader.volume(&dataset.samples[5].image).unwrap().slices(),
            2
        );
    }

    #[test]
    fn labels_that_do_not_fit_are_refused() {
        let labels: [(&[usize], &[u8]); 3] =
            [(&[3, 1], &[1, 0, 2]), (&[2, 1], &[0, 0]), (&[1, 1], &[1])];
        let root = folder(&[("pneumoniamnist.npz", &archive(&[4, 5], labels))]);
        let text = refusal(root.path());
        assert!(
            text.contains("image 2 in `train_labels`") && text.contains("`pneumonia`"),
            "{text}"
        );
        let labels: [(&[usize], &[u8]); 3] =
            [(&[2, 1], &[1, 0]), (&[2, 1], &[0, 0]), (&[1, 1], &[1])];
        let root = folder(&[("pneumoniamnist.npz", &archive(&[4, 5], labels))]);
        assert!(
            refusal(root.path()).contains("train images of the shape [3, 4, 5], labels [2, 1]")
        );
        let labels: [(&[usize], &[u8]); 3] =
            [(&[3, 1], &[1, 0, 0]), (&[2, 2], &[0; 4]), (&[1, 1], &[1])];
        let root = folder(&[("pneumoniamnist.npz", &archive(&[4, 5], labels))]);
        assert!(refusal(root.path()).contains("different numbers of labels"));
    }

    #[test]
    fn no_archive_several_and_other_archives_are_refused() {
        assert!(refusal(folder(&[("a.txt", b"x")]).path()).contains("no `.npz` file"));
        let root = folder(&[("a.npz", b"x"), ("b.npz", b"x")]);
        assert!(refusal(root.path()).contains("`a.npz`, `b.npz`"));
        let root = folder(&[("a.npz", &archive_of(&[("x", npy(&[1, 2, 3], &[0; 6]))]))]);
        assert!(refusal(root.path()).contains("the arrays `x`"));
    }
}
