//! A folder per class: `ROOT/CLASS/**` or `ROOT/{train,val,test}/CLASS/**`.

use std::fs;
use std::path::{Path, PathBuf};

use cache::{Labels, Split, Task};

use super::{Dataset, DatasetOptions, Sample, id_of, image_extension, name_of};
use crate::Error;

/// Lists the images under the class folders, sorted by the bytes of their paths.
///
/// The classes are the folders' names, sorted; with a layer of splits, those of all splits. Hidden
/// files, `__MACOSX` and files that are not named like images are ignored.
pub(super) fn open(root: &Path, options: &DatasetOptions) -> Result<Dataset, Error> {
    let class_folders = class_folders(root)?;
    let mut classes: Vec<String> = class_folders
        .iter()
        .map(|folder| folder.class.clone())
        .collect();
    classes.sort();
    classes.dedup();
    let mut samples = Vec::new();
    for folder in &class_folders {
        let class = classes.binary_search(&folder.class).unwrap_or_default();
        let labels = Labels::Single(Some(class as u32));
        let images = images_under(root, &folder.path)?;
        samples.extend(
            images
                .into_iter()
                .map(|image| sample(image, folder.split, &labels)),
        );
    }
    samples.sort_by(|a, b| a.image.as_os_str().cmp(b.image.as_os_str()));
    if samples.is_empty() {
        return Err(no_images(root, classes.len()));
    }
    Ok(Dataset {
        name: name_of(root, options),
        root: root.to_path_buf(),
        task: Task::SingleLabel,
        classes,
        mask_classes: Vec::new(),
        labels_from_mask: false,
        samples,
    })
}

struct ClassFolder {
    path: PathBuf,
    class: String,
    split: Option<Split>,
}

fn class_folders(root: &Path) -> Result<Vec<ClassFolder>, Error> {
    let first = folders_in(root)?;
    let splits: Option<Vec<Split>> = first.iter().map(|path| Split::parse(&name(path))).collect();
    let Some(splits) = splits else {
        refuse_a_mixture(root, &first)?;
        return Ok(first
            .into_iter()
            .map(|path| class_folder(path, None))
            .collect());
    };
    let mut folders = Vec::new();
    for (path, split) in first.iter().zip(splits) {
        let classes = folders_in(path)?.into_iter();
        folders.extend(classes.map(|path| class_folder(path, Some(split))));
    }
    Ok(folders)
}

/// Folders of splits beside others: taken for classes, they would be silently wrong.
fn refuse_a_mixture(root: &Path, folders: &[PathBuf]) -> Result<(), Error> {
    let names: Vec<String> = folders.iter().map(|path| name(path)).collect();
    if names.iter().all(|name| Split::parse(name).is_none()) {
        return Ok(());
    }
    Err(Error::Layout {
        path: root.to_path_buf(),
        found: format!("the folders `{}`", names.join("`, `")),
        expected: "folders of splits only (`train`, `val`, `test`), or of classes only",
        hint: "move the folders that are no splits away, or list the images in a manifest",
    })
}

fn class_folder(path: PathBuf, split: Option<Split>) -> ClassFolder {
    ClassFolder {
        class: name(&path),
        path,
        split,
    }
}

fn folders_in(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = visible_entries(path)?;
    paths.retain(|path| path.is_dir());
    Ok(paths)
}

fn visible_entries(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::io(path))? {
        let path = entry.map_err(Error::io(path))?.path();
        let name = name(&path);
        if !name.starts_with('.') && name != "__MACOSX" {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Every image below `folder`, relative to `root`. Links are followed, except to a folder that
/// contains them.
fn images_under(root: &Path, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut images = Vec::new();
    let mut open = vec![(folder.to_path_buf(), Vec::new())];
    while let Some((folder, mut parents)) = open.pop() {
        parents.push(folder.canonicalize().map_err(Error::io(&folder))?);
        for path in visible_entries(&folder)? {
            if image_extension(&name(&path)).is_some() {
                images.push(path.strip_prefix(root).unwrap_or(&path).to_path_buf());
            } else if path.is_dir() && path.canonicalize().is_ok_and(|p| !parents.contains(&p)) {
                open.push((path, parents.clone()));
            }
        }
    }
    Ok(images)
}

fn sample(image: PathBuf, split: Option<Split>, labels: &Labels) -> Sample {
    Sample {
        id: id_of(&image),
        image,
        mask: None,
        slices: None,
        patient: None,
        split,
        labels: labels.clone(),
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn no_images(root: &Path, classes: usize) -> Error {
    Error::Layout {
        path: root.to_path_buf(),
        found: format!("{classes} class folders and no image in them"),
        expected: "`CLASS/IMAGE` or `train/CLASS/IMAGE`, images named .png, .jpg, .jpeg, .nii or .nii.gz",
        hint: "pass the folder that holds the class folders; images without classes need `--dataset manifest`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        root
    }

    fn opened(files: &[&str]) -> Result<Dataset, Error> {
        super::super::open("folder", tree(files).path(), &DatasetOptions::default())
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
        assert_eq!(dataset.samples[1].image, Path::new("normal/b c/1.nii.gz"));
    }

    #[test]
    fn a_layer_of_splits_is_recognised_and_classes_are_their_union() {
        let dataset = opened(&["train/b/1.png", "validation/a/2.png", "test/b/3.png"]).unwrap();
        assert_eq!(dataset.classes, ["a", "b"]);
        let splits: Vec<_> = dataset.samples.iter().map(|s| s.split.unwrap()).collect();
        assert_eq!(splits, [Split::Test, Split::Train, Split::Val]);
    }

    #[test]
    fn folders_of_splits_beside_others_are_refused() {
        let error = opened(&["train/a/1.png", "other/a/2.png"]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`other`") && text.contains("hint:"), "{text}");
    }

    #[test]
    fn a_folder_without_images_says_what_was_expected() {
        let text = opened(&["a/1.dcm", "1.png"]).unwrap_err().to_string();
        assert!(
            text.contains("1 class folders") && text.contains("hint: pass the folder"),
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
        let root = tree(&["a/b/1.png"]);
        std::os::unix::fs::symlink(root.path().join("a"), root.path().join("a/b/again")).unwrap();
        let dataset = open(root.path(), &DatasetOptions::default()).unwrap();
        assert_eq!(dataset.samples.len(), 1);
    }
}
