//! Downloads that are not whole.

use super::*;

#[test]
fn test_images_that_are_not_wanted_may_be_missing() {
    let root = spleen();
    fs::remove_dir_all(root.path().join("Task09_Spleen/imagesTs")).unwrap();
    let mut card = DatasetCard::find("msd-spleen").unwrap();
    assert_eq!(open(root.path(), &card).unwrap().samples.len(), 3);
    card.options.unlabelled = true;
    let text = open(root.path(), &card).unwrap_err().to_string();
    assert!(text.contains("`imagesTs/spleen_1.nii.gz`"), "{text}");
}

#[test]
fn cases_of_missing_files_are_left_out_if_that_is_allowed() {
    let root = spleen();
    let folder = root.path().join("Task09_Spleen");
    fs::remove_file(folder.join("imagesTr/spleen_10.nii.gz")).unwrap();
    fs::remove_file(folder.join("labelsTr/spleen_2.nii")).unwrap();
    let mut card = DatasetCard::find("msd-spleen").unwrap();
    let text = open(root.path(), &card).unwrap_err().to_string();
    let both = "2 of its entries (`labelsTr/spleen_2.nii.gz`, `imagesTr/spleen_10.nii.gz`)";
    assert!(
        text.contains(both) && text.contains("`--allow-missing`"),
        "{text}"
    );
    card.options.allow_missing = true;
    let dataset = open(root.path(), &card).unwrap();
    assert_eq!(ids(&dataset), ["spleen_3"]);
    assert!(
        dataset.warnings.iter().any(|w| w.contains(both)),
        "{:?}",
        dataset.warnings
    );
}

#[test]
fn a_case_without_the_channel_is_left_out_if_that_is_allowed() {
    let mut card = with_channel("all");
    let text = refusal(&TWO_CHANNELS[1..], TWO_CHANNELS_JSON, &card);
    assert!(
        text.contains("(`a.b_1_0000`)") && text.contains("`--allow-missing`"),
        "{text}"
    );
    card.options.allow_missing = true;
    let dataset = opened(&TWO_CHANNELS[1..], TWO_CHANNELS_JSON, &card).unwrap();
    assert_eq!(ids(&dataset), ["case_0000#0", "case_0000#1"]);
}

#[test]
fn what_a_failed_download_left_is_told_whatever_the_card() {
    let page = "<!DOCTYPE html>\n<html>";
    for card in ["nnunet", "msd-spleen", "amos"] {
        for (json, part) in [("", "empty"), (page, "web page"), ("{\"a\": ", "not whole")] {
            let root = empty(&["imagesTr/amos_1.nii"]);
            dataset_json(root.path(), json);
            let card = DatasetCard::find(card).unwrap();
            let text = crate::dataset::open(&card, root.path())
                .unwrap_err()
                .to_string();
            assert!(text.contains(part) && text.contains("download"), "{text}");
        }
    }
}
