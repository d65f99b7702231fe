use std::fs;

use image::{GrayImage, Luma};
use tempfile::TempDir;

use super::*;
use crate::dataset::{self, DatasetCard};

/// A folder of images, one class each, and a manifest of them.
struct Download {
    folder: TempDir,
    csv: String,
}

impl Download {
    fn new() -> Download {
        Download {
            folder: TempDir::new().unwrap(),
            csv: "image,label,patient,split\n".to_owned(),
        }
    }

    /// An image whose pixels depend on `seed` alone.
    fn add(mut self, name: &str, seed: u8, cells: &str) -> Download {
        let pixel = |x: u32, y: u32| Luma([(x * 7 + y * 3) as u8 ^ seed]);
        let path = self.folder.path().join(name);
        GrayImage::from_fn(9, 8, pixel).save(path).unwrap();
        self.csv += &format!("{name},{cells}\n");
        self
    }

    fn opened(&self) -> Dataset {
        fs::write(self.folder.path().join("manifest.csv"), &self.csv).unwrap();
        let card = DatasetCard::find("manifest").unwrap();
        dataset::open(&card, self.folder.path()).unwrap()
    }

    fn findings(&self) -> Findings {
        self.inspect(&self.opened(), false)
    }

    fn inspect(&self, dataset: &Dataset, overlap_allowed: bool) -> Findings {
        let recipe = DatasetCard::find("manifest").unwrap().recipe(None).unwrap();
        let all: Vec<usize> = (0..dataset.samples.len()).collect();
        let inspection = Inspection {
            rule: SplitRule::Official,
            rule_error: None,
            overlap_allowed,
            files: files(dataset),
            inspected: pixels(dataset, &recipe, &all, &|| ()),
        };
        Findings::new(dataset, inspection)
    }
}

/// Two classes, three patients, nothing wrong.
fn sound() -> Download {
    Download::new()
        .add("1.png", 1, "x,p,train")
        .add("2.png", 2, "y,p,train")
        .add("3.png", 3, "x,q,test")
        .add("4.png", 4, "y,r,test")
}

#[track_caller]
fn expect(findings: &Findings, what: &str, places: &[&str]) {
    let problems = findings.problems();
    let problem = problems.iter().find(|problem| problem.what.contains(what));
    let problem = problem.unwrap_or_else(|| panic!("no `{what}` in {problems:?}"));
    assert_eq!(problem.places, places);
}

#[test]
fn a_sound_download_is_counted_and_has_no_problem() {
    let findings = sound().findings();
    assert_eq!(findings.problems(), []);
    assert_eq!(
        (findings.samples, findings.patients, findings.read),
        (4, 3, 4)
    );
    let splits = findings
        .splits
        .iter()
        .map(|s| (s.split, s.samples, s.patients));
    let expected = [(Some(Split::Train), 2, 1), (Some(Split::Test), 2, 2)];
    assert_eq!(splits.collect::<Vec<_>>(), expected);
    let classes = findings.classes.unwrap();
    let x = PerSplit {
        train: 1,
        test: 1,
        ..PerSplit::default()
    };
    assert_eq!(classes[0].class, "x");
    assert_eq!(classes[0].samples, x);
    assert_eq!(findings.duplicates.unwrap(), []);
}

#[test]
fn files_that_are_gone_or_empty_are_named() {
    let download = sound();
    let dataset = download.opened();
    fs::remove_file(download.folder.path().join("2.png")).unwrap();
    fs::write(download.folder.path().join("3.png"), "").unwrap();
    let findings = download.inspect(&dataset, false);
    assert_eq!(findings.files.count, 4);
    expect(&findings, "missing files", &["2.png"]);
    expect(&findings, "0 bytes", &["3.png"]);
    assert_eq!(findings.problems().len(), 2, "each file is told of once");
    assert_eq!(findings.unreadable.len(), 2);
    assert!(
        findings.unreadable[1]
            .reason
            .starts_with("`3.png`: the file is empty")
    );
}

#[test]
fn a_class_that_train_or_test_lacks_is_named() {
    let download = Download::new()
        .add("1.png", 1, "x,,train")
        .add("2.png", 2, "y,,test")
        .add("3.png", 3, "x,,test")
        .add("4.png", 4, ",,val");
    let findings = download.findings();
    expect(&findings, "classes", &["y in train"]);
    assert_eq!(findings.unlabelled.val, 1);
    assert_eq!(findings.without_patient, 4);
}

#[test]
fn a_test_split_without_labels_lacks_no_class() {
    let download = Download::new()
        .add("1.png", 1, "x,,train")
        .add("2.png", 2, "y,,train")
        .add("3.png", 3, ",,test");
    assert_eq!(download.findings().problems(), []);
}

#[test]
fn a_patient_in_two_splits_is_a_problem_unless_it_is_allowed() {
    let download = sound().add("5.png", 5, "x,p,test");
    expect(&download.findings(), "patients", &["`p` in train and test"]);
    let allowed = download.inspect(&download.opened(), true);
    assert_eq!(allowed.problems(), []);
    assert_eq!(allowed.overlaps.len(), 1);
}

#[test]
fn the_same_pixels_under_two_names_leak_if_they_are_in_two_splits() {
    let download = sound()
        .add("5.png", 1, "x,q,test")
        .add("6.png", 4, "y,r,test");
    let findings = download.findings();
    expect(&findings, "identical images", &["1 = 5"]);
    let duplicates = findings.duplicates.unwrap();
    let found = duplicates.iter().map(|d| (d.samples.join(" "), d.leaks));
    let expected = [("1 5".to_owned(), true), ("4 6".to_owned(), false)];
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn what_a_spot_check_cannot_tell_is_not_told() {
    let download = sound();
    let dataset = download.opened();
    let recipe = DatasetCard::find("manifest").unwrap().recipe(None).unwrap();
    let inspection = Inspection {
        rule: "systematic:test=70,val=50".parse().unwrap(),
        rule_error: Some("too few".to_owned()),
        overlap_allowed: false,
        files: files(&dataset),
        inspected: pixels(&dataset, &recipe, &[0, 3], &|| ()),
    };
    let findings = Findings::new(&dataset, inspection);
    assert_eq!((findings.read, findings.duplicates.clone()), (2, None));
    expect(&findings, "cannot be applied", &["too few"]);
}

#[test]
fn classes_of_masks_are_counted_when_all_are_read() {
    let download = sound();
    let folder = download.folder.path();
    for (name, label) in [("m1.png", 1), ("m2.png", 2)] {
        let mask = GrayImage::from_fn(9, 8, |x, _| Luma([if x == 0 { label } else { 0 }]));
        mask.save(folder.join(name)).unwrap();
    }
    fs::write(
        folder.join("classes.csv"),
        "value,name\n1,liver\n2,spleen\n",
    )
    .unwrap();
    let csv = "image,mask,split\n1.png,m1.png,train\n2.png,m2.png,train\n3.png,m1.png,test\n";
    fs::write(folder.join("manifest.csv"), csv).unwrap();
    let dataset = dataset::open(&DatasetCard::find("manifest").unwrap(), folder).unwrap();
    let findings = download.inspect(&dataset, false);
    let classes = findings.classes.clone().unwrap();
    assert_eq!((classes[0].samples.train, classes[0].samples.test), (1, 1));
    assert_eq!((classes[1].samples.train, classes[1].samples.test), (1, 0));
    expect(&findings, "classes", &["spleen in test"]);
}
