use std::fs;

use imaging::read::Reader;
use tempfile::TempDir;

use super::*;
use crate::made_npz::{archive_of, npy};

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
fn a_card_names_each_class_or_none() {
    let named = |archive: &str, names: &[&str]| {
        let root = folder(&[(archive, &binary())]);
        let mut card = DatasetCard::find("medmnist").unwrap();
        card.classes = names.iter().map(|name| (*name).to_owned()).collect();
        crate::dataset::open(&card, root.path())
    };
    let (known, other) = ("pneumoniamnist.npz", "mine.npz");
    assert_eq!(named(known, &["a", "b"]).unwrap().classes, ["a", "b"]);
    assert_eq!(named(other, &["a", "b", "c"]).unwrap().classes[2], "c");
    let wrong: [(&str, &[&str]); 4] = [
        (known, &["a"]),
        (known, &["a", "b", "c"]),
        (known, &["pneumonia", "normal"]),
        (other, &["a"]),
    ];
    for (archive, names) in wrong {
        let text = named(archive, names).unwrap_err().to_string();
        let found = format!("the {} `classes` `{}`", names.len(), names.join("`, `"));
        assert!(
            text.contains(&found) && text.contains("expected 2 names"),
            "{text}"
        );
    }
}

#[test]
fn what_a_failed_download_left_is_told() {
    let whole = binary();
    let cases: [(&[u8], &str); 4] = [
        (b"", "the file is empty"),
        (b"\n<html><body>404", "a web page"),
        (&whole[..whole.len() / 2], "the download is not whole"),
        (b"\x93NUMPY", "it is no archive of arrays"),
    ];
    for (bytes, part) in cases {
        let text = refusal(folder(&[("bloodmnist.npz", bytes)]).path());
        assert!(
            text.contains(part) && text.contains("bloodmnist.npz"),
            "{text}"
        );
    }
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
    let labels: [(&[usize], &[u8]); 3] = [(&[2, 1], &[1, 0]), (&[2, 1], &[0, 0]), (&[1, 1], &[1])];
    let root = folder(&[("pneumoniamnist.npz", &archive(&[4, 5], labels))]);
    assert!(refusal(root.path()).contains("train images of the shape [3, 4, 5], labels [2, 1]"));
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
