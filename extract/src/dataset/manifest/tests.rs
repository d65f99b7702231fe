mod missing;
mod names;
mod paths;

use std::fs;
use std::sync::Arc;

use super::super::Sample;
use super::*;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use cache::{Labels, Split, Task};
use imaging::read::{MaskPart, Source};
use parquet::arrow::ArrowWriter;

use crate::dataset::fixtures::folder;

fn listed(files: &[(&str, &str)], label_columns: &[&str]) -> Result<Dataset, Error> {
    super::super::open(&card(label_columns), folder(files).path())
}

fn card(label_columns: &[&str]) -> DatasetCard {
    let mut card = DatasetCard::find("manifest").unwrap();
    let names = label_columns.iter().map(|name| (*name).to_owned());
    card.options.label_columns = names.collect();
    card
}

/// The text of the error for this manifest beside `a.png` and `m.png`.
fn refusal(manifest: &str) -> String {
    let files = [("manifest.csv", manifest), ("a.png", "x"), ("m.png", "x")];
    listed(&files, &[]).unwrap_err().to_string()
}

#[test]
fn every_column_is_read_whatever_its_case_and_line_ends() {
    let manifest = "\u{feff} Path ,Class,slices,PatientID,SPLIT,id,other\r\n\
                    ./b/2.nii.gz,sick,3-9,p1,validation,two,x\r\n\
                    a.png,\"well, so far\",,,,,\r\n";
    let files = [
        ("manifest.csv", manifest),
        ("b/2.nii.gz", "x"),
        ("a.png", "x"),
    ];
    let dataset = listed(&files, &[]).unwrap();
    assert_eq!(dataset.task, Task::SingleLabel);
    assert_eq!(dataset.classes, ["sick", "well, so far"]);
    let expected = Sample {
        id: "two".to_owned(),
        slices: Some(3..=9),
        patient: Some("p1".to_owned()),
        split: Some(Split::Val),
        labels: Labels::Single(Some(0)),
        ..Sample::of_image(Source::File("b/2.nii.gz".into()))
    };
    assert_eq!(dataset.samples[0], expected);
    assert_eq!(
        (dataset.samples[1].id.as_str(), &dataset.samples[1].patient),
        ("a", &None)
    );
}

#[test]
fn joined_labels_are_multi_label_and_blank_is_unknown() {
    let manifest = "image,labels\na.png,10|9\nb.png,9\nc.png,\n";
    let files = [
        ("manifest.csv", manifest),
        ("a.png", "x"),
        ("b.png", "x"),
        ("c.png", "x"),
    ];
    let dataset = listed(&files, &[]).unwrap();
    assert_eq!(
        (dataset.task, dataset.classes),
        (Task::MultiLabel, vec!["9".into(), "10".into()])
    );
    let labels: Vec<_> = dataset
        .samples
        .into_iter()
        .map(|sample| sample.labels)
        .collect();
    let expected = [
        vec![Some(1), Some(1)],
        vec![Some(1), Some(0)],
        vec![None, None],
    ];
    assert_eq!(labels, expected.map(Labels::Multi));
}

#[test]
fn label_columns_hold_one_class_each() {
    let manifest = "image,Edema,Mass,Hernia,Nodule\na.png,1.0,-1,,0\n";
    let files = [("manifest.csv", manifest), ("a.png", "x")];
    let dataset = listed(&files, &["edema", "Mass", "Hernia", "Nodule"]).unwrap();
    let expected = Labels::Multi(vec![Some(1), Some(-1), None, Some(0)]);
    assert_eq!(dataset.samples[0].labels, expected);
    let text = listed(&files, &["Fracture"]).unwrap_err().to_string();
    assert!(
        text.contains("`Fracture`") && text.contains("`Edema`, `Mass`"),
        "{text}"
    );
}

#[test]
fn classes_txt_gives_the_order_and_binds() {
    let names = ("classes.txt", "well\r\nsick\r\n\r\n");
    let files = [
        ("manifest.csv", "image,label\na.png,sick\n"),
        ("a.png", "x"),
        names,
    ];
    let dataset = listed(&files, &[]).unwrap();
    assert_eq!(dataset.classes, ["well", "sick"]);
    assert_eq!(dataset.samples[0].labels, Labels::Single(Some(1)));
    let files = [
        ("manifest.csv", "image,label\na.png,Sick\n"),
        ("a.png", "x"),
        names,
    ];
    let text = listed(&files, &[]).unwrap_err().to_string();
    assert!(text.contains("line 2") && text.contains("`Sick`"), "{text}");
}

#[test]
fn two_classes_of_one_name_are_refused() {
    let files = [
        ("manifest.csv", "image,labels\na.png,b\n"),
        ("a.png", "x"),
        ("classes.txt", "b\nc\nb\n"),
    ];
    let error = listed(&files, &[]).unwrap_err();
    assert!(matches!(error, Error::DuplicateClass { name, .. } if name == "b"));
}

#[test]
fn masks_give_the_labels_where_nothing_else_does() {
    let classes = (
        "classes.csv",
        "value,name\n2,spleen\n0,background\n1,liver\n",
    );
    let manifest = ("manifest.csv", "image,mask\na.nii,m.nii\n");
    let images = [("a.nii", "x"), ("m.nii", "x")];
    let dataset = listed(&[classes, manifest, images[0], images[1]], &[]).unwrap();
    assert!(dataset.labels_from_mask);
    let named = dataset
        .mask_classes
        .iter()
        .map(|c| (c.value, c.name.as_str()));
    assert!(named.eq([(1, "liver"), (2, "spleen")]));
    assert_eq!(dataset.classes, ["liver", "spleen"]);
    assert_eq!(dataset.samples[0].labels, Labels::Multi(vec![None, None]));
    let mask = MaskPart {
        source: Source::File("m.nii".into()),
        value: None,
    };
    assert_eq!(dataset.samples[0].mask, [mask]);
    let labelled = ("manifest.csv", "image,mask,label\na.nii,m.nii,x\n");
    let dataset = listed(&[classes, labelled, images[0], images[1]], &[]).unwrap();
    assert!(!dataset.labels_from_mask && dataset.task == Task::SingleLabel);
    assert_eq!(dataset.mask_classes.len(), 2);
}

#[test]
fn masks_without_names_are_refused() {
    let text = refusal("image,mask\na.png,m.png\n");
    assert!(
        text.contains("`classes.csv`") && text.contains("hint: write a line"),
        "{text}"
    );
}

#[test]
fn parquet_reads_as_csv_does() {
    let root = folder(&[("a.png", "x"), ("b.png", "x")]);
    let columns: [(&str, ArrayRef); 4] = [
        ("image", Arc::new(StringArray::from(vec!["a.png", "b.png"]))),
        ("label", Arc::new(Int64Array::from(vec![Some(7), None]))),
        ("mass", Arc::new(Float64Array::from(vec![Some(-1.0), None]))),
        ("slices", Arc::new(Int64Array::from(vec![0, 3]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let path = root.path().join("manifest.parquet");
    let file = fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let dataset = open(root.path(), &card(&[])).unwrap();
    assert_eq!(
        (dataset.task, dataset.classes),
        (Task::SingleLabel, vec!["7".to_owned()])
    );
    assert_eq!(dataset.samples[1].labels, Labels::Single(None));
    assert_eq!(
        (
            dataset.samples[0].slices.clone(),
            dataset.samples[1].id.as_str()
        ),
        (Some(0..=0), "b#3")
    );
    let dataset = open(&path, &card(&["mass"])).unwrap();
    assert_eq!(dataset.samples[0].labels, Labels::Multi(vec![Some(-1)]));
    fs::write(&path, "PAR1").unwrap();
    let text = open(&path, &card(&[])).unwrap_err().to_string();
    assert!(
        text.contains("manifest.parquet") && text.contains("hint:"),
        "{text}"
    );
}

#[test]
fn a_missing_column_is_answered_with_those_there_are() {
    let text = refusal("picture,label\na.png,x\n");
    for part in [
        "manifest.csv",
        "`picture`, `label`",
        "`image` or `path`",
        "hint: rename",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn paths_that_leave_the_folder_are_refused() {
    for path in ["../a.png", "/etc/passwd", "b/../../a.png"] {
        let text = refusal(&format!("image\na.png\n{path}\n"));
        let named = text.contains("manifest.csv") && text.contains(&format!("line 3: `{path}`"));
        assert!(named && text.contains("hint: move or copy"), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn links_that_leave_the_folder_are_refused_and_others_are_followed() {
    use std::os::unix::fs::symlink;
    let outside = folder(&[("x/1.png", "x")]);
    let root = folder(&[("a.png", "x")]);
    symlink(outside.path().join("x/1.png"), root.path().join("file.png")).unwrap();
    symlink(outside.path().join("x"), root.path().join("dir")).unwrap();
    symlink("a.png", root.path().join("inner.png")).unwrap();
    symlink("nowhere", root.path().join("broken.png")).unwrap();
    let open_with = |path: &str| {
        fs::write(root.path().join("manifest.csv"), format!("image\n{path}\n")).unwrap();
        open(root.path(), &card(&[]))
    };
    assert!(open_with("inner.png").is_ok());
    assert!(matches!(
        open_with("file.png"),
        Err(Error::OutsideRoot { line: 2, .. })
    ));
    assert!(matches!(
        open_with("dir/1.png"),
        Err(Error::OutsideRoot { .. })
    ));
    let text = open_with("broken.png").unwrap_err().to_string();
    assert!(text.contains("1 file missing"), "{text}");
}

#[test]
fn wrong_cells_are_named_with_line_and_what_is_expected() {
    for (manifest, parts) in [
        (
            "image,split\na.png,tran\n",
            ["line 2", "`tran`", "train, val or test"],
        ),
        (
            "image,slices\na.png,9-3\n",
            ["line 2", "`9-3`", "`17` or `0-18`"],
        ),
        (
            "image,label\n,x\n",
            ["line 2", "found `` as the image", "the path of an image"],
        ),
        (
            "image,label\na.png,x,y\n",
            ["line 2", "found 3 fields, expected 2", "put quotes"],
        ),
        (
            "image,id\na.png,k\nm.png,k\n",
            ["manifest", "the id `k`", "give each line"],
        ),
    ] {
        let text = refusal(manifest);
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(text.contains("hint:"), "{text}");
    }
}

#[test]
fn a_trailing_comma_is_no_field() {
    let files = [("manifest.csv", "image,label\na.png,x,\n"), ("a.png", "x")];
    assert_eq!(listed(&files, &[]).unwrap().samples.len(), 1);
}

#[test]
fn a_manifest_without_rows_is_refused() {
    let text = refusal("image,label\n");
    assert!(text.contains("no rows") && text.contains("hint:"), "{text}");
}

#[test]
fn a_folder_without_manifest_says_what_to_pass() {
    let text = listed(&[("a.png", "x")], &[]).unwrap_err().to_string();
    assert!(
        text.contains("found no manifest") && text.contains("hint: pass"),
        "{text}"
    );
}

#[test]
fn the_table_names_the_dataset_and_paths_may_turn_back_within_the_folder() {
    let root = folder(&[("tables/m.csv", ""), ("pictures/a/1.png", "x")]);
    let pictures = root.path().join("pictures");
    let table = root.path().join("tables/m.csv");
    let image = pictures.join("a/../a/1.png");
    std::fs::write(&table, format!("image\n{}\n", image.display())).unwrap();
    let mut card = DatasetCard::find("manifest").unwrap();
    card.options.image_root = Some(pictures);
    let dataset = crate::dataset::open(&card, &table).unwrap();
    assert_eq!(dataset.name, "tables");
    assert_eq!(dataset.samples[0].id, "a/1");
}
