//! Labels from folders and tables.

use super::*;

#[test]
fn folders_are_classes_if_the_card_names_them() {
    let root = root(vec![
        ("train/tb/x/1", of(Made::axial("1.2", 0.0), "p1")),
        ("test/normal/y/1", of(Made::axial("1.3", 0.0), "p1")),
        ("test/other/1", of(Made::axial("1.4", 0.0), "p1")),
    ]);
    let dataset = open(root.path(), &card(&["normal", "tb"])).unwrap();
    assert_eq!(
        ids(&dataset),
        ["test/normal/y/1", "test/other/1", "train/tb/x/1"]
    );
    let labels: Vec<_> = dataset.samples.iter().map(|s| s.labels.clone()).collect();
    let single = Labels::Single;
    assert_eq!(labels, [single(Some(0)), single(None), single(Some(1))]);
    let splits: Vec<_> = dataset.samples.iter().map(|s| s.split).collect();
    assert_eq!(
        splits,
        [Some(Split::Test), Some(Split::Test), Some(Split::Train)]
    );
    assert_eq!(dataset.samples[0].patient.as_deref(), Some("normal/y"));
    has_warning(&dataset, &["samples without a label: 1", "`test/other/1`"]);
}

#[test]
fn labels_may_stand_in_a_table() {
    let root = root(vec![
        ("a/1", of(Made::axial("1.2", 0.0), "p1")),
        ("b/1", of(Made::axial("1.3", 0.0), "p2")),
    ]);
    let table = root.path().join("labels.csv");
    let mut card = card(&[]);
    card.options.manifest = Some("labels.csv".into());
    std::fs::write(&table, "PatientID,label\np1,tb\np1,tb\np9,normal\n").unwrap();
    let dataset = open(root.path(), &card).unwrap();
    assert_eq!(dataset.classes, ["normal", "tb"]);
    assert_eq!(dataset.samples[0].labels, Labels::Single(Some(1)));
    assert_eq!(dataset.samples[1].labels, Labels::Single(None));
    has_warning(
        &dataset,
        &["lines of the table without an image: 1", "`p9`"],
    );
    std::fs::write(&table, "PatientID,label\np1,tb\np1,normal\n").unwrap();
    let text = open(root.path(), &card).unwrap_err().to_string();
    assert!(
        text.contains("line 3") && text.contains("the same labels"),
        "{text}"
    );
    std::fs::write(&table, "PatientID,label\np2,tb\np1,tb|nodule\n").unwrap();
    let text = open(root.path(), &card).unwrap_err().to_string();
    assert!(
        text.contains("`tb|nodule` as the label in line 3") && text.contains("`label_columns`"),
        "{text}"
    );
    card.options.label_columns = vec!["tb".into(), "nodule".into()];
    std::fs::write(&table, "SeriesInstanceUID,nodule,tb\n1.3,1,0\n1.2,,-1\n").unwrap();
    let dataset = open(root.path(), &card).unwrap();
    assert_eq!(
        (dataset.task, &dataset.classes[..]),
        (Task::MultiLabel, &card.options.label_columns[..])
    );
    assert_eq!(
        dataset.samples[0].labels,
        Labels::Multi(vec![Some(-1), None])
    );
    assert_eq!(
        dataset.samples[1].labels,
        Labels::Multi(vec![Some(0), Some(1)])
    );
}

#[test]
fn a_table_may_name_a_folder_or_any_file_of_a_series() {
    let root = root(vec![
        ("p1/ct/1", of(Made::axial("1.2", 0.0), "p1")),
        ("p1/ct/2", of(Made::axial("1.2", 1.0), "p1")),
        ("p2/ct/1", of(Made::axial("1.3", 0.0), "p2")),
        ("p2/ct/2", of(Made::axial("1.3", 1.0), "p2")),
    ]);
    let mut card = card(&[]);
    card.options.manifest = Some("labels.csv".into());
    for (one, two) in [
        ("p1/ct", "p2/ct"),
        ("./p1/ct/", "p2"),
        ("p1\\ct\\2", "p2/ct/1"),
    ] {
        let text = format!("path,label\n{one},tb\n{two},normal\n");
        std::fs::write(root.path().join("labels.csv"), text).unwrap();
        let dataset = open(root.path(), &card).unwrap();
        let labels: Vec<_> = dataset.samples.iter().map(|s| s.labels.clone()).collect();
        assert_eq!(labels, [1, 0].map(|k| Labels::Single(Some(k))), "{one}");
    }
}
