//! A folder per class: `ROOT/CLASS/**` or `ROOT/{train,val,test}/CLASS/**`; or images without classes: `ROOT/IMAGE`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cache::{Labels, Split, Task};
use common::counted;
use common::text::slashed;
use imaging::read::Source;

use super::examples::examples;
use super::files::{Tree, is_image, is_voxels, layer};
use super::{DICOM, Dataset, DatasetCard, NIFTI, PICTURES, Sample};
use crate::Error;

/// Endings of medical images in formats that are not read.
const FOREIGN: [&str; 7] = [".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mgh", ".mnc"];

/// Lists the images under the class folders, sorted by the bytes of their paths.
///
/// The classes are the folders' names, sorted; with a layer of splits, those of all splits.
pub(super) fn open(root: &Path, card: &DatasetCard) -> Result<Dataset, Error> {
    let tree = Tree::walk(root)?;
    let images: Vec<&PathBuf> = tree.files.iter().filter(|file| is_image(file)).collect();
    let first: BTreeSet<String> = images.iter().filter_map(|image| layer(image, 0)).collect();
    if first.is_empty() && !images.is_empty() {
        return Ok(unlabelled(root, &images, &tree));
    }
    let has_splits = are_splits(root, &first)?;
    let class_layer = usize::from(has_splits);
    let classes: BTreeSet<String> = images
        .iter()
        .filter_map(|image| layer(image, class_layer))
        .collect();
    let mut classes: Vec<String> = classes.into_iter().collect();
    if !card.classes.is_empty() {
        classes.clone_from(&card.classes);
    }
    let (mut samples, mut outside) = (Vec::new(), Vec::new());
    for image in images {
        let Some(class) = layer(image, class_layer) else {
            outside.push(slashed(image));
            continue;
        };
        let index = classes.iter().position(|name| *name == class);
        samples.push(Sample {
            labels: Labels::Single(Some(index.ok_or_else(|| unknown_class(root, class))? as u32)),
            split: layer(image, 0)
                .filter(|_| has_splits)
                .and_then(|name| Split::parse(&name)),
            ..Sample::of_image(Source::File(image.to_path_buf()))
        });
    }
    let others = no_images_of(&tree);
    if samples.is_empty() {
        return Err(no_images(root, &others));
    }
    let warnings = [
        one_class(root, has_splits, &classes, &tree)?,
        left_out("images outside class folders", &outside),
        not_images(&others),
    ];
    Ok(Dataset {
        warnings: warnings.into_iter().flatten().collect(),
        ..Dataset::new(root, Task::SingleLabel, classes, samples)
    })
}

/// Images that lie in the folder itself: they have no classes.
fn unlabelled(root: &Path, images: &[&PathBuf], tree: &Tree) -> Dataset {
    let samples = images
        .iter()
        .map(|image| Sample::of_image(Source::File(image.to_path_buf())));
    let said = format!(
        "no folders of classes: {} without labels, which `probe predict`, `probe map` and `probe nearest` take",
        counted(images.len(), "image")
    );
    Dataset {
        warnings: [Some(said), not_images(&no_images_of(tree))]
            .into_iter()
            .flatten()
            .collect(),
        ..Dataset::new(root, Task::Unlabelled, Vec::new(), samples.collect())
    }
}

/// Files that are not named like images, without the voxels of `.hdr` files.
fn no_images_of(tree: &Tree) -> Vec<String> {
    let others = tree.files.iter().filter(|file| !is_image(file));
    let others = others.filter(|file| !is_voxels(file));
    others.map(|file| slashed(file)).collect()
}

fn not_images(others: &[String]) -> Option<String> {
    left_out("files that are not named like images", others)
        .map(|text| text + &how_to_convert(others))
}

fn left_out(what: &str, files: &[String]) -> Option<String> {
    let (count, names) = (files.len(), examples(files));
    (count > 0).then(|| format!("skipped {what}: {count} ({names})"))
}

/// Hint for files of unsupported formats.
fn how_to_convert(files: &[String]) -> String {
    let is_foreign = |file: &String| {
        let name = file.to_ascii_lowercase();
        FOREIGN.iter().any(|ending| name.ends_with(ending))
    };
    if files.iter().any(is_foreign) {
        format!(
            "; convert images named {} to NIfTI, for instance with SimpleITK or nibabel",
            FOREIGN.join(", ")
        )
    } else {
        String::new()
    }
}

/// A warning if all images are of one class, whose folder may be the one that was meant.
///
/// # Errors
///
/// [`Error::Layout`] if the folders in it are splits.
fn one_class(
    root: &Path,
    has_splits: bool,
    classes: &[String],
    tree: &Tree,
) -> Result<Option<String>, Error> {
    let [class] = classes else {
        return Ok(None);
    };
    let below: BTreeSet<String> = tree
        .files
        .iter()
        .filter_map(|file| layer(file, 1))
        .collect();
    let is_split = |name: &String| Split::parse(name).is_some();
    if !has_splits && !below.is_empty() && below.iter().all(is_split) {
        return Err(Error::Layout {
            path: root.to_path_buf(),
            found: format!("splits in the folder `{class}`"),
            expected: "the folders of classes, or of splits".to_owned(),
            hint: format!("pass `{}`", root.join(class).display()),
        });
    }
    Ok(Some(format!(
        "all images have one class, `{class}`; if its subfolders are the classes, pass that folder"
    )))
}

/// True if the folders are splits; folders of splits beside others, taken for classes, would be
/// silently wrong.
fn are_splits(root: &Path, folders: &BTreeSet<String>) -> Result<bool, Error> {
    let splits = folders.iter().filter(|name| Split::parse(name).is_some());
    match splits.count() {
        0 => Ok(false),
        count if count == folders.len() => Ok(true),
        _ => {
            let names: Vec<&str> = folders.iter().map(String::as_str).collect();
            Err(Error::Layout {
                path: root.to_path_buf(),
                found: format!("the folders `{}`", names.join("`, `")),
                expected: "folders of splits only (`train`, `val`, `test`), or of classes only"
                    .to_owned(),
                hint: "move the folders that are no splits away, or list the images in a manifest"
                    .to_owned(),
            })
        }
    }
}

fn unknown_class(root: &Path, class: String) -> Error {
    Error::Layout {
        path: root.to_path_buf(),
        found: format!("a folder `{class}`"),
        expected: "only folders that the card's `classes` name".to_owned(),
        hint: "add the name to `classes`, or move the folder away".to_owned(),
    }
}

fn no_images(root: &Path, others: &[String]) -> Error {
    let endings: Vec<&str> = [&PICTURES[..], &NIFTI, &DICOM].concat();
    Error::Layout {
        path: root.to_path_buf(),
        found: "no image in a class folder".to_owned(),
        expected: format!(
            "`CLASS/IMAGE`, `train/CLASS/IMAGE`, or images without classes in the folder itself, named {}",
            endings.join(", ")
        ),
        hint: format!(
            "pass the folder that holds the class folders{}",
            how_to_convert(others)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::fixtures::empty;

    fn opened(files: &[&str]) -> Result<Dataset, Error> {
        let card = DatasetCard::find("folder").unwrap();
        super::super::open(&card, empty(files).path())
    }

    #[test]
    fn classes_are_sorted_and_junk_is_ignored() {
        let dataset = opened(&[
            "pneumonia/2.PNG",
            "normal/b c/1.nii.gz",
            "normal/._1.png",
            "normal/.DS_Store",
            "normal/__MACOSX/9.png",
            "normal/README.md",
            "__MACOSX/normal/9.png",
            "normal/0.jpeg",
        ])
        .unwrap();
        assert_eq!(dataset.classes, ["normal", "pneumonia"]);
        let ids: Vec<_> = dataset
            .samples
            .iter()
            .map(|sample| sample.id.as_str())
            .collect();
        assert_eq!(ids, ["normal/0", "normal/b c/1", "pneumonia/2"]);
        assert_eq!(dataset.samples[2].labels, Labels::Single(Some(1)));
        let image = Source::File("normal/b c/1.nii.gz".into());
        assert_eq!(dataset.samples[1].image, image);
    }

    #[test]
    fn files_that_are_not_taken_are_counted_and_named() {
        let files = [
            "a/1.png",
            "a/2.nrrd",
            "notes.txt",
            "3.png",
            "4.png",
            "b/5.png",
        ];
        let warnings = opened(&files).unwrap().warnings;
        assert_eq!(warnings.len(), 2);
        assert!(
            warnings[0].contains("outside class folders: 2 (`3.png`, `4.png`)"),
            "{warnings:?}"
        );
        assert!(
            warnings[1].contains(": 2 (`a/2.nrrd`, `notes.txt`); ")
                && warnings[1].contains("SimpleITK"),
            "{warnings:?}"
        );
        assert_eq!(opened(&["a/1.png", "b/5.png"]).unwrap().warnings, [""; 0]);
    }

    #[test]
    fn all_kinds_that_can_be_read_are_listed_and_a_pair_is_one_image() {
        let files = [
            "a/1.TIF",
            "a/2.tiff",
            "a/3.hdr",
            "a/3.img",
            "a/4.hdr.gz",
            "a/4.img.gz",
            "b/5.IMA",
            "b/6.dcm",
        ];
        let dataset = opened(&files).unwrap();
        let images = dataset
            .samples
            .iter()
            .map(|s| s.image.file().to_str().unwrap());
        let images: Vec<_> = images.collect();
        let expected = [
            "a/1.TIF",
            "a/2.tiff",
            "a/3.hdr",
            "a/4.hdr.gz",
            "b/5.IMA",
            "b/6.dcm",
        ];
        assert_eq!(images, expected);
        let pictures: Vec<_> = dataset.samples.iter().map(Sample::is_picture).collect();
        assert_eq!(pictures, [true, true, false, false, false, false]);
        assert_eq!(dataset.warnings, [""; 0]);
    }

    #[test]
    fn a_layer_of_splits_is_recognised_and_classes_are_their_union() {
        let dataset = opened(&["train/b/1.png", "validation/a/2.png", "test/b/3.png"]).unwrap();
        assert_eq!(dataset.classes, ["a", "b"]);
        let splits: Vec<_> = dataset.samples.iter().map(|s| s.split.unwrap()).collect();
        assert_eq!(splits, [Split::Test, Split::Train, Split::Val]);
    }

    #[test]
    fn images_in_the_folder_itself_have_no_labels() {
        let dataset = opened(&["2.png", "1.dcm", "notes.txt", "empty/readme.md"]).unwrap();
        assert_eq!(dataset.task, Task::Unlabelled);
        let ids: Vec<_> = dataset.samples.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(ids, ["1", "2"]);
        assert!(dataset.warnings[0].contains("2 images without labels"));
        assert!(dataset.warnings[1].contains("`notes.txt`"));
    }

    #[test]
    fn a_folder_above_that_of_the_classes_is_noticed() {
        let warning = &opened(&["data/a/1.png", "data/b/2.png"]).unwrap().warnings[0];
        assert!(warning.contains("one class, `data`"), "{warning}");
        let text = opened(&["data/train/a/1.png", "data/test/b/2.png"])
            .unwrap_err()
            .to_string();
        let parts = ["splits in the folder `data`", "hint: pass", "/data`"];
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }

    #[test]
    fn folders_of_splits_beside_others_are_refused() {
        let error = opened(&["train/a/1.png", "other/a/2.png"]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`other`") && text.contains("hint:"), "{text}");
    }

    #[test]
    fn a_folder_without_images_says_what_was_expected() {
        let text = opened(&["a/1.txt", "train/1.png"]).unwrap_err().to_string();
        assert!(
            text.contains("no image in a class folder") && text.contains("hint: pass the folder"),
            "{text}"
        );
        let text = opened(&["a/1.mha"]).unwrap_err().to_string();
        assert!(
            text.contains(".tif") && text.contains("with SimpleITK"),
            "{text}"
        );
    }

    #[test]
    fn two_images_of_one_name_are_refused() {
        let text = opened(&["a/1.png", "a/1.jpg"]).unwrap_err().to_string();
        assert!(text.contains("`a/1`") && text.contains("hint:"), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_parent_does_not_loop() {
        let root = empty(&["a/b/1.png"]);
        std::os::unix::fs::symlink(root.path().join("a"), root.path().join("a/b/again")).unwrap();
        let dataset = open(root.path(), &DatasetCard::default()).unwrap();
        assert_eq!(dataset.samples.len(), 1);
    }
}
