use std::fs;

use cache::{Labels, Split};

use super::super::fixtures::{folder, write};
use super::*;

const CARD: &str = r#"
name = "chest"
layout = "tables"
classes = ["Mass", "Edema"]

[[table]]
file = "labels/train.csv"
image = "train/{id}.png"
split = "train"
patient = "who"
reader = "reader"
merge = "majority"
keep = { view = ["PA", "AP"] }

[[table]]
file = "labels/test.csv"
image = "**/{name}"
split = "test"
rename = { "Oedema" = "Edema" }
values = { "yes" = "1", "no" = "0", "?" = "-1" }
ignore = ["comment"]
"#;

const TRAIN: &str = "id,reader,who,view,Mass,Edema\n1,A,p1,PA,1,0\n2,A,p2,AP,0,\n1,B,p1,PA,1,1\n\
                     1,C,p1,PA,0,1\n2,B,p2,AP,1,\n3,A,p3,lateral,1,1\n";

const TEST: &str = "name,Oedema,Mass,comment\n9.png,?,yes,none\n8.png,no,,-\n";

fn small() -> tempfile::TempDir {
    folder(&[
        ("a/chest/labels/train.csv", TRAIN),
        ("a/chest/labels/test.csv", TEST),
        ("a/chest/train/1.png", "x"),
        ("a/chest/train/2.png", "x"),
        ("a/chest/train/3.png", "x"),
        ("a/chest/more/8.png", "x"),
        ("a/chest/test/9.png", "x"),
        ("a/chest/unlabelled/7.png", "x"),
    ])
}

fn card(text: &str) -> DatasetCard {
    toml::from_str(text).unwrap()
}

fn listed(root: &Path, text: &str) -> Result<Dataset, Error> {
    super::super::open(&card(text), root)
}

#[test]
fn rows_of_one_image_are_merged_in_the_order_of_the_tables() {
    let root = small();
    let dataset = listed(root.path(), CARD).unwrap();
    let found: Vec<_> = dataset
        .samples
        .iter()
        .map(|s| (&*s.id, s.split, s.patient.as_deref(), s.labels.clone()))
        .collect();
    let (train, test) = (Some(Split::Train), Some(Split::Test));
    let expected = [
        (
            "train/1",
            train,
            Some("p1"),
            Labels::Multi(vec![Some(1), Some(1)]),
        ),
        (
            "train/2",
            train,
            Some("p2"),
            Labels::Multi(vec![Some(-1), None]),
        ),
        ("test/9", test, None, Labels::Multi(vec![Some(1), Some(-1)])),
        ("more/8", test, None, Labels::Multi(vec![None, Some(0)])),
    ];
    assert_eq!(found, expected);
    assert_eq!(
        (dataset.name.as_str(), dataset.task),
        ("chest", Task::MultiLabel)
    );
    assert_eq!(dataset.warnings, [""; 0]);
}

#[test]
fn several_classes_stand_in_a_cell_between_bars_or_as_a_python_list() {
    let card = r#"
        name = "words"
        layout = "tables"
        classes = ["mass", "edema"]
        [[table]]
        file = "labels.csv"
        image = "{folder}/{name}.png"
        labels = "found"
        values = { "oedema" = "edema" }
        ignore_other_labels = true
        ignore = ["*"]
    "#;
    let table = "name,folder,found,more\n1,0,\"['mass', ' oedema', 'scar']\",x\n2,0,edema|mass,x\n3,0,,x\n4,0,[],x\n";
    let root = folder(&[
        ("labels.csv", table),
        ("0/1.png", "x"),
        ("0/2.png", "x"),
        ("0/3.png", "x"),
        ("0/4.png", "x"),
    ]);
    let dataset = listed(root.path(), card).unwrap();
    let labels: Vec<_> = dataset.samples.into_iter().map(|s| s.labels).collect();
    let expected = [[Some(1); 2], [Some(1); 2], [None; 2], [Some(0); 2]];
    assert_eq!(
        labels,
        expected.map(|states| Labels::Multi(states.to_vec()))
    );
    assert_eq!(dataset.warnings, [""; 0]);
    let strict = card.replace("ignore_other_labels = true", "");
    let text = listed(root.path(), &strict).unwrap_err().to_string();
    assert!(
        text.contains("line 2") && text.contains("`values`"),
        "{text}"
    );
}

#[test]
fn one_class_per_image_may_be_in_several_rows() {
    let card = r#"
        name = "boxes"
        layout = "tables"
        classes = ["no", "opacity"]
        [[table]]
        file = "labels.csv"
        image = "{id}.png"
        label = "target"
        values = { "0" = "no", "1" = "opacity" }
        merge = "max"
    "#;
    let table = "id,target\n1,0\n2,1\n2,0\n3,\n";
    let root = folder(&[
        ("labels.csv", table),
        ("1.png", "x"),
        ("2.png", "x"),
        ("3.png", "x"),
    ]);
    let dataset = listed(root.path(), card).unwrap();
    let labels: Vec<_> = dataset.samples.into_iter().map(|s| s.labels).collect();
    assert_eq!(labels, [Some(0), Some(1), None].map(Labels::Single));
    let text = listed(root.path(), &card.replace("merge = \"max\"", ""))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("line 4") && text.contains("`merge`"),
        "{text}"
    );
}

#[test]
fn images_without_a_row_and_rows_without_an_image_are_refused_or_reported() {
    let root = small();
    let chest = root.path().join("a/chest");
    fs::remove_file(chest.join("train/2.png")).unwrap();
    fs::remove_file(chest.join("train/3.png")).unwrap();
    write(&chest, "train/4.png", "x");
    let text = listed(root.path(), CARD).unwrap_err().to_string();
    for part in [
        "no image for 1 line (`train/2.png`)",
        "1 image without a line (`train/4.png`)",
        "`train.csv`, `test.csv`",
        "`--allow-missing`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut lenient = card(CARD);
    lenient.options.allow_missing = true;
    let dataset = super::super::open(&lenient, root.path()).unwrap();
    assert_eq!((dataset.samples.len(), dataset.warnings.len()), (3, 1));
}

#[test]
fn tables_that_contradict_themselves_or_the_card_are_refused() {
    let chest = |name: &str| format!("a/chest/labels/{name}.csv");
    let mut long_name = TRAIN.to_owned();
    long_name.push_str("../../../etc/passwd,A,p,PA,0,0\n");
    for (table, text, part) in [
        (
            "train",
            TRAIN.replace("1,B,p1", "1,A,p1"),
            "line 4: found `A` as the reader",
        ),
        (
            "train",
            TRAIN.replace("1,B,p1", "1,B,p2"),
            "line 4: found `p2` as the who",
        ),
        (
            "train",
            TRAIN.replace("2,A,p2,AP,0", "2,A,p2,AP,2"),
            "line 3: found `2` as the Mass",
        ),
        (
            "train",
            TRAIN.replace("\n2,A", "\n,A"),
            "as the id, expected",
        ),
        ("train", TRAIN.replace("id,reader", "id,rad"), "`reader`"),
        (
            "train",
            long_name,
            "no image for 1 line (`train/../../../etc/passwd.png`)",
        ),
        ("train", "<!DOCTYPE html>".to_owned(), "web page"),
        (
            "test",
            TEST.replace("yes", "perhaps"),
            "line 2: found `perhaps` as the Mass",
        ),
        (
            "test",
            "name,Mass,Edema\n".to_owned() + "9.png,1,0\n9.png,1,0\n",
            "as the name, expected",
        ),
    ] {
        let root = small();
        write(root.path(), &chest(table), text);
        let text = listed(root.path(), CARD).unwrap_err().to_string();
        assert!(
            text.contains(part) && text.contains("hint:"),
            "{part}: {text}"
        );
    }
    let root = small();
    fs::remove_file(root.path().join(chest("test"))).unwrap();
    let text = listed(root.path(), CARD).unwrap_err().to_string();
    assert!(
        text.contains("test.csv") && text.contains("hint:"),
        "{text}"
    );
}

#[test]
fn cards_that_make_no_sense_are_refused() {
    let root = small();
    let without_tables = CARD.split("[[table]]").next().unwrap();
    for (text, part) in [
        (without_tables.to_owned(), "no `[[table]]`"),
        (CARD.replace("[\"Mass\", \"Edema\"]", "[]"), "no `classes`"),
        (
            CARD.replace("patient =", "label = \"a\"\nlabels ="),
            "both `label` and `labels`",
        ),
        (
            CARD.replace("patient =", "label ="),
            "the same in all tables",
        ),
        (CARD.replace("{id}", "id"), "a column in braces"),
        (CARD.replace("{id}", "{id"), "a column in braces"),
        (CARD.replace("\"PA\", \"AP\"", "\"LL\""), ""),
    ] {
        match listed(root.path(), &text) {
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.contains(part) && text.contains("hint:"),
                    "{part}: {text}"
                );
            }
            Ok(dataset) => assert_eq!((part, dataset.samples.len()), ("", 2)),
        }
    }
}
