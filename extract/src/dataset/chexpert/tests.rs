use std::fs;

use super::*;
use crate::dataset::fixtures::{empty, folder, write};

const HEADER: &str = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,\
                      Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,\
                      Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,\
                      Support Devices";

/// Path, and the rest of the line.
const TRAIN: [(&str, &str); 6] = [
    (
        "patient00001/study1/view1_frontal.jpg",
        "Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0",
    ),
    (
        "patient00002/study2/view1_frontal.jpg",
        "Female,87,Frontal,AP,,,-1.0,1.0,,-1.0,1.0,,-1.0,,0.0,,1.0,",
    ),
    (
        "patient00002/study1/view2_lateral.jpg",
        "Female,83,Lateral,,,,,1.0,,,-1.0,,,,,,1.0,",
    ),
    (
        "patient00003/study1/view1_frontal.jpg",
        "Male,41,Frontal,LL,,,,,,1.0,,,,0.0,,,,",
    ),
    (
        "patient00004/study1/view2_frontal.jpg",
        "Unknown,0,Frontal,PA,,,1.0,,,,,,0.0,,1.0,,,",
    ),
    (
        "patient00005/study1/view1_frontal.jpg",
        "Male,90,Frontal,RL,,,,,,,,,,,,,,",
    ),
];

const VALID: [(&str, &str); 2] = [
    (
        "patient64541/study1/view1_frontal.jpg",
        "Male,73,Frontal,AP,0.0,1.0,1.0,1.0,0.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0",
    ),
    (
        "patient64541/study1/view2_lateral.jpg",
        "Male,73,Lateral,,0.0,1.0,1.0,1.0,0.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0",
    ),
];

fn table(prefix: &str, lines: &[(&str, &str)]) -> String {
    let lines: String = lines
        .iter()
        .map(|(path, rest)| format!("{prefix}/{path},{rest}\n"))
        .collect();
    format!("{HEADER}\n{lines}")
}

const SMALL: &str = "CheXpert-v1.0-small";

fn small(above: &str) -> tempfile::TempDir {
    let root = empty(&[]);
    let dataset = root.path().join(above);
    write(
        &dataset,
        "train.csv",
        table(&format!("{SMALL}/train"), &TRAIN),
    );
    write(
        &dataset,
        "valid.csv",
        table(&format!("{SMALL}/valid"), &VALID),
    );
    for (path, _) in TRAIN {
        write(&dataset, &format!("train/{path}"), "x");
    }
    for (path, _) in VALID {
        write(&dataset, &format!("valid/{path}"), "x");
    }
    root
}

const BATCHES: &str = "chexpertchestxrays-u20210408/CheXpert-v1.0 batch";

/// As downloaded whole: the tables' paths are nowhere on the disk.
fn full() -> tempfile::TempDir {
    let root = empty(&[]);
    let first = format!("{BATCHES} 1 (validate & csv)");
    let path = |name: &str| format!("{first}/{name}");
    write(
        root.path(),
        &path("train.csv"),
        table("CheXpert-v1.0/train", &TRAIN),
    );
    write(
        root.path(),
        &path("train_cheXbert.csv"),
        table("CheXpert-v1.0/train", &TRAIN[..1]),
    );
    write(
        root.path(),
        &path("valid.csv"),
        table("CheXpert-v1.0/valid", &VALID),
    );
    for (k, (path, _)) in TRAIN.into_iter().enumerate() {
        let batch = if k < 3 { "2 (train 1)" } else { "3 (train 2)" };
        write(root.path(), &format!("{BATCHES} {batch}/{path}"), "x");
    }
    for (name, _) in VALID {
        write(root.path(), &path(&format!("valid/{name}")), "x");
    }
    for view in ["view1_frontal", "view2_lateral", "view3_frontal"] {
        let path = format!("CheXpert/test/patient64741/study1/{view}.jpg");
        write(root.path(), &path, "x");
    }
    root
}

const TEST_HEADER: &str = "Pleural Effusion,Edema,Atelectasis,Consolidation,Cardiomegaly";

fn card() -> DatasetCard {
    DatasetCard::find("chexpert").unwrap()
}

fn listed(root: &Path, change: impl Fn(&mut DatasetCard)) -> Result<Dataset, Error> {
    let mut card = card();
    change(&mut card);
    super::super::open(&card, root)
}

fn refusal(root: &Path, change: impl Fn(&mut DatasetCard)) -> String {
    listed(root, change).unwrap_err().to_string()
}

fn ids(dataset: &Dataset) -> Vec<&str> {
    dataset.samples.iter().map(|s| s.id.as_str()).collect()
}

fn states(dataset: &Dataset, k: usize) -> Vec<Option<i8>> {
    match &dataset.samples[k].labels {
        Labels::Multi(states) => states.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn frontal_images_are_told_by_the_column() {
    let root = small(SMALL);
    let dataset = listed(root.path(), |_| ()).unwrap();
    assert_eq!(
        (dataset.name.as_str(), dataset.task),
        ("chexpert", Task::MultiLabel)
    );
    assert_eq!(dataset.classes, COMPETITION);
    let expected = [
        "patient00001/study1/view1_frontal",
        "patient00002/study2/view1_frontal",
        "patient00003/study1/view1_frontal",
        "patient00004/study1/view2_frontal",
        "patient00005/study1/view1_frontal",
        "patient64541/study1/view1_frontal",
    ];
    assert_eq!(ids(&dataset), expected);
    let splits = dataset.samples.iter().map(|sample| sample.split);
    let splits: Vec<_> = splits.collect();
    assert_eq!(splits[..5], [Some(Split::Train); 5]);
    assert_eq!(splits[5], Some(Split::Val));
    assert_eq!(dataset.samples[1].patient.as_deref(), Some("patient00002"));
    let image = Source::File("train/patient00002/study2/view1_frontal.jpg".into());
    assert_eq!(dataset.samples[1].image, image);
    assert_eq!(dataset.warnings.len(), 1);
    assert!(dataset.warnings[0].contains("`test_labels.csv`"));
}

#[test]
fn blanks_are_absent_and_uncertain_ones_what_the_option_says() {
    let root = small(SMALL);
    for (uncertain, expected) in [
        (Uncertain::Zeros, Some(0)),
        (Uncertain::Ones, Some(1)),
        (Uncertain::Keep, Some(-1)),
    ] {
        let dataset = listed(root.path(), |card| card.options.uncertain = uncertain).unwrap();
        let row = [expected, expected, Some(1), expected, Some(0)];
        assert_eq!(states(&dataset, 1), row);
        assert_eq!(states(&dataset, 4), [Some(0); 5]);
    }
    let built_in = DatasetCard::find("chexpert").unwrap();
    assert_eq!(built_in.options.uncertain, Uncertain::Keep);
}

#[test]
fn the_root_is_the_same_from_above_and_when_nested_twice() {
    let expected = small(SMALL);
    let expected = listed(&expected.path().join(SMALL), |_| ()).unwrap();
    for above in ["", SMALL, "archive/CheXpert-v1.0-small/CheXpert-v1.0-small"] {
        let root = small(above);
        let dataset = listed(root.path(), |_| ()).unwrap();
        assert_eq!(dataset.samples, expected.samples);
        assert!(dataset.root.ends_with(above));
    }
}

#[test]
fn images_are_found_in_batches_whatever_the_tables_say() {
    let root = full();
    let paths = ["view1_frontal", "view2_lateral", "view3_frontal"]
        .map(|view| format!("test/patient64741/study1/{view}.jpg,1,0,0,0,1\n"));
    let labels = format!("Path,{TEST_HEADER}\n{}", paths.concat());
    write(root.path(), "CheXpert/test_labels.csv", labels);
    let dataset = listed(root.path(), |_| ()).unwrap();
    assert_eq!(dataset.samples.len(), 8);
    assert!(dataset.root == root.path() && dataset.warnings.is_empty());
    let image = format!("{BATCHES} 3 (train 2)/patient00004/study1/view2_frontal.jpg");
    assert_eq!(dataset.samples[3].image, Source::File(image.into()));
    assert_eq!(dataset.samples[7].id, "patient64741/study1/view3_frontal");
    assert_eq!(dataset.samples[7].split, Some(Split::Test));
    let by_name = [Some(0), Some(1), Some(0), Some(0), Some(1)];
    assert_eq!(states(&dataset, 7), by_name);
    let text = refusal(
        &root.path().join(format!("{BATCHES} 1 (validate & csv)")),
        |_| (),
    );
    let parts = [
        "no image for 5 lines",
        "`valid`",
        "hint: unpack all",
        "with both tables",
    ];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
}

#[test]
fn labels_of_a_study_hold_for_all_its_images() {
    let root = full();
    let labels = format!("Study,{TEST_HEADER}\nCheXpert-v1.0/test/patient64741/study1,1,0,0,0,1\n");
    write(root.path(), "groundtruth.csv", &labels);
    let dataset = listed(root.path(), |_| ()).unwrap();
    let expected = [
        "patient64741/study1/view1_frontal",
        "patient64741/study1/view3_frontal",
    ];
    assert_eq!(ids(&dataset)[6..], expected);
    assert_eq!(states(&dataset, 6), states(&dataset, 7));
    assert_eq!(states(&dataset, 6)[4], Some(1));
    let more = format!("{labels}CheXpert-v1.0/test/patient64742/study1,1,0,0,0,1\n");
    write(root.path(), "groundtruth.csv", more);
    let text = refusal(root.path(), |_| ());
    assert!(
        text.contains("no image for 1 line (`patient64742/study1`)"),
        "{text}"
    );
}

#[test]
fn views_are_kept_as_asked_for() {
    let root = small(SMALL);
    let views = |views: &'static [&str]| {
        move |card: &mut DatasetCard| {
            card.options.views = views.iter().map(|view| (*view).to_owned()).collect();
        }
    };
    let dataset = listed(root.path(), views(&["ap", "LL"])).unwrap();
    assert_eq!(dataset.samples.len(), 4);
    let text = refusal(root.path(), views(&["AP", "lateral"]));
    assert!(
        text.contains("`lateral`") && text.contains("`AP`, `PA`, `LL`, `RL`"),
        "{text}"
    );
    fs::remove_file(root.path().join(SMALL).join("valid.csv")).unwrap();
    let labels = format!("Path,{TEST_HEADER}\npatient64541/study1/view1_frontal.jpg,1,0,0,0,1\n");
    write(root.path(), &format!("{SMALL}/test_labels.csv"), labels);
    let allowed = |card: &mut DatasetCard| {
        views(&["AP"])(card);
        card.options.allow_missing = true;
    };
    let dataset = listed(root.path(), allowed).unwrap();
    assert_eq!(dataset.samples.len(), 3);
    let text = dataset.warnings.join("\n");
    assert!(text.contains("has no column for the views AP"), "{text}");
}

#[test]
fn classes_are_found_by_name() {
    let root = small(SMALL);
    let named = |names: &'static [&str]| {
        move |card: &mut DatasetCard| {
            card.classes = names.iter().map(|name| (*name).to_owned()).collect();
        }
    };
    let dataset = listed(root.path(), named(&["Support Devices", "No Finding"])).unwrap();
    assert_eq!(states(&dataset, 0), [Some(1), Some(1)]);
    assert_eq!(states(&dataset, 1), [Some(0), Some(0)]);
    let text = refusal(root.path(), named(&["Hernia"]));
    assert!(
        text.contains("`Hernia`") && text.contains("`Pleural Other`"),
        "{text}"
    );
}

#[test]
fn only_kept_images_must_be_there() {
    let root = small(SMALL);
    let lateral = "train/patient00002/study1/view2_lateral.jpg";
    fs::remove_file(root.path().join(SMALL).join(lateral)).unwrap();
    assert!(listed(root.path(), |_| ()).is_ok());
    let frontal = "train/patient00003/study1/view1_frontal.jpg";
    fs::remove_file(root.path().join(SMALL).join(frontal)).unwrap();
    write(
        root.path(),
        "CheXpert-v1.0-small/test/patient64741/study1/view1_frontal.jpg",
        "x",
    );
    let text = refusal(root.path(), |_| ());
    for part in [
        "no image for 1 line (`patient00003/study1/view1_frontal.jpg`)",
        "1 image without a line (`patient64741/study1/view1_frontal.jpg`)",
        "`train.csv`, `valid.csv`",
        "`--allow-missing`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let dataset = listed(root.path(), |card| card.options.allow_missing = true).unwrap();
    assert_eq!(dataset.samples.len(), 5);
    assert!(
        dataset
            .warnings
            .iter()
            .any(|text| text.contains("no image for 1 line"))
    );
}

#[test]
fn two_copies_are_refused_and_two_images_of_a_view_told() {
    let root = small(SMALL);
    write(
        root.path(),
        "CheXlocalize/val/patient64541/study1/view1_frontal.jpg",
        "x",
    );
    let dataset = listed(root.path(), |_| ()).unwrap();
    assert_eq!(dataset.samples.len(), 6);
    let image = "CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg";
    assert_eq!(dataset.samples[5].image, Source::File(image.into()));
    assert!(dataset.warnings[0].contains("skipped 1 image of the same patient, study and view"));
    write(
        root.path(),
        "CheXpert-v1.0/train.csv",
        table("train", &TRAIN),
    );
    let text = refusal(root.path(), |_| ());
    let both = "`CheXpert-v1.0-small/train.csv`, `CheXpert-v1.0/train.csv`";
    assert!(
        text.contains(both) && text.contains("only one `train.csv`"),
        "{text}"
    );
}

#[test]
fn tables_that_make_no_sense_are_refused() {
    for (from, to, part) in [
        (
            "Frontal,RL",
            "Oblique,RL",
            "line 7: found `Oblique` as the Frontal/Lateral",
        ),
        (
            "AP,1.0,,,,,,,,,0.0",
            "AP,1.0,,2,,,,,,,0.0",
            "line 2: found `2` as the Cardiomegaly",
        ),
        ("train/patient00005", "train/p5", "as the Path, expected"),
        ("patient00005", "patient00001", "as the Path, expected"),
        ("patient00005", "../../../etc", "as the Path, expected"),
        (HEADER, "Path,Sex", "`Path,Sex,Age,Frontal/Lateral`"),
    ] {
        let root = small("");
        let text = table("CheXpert-v1.0-small/train", &TRAIN).replace(from, to);
        write(root.path(), "train.csv", text);
        fs::remove_file(root.path().join("valid.csv")).unwrap();
        let text = refusal(root.path(), |_| ());
        assert!(
            text.contains(part) && text.contains("hint:"),
            "{part}: {text}"
        );
    }
    let text = refusal(folder(&[("train.csv", "<html>")]).path(), |_| ());
    assert!(
        text.contains("none of the tables") && text.contains("hint: pass"),
        "{text}"
    );
}
