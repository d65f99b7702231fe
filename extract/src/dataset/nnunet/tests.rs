mod partial;

use std::fs;

use cache::Labels;

use super::*;
use crate::dataset::fixtures::empty;

pub(in crate::dataset) fn dataset_json(folder: &Path, text: &str) {
    fs::write(folder.join("dataset.json"), text).unwrap();
}

/// A dataset of these files with this `dataset.json`.
fn opened(files: &[&str], json: &str, card: &DatasetCard) -> Result<Dataset, Error> {
    let root = empty(files);
    if !json.is_empty() {
        dataset_json(root.path(), json);
    }
    open(root.path(), card)
}

fn with_channel(channel: &str) -> DatasetCard {
    let mut card = DatasetCard::default();
    card.options.channel = Some(channel.to_owned());
    card
}

fn refusal(files: &[&str], json: &str, card: &DatasetCard) -> String {
    let text = opened(files, json, card).unwrap_err().to_string();
    assert!(text.contains("\nhint: "), "{text}");
    text
}

fn ids(dataset: &Dataset) -> Vec<&str> {
    dataset.samples.iter().map(|s| s.id.as_str()).collect()
}

fn file(path: &str) -> Source {
    Source::File(path.into())
}

fn classes(dataset: &Dataset) -> Vec<(u16, &str)> {
    let classes = dataset.mask_classes.iter();
    classes
        .map(|class| (class.value, class.name.as_str()))
        .collect()
}

const SPLEEN: &[&str] = &[
    "._Task09_Spleen",
    "Task09_Spleen/._imagesTr",
    "Task09_Spleen/.DS_Store",
    "Task09_Spleen/imagesTr/._spleen_10.nii.gz",
    "Task09_Spleen/imagesTr/spleen_10.nii.gz",
    "Task09_Spleen/imagesTr/spleen_2.nii.gz",
    "Task09_Spleen/imagesTr/spleen_3.nii.gz/spleen_3.nii",
    "Task09_Spleen/imagesTs/spleen_1.nii.gz",
    "Task09_Spleen/labelsTr/._spleen_10.nii.gz",
    "Task09_Spleen/labelsTr/spleen_10.nii.gz",
    "Task09_Spleen/labelsTr/spleen_2.nii",
    "Task09_Spleen/labelsTr/spleen_3.nii.gz",
];

const SPLEEN_JSON: &str = r#"{"name": "Spleen", "relase": "1.0", "modality": {"0": "CT"},
    "labels": {"0": "background", "1": "spleen"}, "numTest": 1, "test": ["./imagesTs/spleen_1.nii.gz"],
    "training": [
        {"image": "./imagesTr/spleen_3.nii.gz", "label": "./labelsTr/spleen_3.nii.gz"},
        {"image": "./imagesTr/spleen_2.nii.gz", "label": "./labelsTr/spleen_2.nii.gz"},
        {"image": "./imagesTr/spleen_10.nii.gz", "label": "./labelsTr/spleen_10.nii.gz"}]}"#;

fn spleen() -> tempfile::TempDir {
    let root = empty(SPLEEN);
    dataset_json(&root.path().join("Task09_Spleen"), SPLEEN_JSON);
    root
}

#[test]
fn a_decathlon_task_is_found_below_the_root_and_sorted_by_bytes() {
    let root = spleen();
    let card = DatasetCard::find("msd-spleen").unwrap();
    let dataset = open(root.path(), &card).unwrap();
    assert_eq!(ids(&dataset), ["spleen_10", "spleen_2", "spleen_3"]);
    assert_eq!(dataset.root, root.path().join("Task09_Spleen"));
    assert_eq!(dataset.warnings, [""; 0]);
    assert_eq!(
        (dataset.task, dataset.labels_from_mask),
        (Task::MultiLabel, true)
    );
    assert_eq!(classes(&dataset), [(1, "spleen")]);
    let sample = &dataset.samples[1];
    assert_eq!(sample.image, file("imagesTr/spleen_2.nii.gz"));
    assert_eq!(sample.mask[0].source, file("labelsTr/spleen_2.nii"));
    assert_eq!(sample.patient.as_deref(), Some("spleen_2"));
    assert_eq!(sample.split, Some(Split::Train));
    assert_eq!(sample.labels, Labels::Multi(vec![None]));
    assert_eq!(dataset.samples[2].image, file("imagesTr/spleen_3.nii.gz"));
}

#[test]
fn another_task_is_refused_by_name() {
    let root = spleen();
    let card = DatasetCard::find("msd-heart").unwrap();
    let text = open(root.path(), &card).unwrap_err().to_string();
    assert!(
        text.contains("`Spleen`") && text.contains("`Task02_Heart`"),
        "{text}"
    );
    let other = root.path().join("MySpleens");
    fs::rename(root.path().join("Task09_Spleen"), &other).unwrap();
    let card = DatasetCard::find("msd-spleen").unwrap();
    assert_eq!(open(root.path(), &card).unwrap().samples.len(), 3);
    fs::remove_file(other.join("dataset.json")).unwrap();
    assert!(open(root.path(), &card).is_err());
}

#[test]
fn without_dataset_json_the_folders_say_what_there_is() {
    let root = empty(SPLEEN);
    let card = DatasetCard::find("msd-spleen").unwrap();
    assert_eq!(open(root.path(), &card).unwrap().samples.len(), 3);
    let text = open(root.path(), &DatasetCard::default())
        .unwrap_err()
        .to_string();
    assert!(text.contains("no names for their values"), "{text}");
}

#[test]
fn test_images_are_listed_if_the_card_says_so() {
    let root = spleen();
    let mut card = DatasetCard::find("msd-spleen").unwrap();
    card.options.unlabelled = true;
    let dataset = open(root.path(), &card).unwrap();
    assert_eq!(ids(&dataset)[0], "spleen_1");
    assert_eq!(dataset.samples[0].split, Some(Split::Test));
    assert!(dataset.samples[0].mask.is_empty());
}

#[test]
fn images_without_any_label_map_are_a_task_without_labels() {
    let mut card = DatasetCard::default();
    let files = &["imagesTs/a_0000.nii.gz", "imagesTs/b_0000.nii.gz"];
    let json = r#"{"channel_names": {"0": "CT"}}"#;
    assert!(refusal(files, json, &card).contains("unlabelled = true"));
    card.options.unlabelled = true;
    let dataset = opened(files, json, &card).unwrap();
    assert_eq!(
        (ids(&dataset), dataset.task),
        (vec!["a", "b"], Task::Unlabelled)
    );
}

#[test]
fn differences_between_list_and_folders_are_told() {
    let json = r#"{"labels": {"1": "a"}, "training": [{"image": "imagesTr/a.nii.gz"}]}"#;
    let files = &[
        "imagesTr/a.nii",
        "imagesTr/b.nii",
        "labelsTr/a.nii",
        "labelsTr/b.nii",
    ];
    let dataset = opened(files, json, &DatasetCard::default()).unwrap();
    assert_eq!(ids(&dataset), ["a"]);
    assert_eq!(dataset.samples[0].mask[0].source, file("labelsTr/a.nii"));
    assert_eq!(dataset.warnings.len(), 3);
    assert!(dataset.warnings[0].contains("`imagesTr/b.nii`"));
    assert!(dataset.warnings[1].contains("`labelsTr/b.nii`"));
    let text = refusal(&["imagesTr/b.nii"], json, &DatasetCard::default());
    assert!(
        text.contains("every file that `dataset.json` lists")
            && text.contains("`imagesTr/a.nii.gz`"),
        "{text}"
    );
}

#[test]
fn images_without_label_map_among_others_are_left_out_with_a_warning() {
    let json = r#"{"labels": {"1": "a"}}"#;
    let files = &["imagesTr/a.nii", "imagesTr/b.nii", "labelsTr/a.nii"];
    let dataset = opened(files, json, &DatasetCard::default()).unwrap();
    assert_eq!(ids(&dataset), ["a"]);
    assert!(dataset.warnings[0].contains("no label map") && dataset.warnings[0].contains("`b`"));
}

const TWO_CHANNELS: &[&str] = &[
    "imagesTr/a.b_1_0000.nii.gz",
    "imagesTr/a.b_1_0001.nii.gz",
    "imagesTr/case_0000_0000.nii.gz",
    "imagesTr/case_0000_0001.nii.gz",
    "labelsTr/a.b_1.nii.gz",
    "labelsTr/case_0000.nii.gz",
];

const TWO_CHANNELS_JSON: &str = r#"{"channel_names": {"0": "CT", "1": "PET"}, "file_ending": ".nii.gz",
    "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "et": 3, "ignore": 4}}"#;

#[test]
fn a_case_is_all_before_the_number_of_the_channel() {
    let dataset = opened(TWO_CHANNELS, TWO_CHANNELS_JSON, &DatasetCard::default()).unwrap();
    assert_eq!(ids(&dataset), ["a.b_1", "case_0000"]);
    assert_eq!(
        dataset.samples[1].image,
        file("imagesTr/case_0000_0000.nii.gz")
    );
    assert_eq!(
        dataset.samples[1].mask[0].source,
        file("labelsTr/case_0000.nii.gz")
    );
    assert!(dataset.warnings.iter().any(|w| w.contains("`CT`, `PET`")));
}

#[test]
fn regions_keep_their_values_and_are_told() {
    let dataset = opened(TWO_CHANNELS, TWO_CHANNELS_JSON, &DatasetCard::default()).unwrap();
    assert_eq!(
        classes(&dataset),
        [(1, "label 1"), (2, "label 2"), (3, "et")]
    );
    let text = dataset.warnings.join("\n");
    assert!(
        text.contains("`whole` = 1 + 2 + 3") && text.contains("`core` = 2 + 3"),
        "{text}"
    );
    assert!(text.contains("`ignore` (4)"), "{text}");
}

#[test]
fn a_channel_is_chosen_by_number_or_name_or_all_are() {
    for word in ["1", "pet"] {
        let dataset = opened(TWO_CHANNELS, TWO_CHANNELS_JSON, &with_channel(word)).unwrap();
        assert_eq!(dataset.samples[0].image, file("imagesTr/a.b_1_0001.nii.gz"));
        assert_eq!(ids(&dataset)[0], "a.b_1");
    }
    let dataset = opened(TWO_CHANNELS, TWO_CHANNELS_JSON, &with_channel("all")).unwrap();
    assert_eq!(
        ids(&dataset),
        ["a.b_1#0", "a.b_1#1", "case_0000#0", "case_0000#1"]
    );
    assert_eq!(dataset.samples[1].patient.as_deref(), Some("a.b_1"));
    let text = refusal(TWO_CHANNELS, TWO_CHANNELS_JSON, &with_channel("MR"));
    assert!(
        text.contains("`MR`") && text.contains("0 (`CT`), 1 (`PET`) or `all`"),
        "{text}"
    );
    let files = &TWO_CHANNELS[1..];
    let text = refusal(files, TWO_CHANNELS_JSON, &DatasetCard::default());
    assert!(text.contains("`a.b_1_0000`"), "{text}");
}

#[test]
fn the_list_of_nn_unet_1_leaves_channel_numbers_out() {
    let json = r#"{"modality": {"0": "CT", "1": "PET"}, "labels": {"1": "x"},
        "training": [{"image": "./imagesTr/case_0000.nii.gz", "label": "./labelsTr/case_0000.nii.gz"}]}"#;
    let dataset = opened(&TWO_CHANNELS[2..], json, &with_channel("PET")).unwrap();
    assert_eq!(ids(&dataset), ["case_0000"]);
    assert_eq!(
        dataset.samples[0].image,
        file("imagesTr/case_0000_0001.nii.gz")
    );
}

#[test]
fn channels_along_a_fourth_axis_are_taken_from_one_file() {
    let json = r#"{"modality": {"0": "FLAIR", "1": "T1w"}, "labels": {"1": "edema"}}"#;
    let files = &["imagesTr/BRATS_0001.nii.gz", "labelsTr/BRATS_0001.nii.gz"];
    let channel = |number| Source::Channel("imagesTr/BRATS_0001.nii.gz".into(), number);
    let dataset = opened(files, json, &DatasetCard::default()).unwrap();
    assert_eq!(
        (ids(&dataset), &dataset.samples[0].image),
        (vec!["BRATS_0001"], &channel(0))
    );
    assert!(dataset.warnings[0].contains("`FLAIR`, `T1w`"));
    let dataset = opened(files, json, &with_channel("all")).unwrap();
    assert_eq!(ids(&dataset), ["BRATS_0001#0", "BRATS_0001#1"]);
    assert_eq!(dataset.samples[1].image, channel(1));
    let dataset = opened(files, "", &with_channel("1"));
    assert!(dataset.is_err(), "no names of labels");
}

#[test]
fn one_coloured_image_stands_for_three_channels() {
    let json = r#"{"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "road": 1},
        "file_ending": ".png"}"#;
    let files = &["imagesTr/img_1_0000.png", "labelsTr/img_1.png"];
    for card in [DatasetCard::default(), with_channel("all")] {
        let dataset = opened(files, json, &card).unwrap();
        assert_eq!((ids(&dataset), dataset.warnings.len()), (vec!["img_1"], 1));
        assert_eq!(dataset.samples[0].image, file("imagesTr/img_1_0000.png"));
    }
    let text = refusal(files, json, &with_channel("G"));
    assert!(text.contains("all three colours"), "{text}");
}

#[test]
fn cases_may_be_listed_one_by_one_in_any_folder() {
    let json = r#"{"channel_names": {"0": "CT", "1": "PET"}, "labels": {"tumour": 1},
        "dataset": {"p1": {"images": ["scans/p1/ct.nii", "scans/p1/pet.nii"], "label": "scans/p1/seg.nii"}}}"#;
    let files = &["scans/p1/ct.nii", "scans/p1/pet.nii", "scans/p1/seg.nii"];
    let dataset = opened(files, json, &with_channel("PET")).unwrap();
    assert_eq!(ids(&dataset), ["p1"]);
    assert_eq!(dataset.samples[0].image, file("scans/p1/pet.nii"));
    assert_eq!(dataset.samples[0].mask[0].source, file("scans/p1/seg.nii"));
}

#[test]
fn paths_that_leave_the_folder_are_refused() {
    for path in ["/etc/passwd", "../b.nii", "imagesTr/../../b.nii"] {
        let json = format!(r#"{{"labels": {{"1": "a"}}, "training": [{{"image": "{path}"}}]}}"#);
        let text = refusal(&["imagesTr/a.nii"], &json, &DatasetCard::default());
        assert!(
            text.contains(path) && text.contains("dataset.json"),
            "{text}"
        );
    }
}

#[test]
fn odd_json_is_an_error_in_words() {
    let deep = "[".repeat(100_000);
    let cases = [
        ("[]", "no JSON object"),
        ("{\"a\": ", "EOF"),
        (deep.as_str(), "no JSON object"),
        (r#"{"training": 3}"#, "`training`"),
        (r#"{"training": [{"label": "a"}]}"#, "`training`"),
        (r#"{"labels": ["a"]}"#, "`labels`"),
        (r#"{"labels": {"a": -1}}"#, "`labels.a`"),
        (r#"{"labels": {"a": [1, 70000]}}"#, "`labels.a`"),
        (r#"{"labels": {"a": "b"}}"#, "`labels.a`"),
        (
            r#"{"labels": {"a": 1, "b": 1}}"#,
            "two names for the value 1",
        ),
        (r#"{"channel_names": {"x": "CT"}}"#, "`channel_names`"),
        (r#"{"file_ending": ".mha"}"#, "`.mha`"),
    ];
    for (json, reason) in cases {
        let text = refusal(&["imagesTr/a.nii"], json, &DatasetCard::default());
        assert!(
            text.contains(reason) && text.contains("dataset.json"),
            "{text}"
        );
    }
    let deep = format!("{{\"a\": {}", "[".repeat(100_000));
    let text = refusal(&["imagesTr/a.nii"], &deep, &DatasetCard::default());
    assert!(text.contains("recursion limit"), "{text}");
}

#[test]
fn two_files_for_one_image_and_no_images_are_refused() {
    let json = r#"{"labels": {"1": "a"}}"#;
    let files = &["imagesTr/a.nii", "imagesTr/a.nii.gz"];
    let text = refusal(files, json, &DatasetCard::default());
    assert!(
        text.contains("`imagesTr/a.nii` and `imagesTr/a.nii.gz`"),
        "{text}"
    );
    let text = refusal(&["imagesTr/a.mha"], json, &DatasetCard::default());
    assert!(text.contains("no images"), "{text}");
    let text = refusal(&["images/a.nii"], "", &DatasetCard::default());
    assert!(text.contains("the folders `images`"), "{text}");
}
