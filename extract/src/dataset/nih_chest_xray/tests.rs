use super::*;
use crate::dataset::fixtures::{folder, write};

const HEADER: &str = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,\
                      View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]";

/// As in the original: not sorted, and the number in the name is not that of the follow-up.
const LINES: [(&str, &str, &str, &str); 6] = [
    ("00000003_001.png", "Hernia", "3", "074Y"),
    ("00000003_000.png", "Hernia|Infiltration", "3", "075Y"),
    ("00000001_000.png", "Cardiomegaly|Emphysema", "1", "057Y"),
    ("00000002_000.png", "No Finding", "2", "080Y"),
    (
        "00000013_000.png",
        "Pneumothorax|Pleural_Thickening",
        "13",
        "414Y",
    ),
    ("00000011_000.png", "Pneumonia", "11", "006M"),
];

/// The table, with `end` after the header and each line.
fn table(end: &str) -> String {
    let line = |(image, findings, patient, age): (&str, &str, &str, &str)| {
        format!("{image},{findings},7,{patient},{age},M,PA,2682,2749,0.143,0.143{end}")
    };
    let lines: String = LINES.into_iter().map(line).collect();
    format!("{HEADER}{end}{lines}")
}

/// The official tree, with images in folders as `folder_of` says.
fn tree(end: &str, folder_of: impl Fn(usize) -> String) -> tempfile::TempDir {
    let table = table(end);
    let root = folder(&[
        ("a/nih/Data_Entry_2017.csv", table.as_str()),
        (
            "a/nih/train_val_list.txt",
            "00000002_000.png\n00000001_000.png\n00000003_000.png\n00000003_001.png",
        ),
        (
            "a/nih/test_list.txt",
            "00000013_000.png\r\n00000011_000.png\r\n",
        ),
        (
            "a/nih/BBox_List_2017.csv",
            "Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000013_000.png,Infiltrate,1,2,3,4\n",
        ),
        ("a/nih/README_CHESTXRAY.pdf", "%PDF-1.4"),
        ("a/nih/__MACOSX/images/00000099_000.png", "x"),
        ("a/nih/images/._00000001_000.png", "x"),
    ]);
    for (k, (image, ..)) in LINES.into_iter().enumerate() {
        write(root.path(), &format!("a/nih/{}/{image}", folder_of(k)), "x");
    }
    root
}

fn official() -> tempfile::TempDir {
    tree("\n", |_| "images".to_owned())
}

fn card() -> DatasetCard {
    DatasetCard::find("nih-chest-xray").unwrap()
}

fn listed(root: &Path) -> Dataset {
    super::super::open(&card(), root).unwrap()
}

fn ids(dataset: &Dataset) -> Vec<&str> {
    dataset.samples.iter().map(|s| s.id.as_str()).collect()
}

/// How many images have each class.
fn sums(dataset: &Dataset) -> Vec<(&str, usize)> {
    let classes = dataset.classes.iter().enumerate();
    let has = |class: usize| {
        let samples = dataset.samples.iter();
        let positive = samples.filter(|sample| match &sample.labels {
            Labels::Multi(states) => states[class] == Some(1),
            _ => false,
        });
        positive.count()
    };
    let sums = classes.map(|(k, class)| (class.as_str(), has(k)));
    sums.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn samples_come_in_the_order_of_the_lists() {
    let root = official();
    let dataset = listed(&root.path().join("a/nih"));
    assert_eq!(dataset.name, "nih-chest-xray");
    let order = [2, 1, 3, 3, 13, 11].map(|patient: u32| patient.to_string());
    let patients = dataset.samples.iter().map(|s| s.patient.clone().unwrap());
    assert!(patients.eq(order));
    let (train, test) = (Some(Split::Train), Some(Split::Test));
    let splits = dataset.samples.iter().map(|sample| sample.split);
    assert!(splits.eq([train, train, train, train, test, test]));
    assert_eq!(dataset.samples[2].id, "00000003_000");
    let image = Source::File("images/00000003_000.png".into());
    assert_eq!(dataset.samples[2].image, image);
    assert_eq!(dataset.warnings, [""; 0]);
}

#[test]
fn findings_are_whole_words_in_alphabetical_order() {
    let root = official();
    let dataset = listed(root.path());
    assert_eq!(dataset.task, Task::MultiLabel);
    assert_eq!(dataset.classes, FINDINGS);
    assert!(FINDINGS.is_sorted());
    let expected = [
        ("Cardiomegaly", 1),
        ("Emphysema", 1),
        ("Hernia", 2),
        ("Infiltration", 1),
        ("Pleural_Thickening", 1),
        ("Pneumonia", 1),
        ("Pneumothorax", 1),
    ];
    assert_eq!(sums(&dataset), expected);
}

#[test]
fn the_dataset_is_found_from_above_and_explained_from_below() {
    let root = official();
    let expected = listed(&root.path().join("a/nih"));
    for above in ["", "a"] {
        let dataset = listed(&root.path().join(above));
        assert_eq!(dataset.samples, expected.samples);
        assert!(dataset.root.ends_with("a/nih"));
    }
    let below = super::super::open(&card(), &root.path().join("a/nih/images"));
    let text = below.unwrap_err().to_string();
    assert!(text.contains("hint: pass the folder above it"), "{text}");
}

#[test]
fn kaggle_folders_and_trailing_commas_change_nothing() {
    let official = official();
    let root = tree(",\r\n", |k| match k {
        0 => "images_001/images/images".to_owned(),
        k => format!("images_{k:03}/images"),
    });
    let (dataset, expected) = (listed(root.path()), listed(official.path()));
    let nowhere = Source::File("x".into());
    let without_path = |sample: &Sample| Sample {
        image: nowhere.clone(),
        ..sample.clone()
    };
    let samples = dataset.samples.iter().map(without_path);
    assert!(samples.eq(expected.samples.iter().map(without_path)));
    assert!(dataset.warnings.is_empty());
    // Commas at the end of the header only, or of the lines only.
    for (from, to) in [(",\r\nImage", "\r\nImage"), ("[x,y],", "[x,y]")] {
        let path = root.path().join("a/nih/Data_Entry_2017.csv");
        let text = format!("\u{feff}{}", table(",\r\n").replace(from, to));
        fs::write(path, text).unwrap();
        assert_eq!(listed(root.path()).samples, dataset.samples);
    }
}

#[test]
fn the_newest_table_is_taken() {
    let root = official();
    let newer = table("\n").replace("No Finding", "Mass");
    write(root.path(), "a/nih/Data_Entry_2017_v2020.csv", newer);
    assert!(sums(&listed(root.path())).contains(&("Mass", 1)));
}

#[test]
fn folders_of_splits_do_without_official_lists() {
    let table = table("\n");
    let root = folder(&[
        ("labels.csv", table.as_str()),
        ("train/00000003_001.png", "x"),
        ("train/00000003_000.png", "x"),
        ("val/00000001_000.png", "x"),
        ("val/00000002_000.png", "x"),
        ("test/00000013_000.png", "x"),
        ("test/00000011_000.png", "x"),
    ]);
    let dataset = listed(root.path());
    let order = ["1_000", "2_000", "3_000", "3_001", "11_000", "13_000"];
    let numbers = ids(&dataset)
        .into_iter()
        .map(|id| id.trim_start_matches('0'));
    assert!(numbers.eq(order));
    let (train, val, test) = (Some(Split::Train), Some(Split::Val), Some(Split::Test));
    let splits = dataset.samples.iter().map(|sample| sample.split);
    assert!(splits.eq([val, val, train, train, test, test]));
    assert!(dataset.warnings.is_empty());
    write(
        root.path(),
        "train_list.txt",
        "00000003_001.png\n00000003_000.png\n",
    );
    write(
        root.path(),
        "val_list.txt",
        "00000002_000.png\n00000001_000.png\n",
    );
    write(root.path(), "test_list.txt", "test/00000013_000.png\n");
    let dataset = listed(root.path());
    let order = ["3_001", "3_000", "2_000", "1_000", "13_000", "11_000"];
    let numbers = ids(&dataset)
        .into_iter()
        .map(|id| id.trim_start_matches('0'));
    assert!(numbers.eq(order));
    assert_eq!(dataset.samples[3].split, val);
}

#[test]
fn other_spellings_are_understood_and_other_words_refused() {
    let findings = ["Infiltrate", "Pleural Thickening", "pleural_thickening", ""];
    let lines = findings.iter().enumerate();
    let lines: String = lines
        .map(|(k, word)| format!("{k}.png,{word},{k}\n"))
        .collect();
    let text = format!("Image Index,Finding Labels,Patient ID\n{lines}");
    let root = folder(&[
        ("sample_labels.csv", text.as_str()),
        ("images/0.png", "x"),
        ("images/1.png", "x"),
        ("images/2.png", "x"),
        ("images/3.png", "x"),
    ]);
    let dataset = listed(root.path());
    let expected = [("Infiltration", 1), ("Pleural_Thickening", 2)];
    assert_eq!(sums(&dataset), expected);
    assert_eq!(dataset.samples[3].labels, Labels::Multi(vec![None; 14]));
    let wrong = text.replace("Infiltrate", "Pneumo");
    write(root.path(), "sample_labels.csv", wrong);
    let text = open(root.path(), &card()).unwrap_err().to_string();
    let parts = ["line 2", "`Pneumo`", "`Pneumothorax`", "hint:"];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
}

#[test]
fn no_finding_is_a_class_if_asked_for() {
    let root = official();
    let mut card = card();
    card.options.no_finding = true;
    let dataset = open(root.path(), &card).unwrap();
    assert_eq!(dataset.classes.len(), 15);
    assert_eq!(dataset.classes[10], "No Finding");
    assert!(dataset.classes.is_sorted());
    assert!(sums(&dataset).contains(&("No Finding", 1)));
    card.classes = vec!["Hernia".to_owned(), "Cardiomegaly".to_owned()];
    card.options.no_finding = false;
    let dataset = open(root.path(), &card).unwrap();
    assert_eq!(sums(&dataset), [("Hernia", 2), ("Cardiomegaly", 1)]);
    card.classes.push("Fracture".to_owned());
    let text = open(root.path(), &card).unwrap_err().to_string();
    assert!(
        text.contains("`Fracture`") && text.contains("hint: correct"),
        "{text}"
    );
}

#[test]
fn missing_images_are_refused_or_reported() {
    let root = official();
    for (image, ..) in &LINES[..5] {
        fs::remove_file(root.path().join("a/nih/images").join(image)).unwrap();
    }
    write(root.path(), "a/nih/extra/plot.png", "x");
    let text = open(root.path(), &card()).unwrap_err().to_string();
    for part in [
        "no image for 5 lines",
        "`00000013_000.png`",
        "1 image without a line (`extra/plot.png`)",
        "in the folders `extra`, `images`",
        "`Data_Entry_2017.csv`",
        "hint: unpack all",
        "`--allow-missing`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut card = card();
    card.options.allow_missing = true;
    let dataset = open(root.path(), &card).unwrap();
    assert_eq!(ids(&dataset), ["00000011_000"]);
    assert!(dataset.warnings[0].contains("no image for 5 lines"));
    fs::remove_dir_all(root.path().join("a/nih/images")).unwrap();
    let text = open(root.path(), &card).unwrap_err().to_string();
    assert!(text.contains("no image for 6 lines"), "{text}");
}

#[test]
fn lists_that_do_not_fit_the_table_are_told() {
    let root = official();
    let list = "00000002_000.png\n00000098_000.png\n00000003_000.png\n00000003_001.png\n";
    write(root.path(), "a/nih/train_val_list.txt", list);
    let dataset = listed(root.path());
    assert_eq!(dataset.samples[5].id, "00000001_000");
    assert_eq!(dataset.samples[5].split, None);
    let [unsplit, unknown] = &dataset.warnings[..] else {
        panic!("{:?}", dataset.warnings)
    };
    assert!(unsplit.contains("1 image") && unsplit.contains("`00000001_000`"));
    assert!(unknown.contains("1 image") && unknown.contains("`00000098_000.png`"));
    write(root.path(), "a/nih/test_list.txt", "00000002_000.png\n");
    let text = open(root.path(), &card()).unwrap_err().to_string();
    assert!(
        text.contains("test_list.txt") && text.contains("the list of train too"),
        "{text}"
    );
    fs::remove_file(root.path().join("a/nih/train_val_list.txt")).unwrap();
    fs::remove_file(root.path().join("a/nih/test_list.txt")).unwrap();
    let dataset = listed(root.path());
    assert!(dataset.warnings[0].contains("none, expected `train_val_list.txt`"));
}

#[test]
fn an_image_that_is_there_twice_is_taken_once() {
    let root = official();
    write(root.path(), "a/nih/copy/00000002_000.png", "x");
    let dataset = listed(root.path());
    assert_eq!(dataset.samples.len(), 6);
    assert!(dataset.warnings[0].contains("`copy/00000002_000.png`"));
}

#[test]
fn tables_that_make_no_sense_are_refused() {
    let name = "a/nih/Data_Entry_2017.csv";
    let twice = format!("{}00000002_000.png,Mass,0,2,1,M,PA,1,1,1,1\n", table("\n"));
    for (content, part) in [
        (twice, "line 8: found `00000002_000.png` as the Image Index"),
        (format!("{HEADER}\n"), "a header and no lines"),
        ("<!DOCTYPE html>\n<html>".to_owned(), "is a web page"),
        (String::new(), "the file is empty"),
        (
            table("\n").replace(",7,", ",7,7,"),
            "line 2: found 12 fields",
        ),
        (
            table("\n").replace("00000002_000.png", "../../../etc/passwd"),
            "no image for 1 line",
        ),
    ] {
        let root = official();
        write(root.path(), name, content);
        let text = open(root.path(), &card()).unwrap_err().to_string();
        assert!(
            text.contains(part) && text.contains("hint:"),
            "{part}: {text}"
        );
    }
}
