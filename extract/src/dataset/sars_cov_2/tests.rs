use image::{Rgb, RgbImage, Rgba, RgbaImage};
use imaging::read::Reader;

use super::*;
use crate::dataset::fixtures::folder;

fn by_patient() -> tempfile::TempDir {
    folder(&[
        ("New_Data_CoV2/Covid/Patient (1)/1.png", "x"),
        ("New_Data_CoV2/Covid/Patient (10)/2.png", "x"),
        ("New_Data_CoV2/Covid/Patient (2)/10.png", "x"),
        ("New_Data_CoV2/Covid/Patient (2)/2.png", "x"),
        ("New_Data_CoV2/Covid/Patient (2)/1.PNG", "x"),
        ("New_Data_CoV2/Covid/Patient (2)/._2.png", "x"),
        ("New_Data_CoV2/Healthy/Patient (1)/7.png", "x"),
        ("New_Data_CoV2/Others/Patient (1)/1.png", "x"),
        ("New_Data_CoV2/Others/Patient (1)/notes.txt", "x"),
        ("New_Data_CoV2/overview.png", "x"),
    ])
}

fn by_slice() -> tempfile::TempDir {
    folder(&[
        ("COVID/Covid (10).png", "x"),
        ("COVID/Covid (2).png", "x"),
        ("non-COVID/Non-Covid (1).png", "x"),
    ])
}

fn listed(root: &Path, change: impl Fn(&mut DatasetCard)) -> Result<Dataset, Error> {
    let mut card = DatasetCard::find("sars-cov-2").unwrap();
    change(&mut card);
    super::super::open(&card, root)
}

fn labels(dataset: &Dataset) -> Vec<u32> {
    let labels = dataset.samples.iter().map(|sample| match sample.labels {
        Labels::Single(Some(class)) => class,
        _ => u32::MAX,
    });
    labels.collect()
}

#[test]
fn a_patient_is_a_stack_of_slices() {
    let root = by_patient();
    let dataset = listed(root.path(), |_| ()).unwrap();
    assert!(dataset.root.ends_with("New_Data_CoV2") && dataset.warnings.is_empty());
    assert_eq!(dataset.name, "sars-cov-2");
    assert_eq!(
        (dataset.task, &dataset.classes[..]),
        (Task::SingleLabel, &BINARY.map(str::to_owned)[..])
    );
    let patients = dataset.samples.iter().map(|s| s.patient.clone().unwrap());
    let expected = [
        "Covid/Patient (1)",
        "Covid/Patient (10)",
        "Covid/Patient (2)",
        "Healthy/Patient (1)",
        "Others/Patient (1)",
    ];
    assert!(patients.eq(expected));
    assert!(
        dataset
            .samples
            .iter()
            .all(|s| Some(&s.id) == s.patient.as_ref())
    );
    assert_eq!(labels(&dataset), [1, 1, 1, 0, 0]);
    let slices = ["1.PNG", "2.png", "10.png"];
    let slices = slices.map(|slice| PathBuf::from(format!("Covid/Patient (2)/{slice}")));
    assert_eq!(dataset.samples[2].image, Source::Stack(slices.to_vec()));
}

#[test]
fn three_classes_are_told_apart_if_asked_for() {
    let root = by_patient();
    let three = |card: &mut DatasetCard| {
        card.options.binary = false;
        card.classes.clear();
    };
    let dataset = listed(root.path(), three).unwrap();
    assert_eq!(dataset.classes, BY_PATIENT);
    assert_eq!(labels(&dataset), [0, 0, 0, 1, 2]);
    let two_names = listed(root.path(), |card| card.options.binary = false);
    let text = two_names.unwrap_err().to_string();
    assert!(
        text.contains("`other`, `covid`") && text.contains("in this order"),
        "{text}"
    );
    // The folders decide; other names for them would be silently wrong.
    let turned = listed(root.path(), |card| card.classes.reverse());
    assert!(turned.unwrap_err().to_string().contains("`covid`, `other`"));
    let text = listed(by_slice().path(), three).unwrap_err().to_string();
    assert!(
        text.contains("`binary = true`") && text.contains("`Healthy`"),
        "{text}"
    );
}

#[test]
fn slices_without_patients_are_samples_and_a_warning() {
    let root = by_slice();
    let dataset = listed(root.path(), |_| ()).unwrap();
    let ids: Vec<&str> = dataset.samples.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "COVID/Covid (10)",
            "COVID/Covid (2)",
            "non-COVID/Non-Covid (1)"
        ]
    );
    assert_eq!(labels(&dataset), [1, 1, 0]);
    assert!(
        dataset
            .samples
            .iter()
            .all(|sample| sample.patient.is_none())
    );
    assert!(dataset.warnings[0].contains("scores are too good"));
}

#[test]
fn what_does_not_fit_the_layout_is_explained() {
    let empty = by_patient();
    fs::create_dir(empty.path().join("New_Data_CoV2/Others/Patient (2)")).unwrap();
    let text = listed(empty.path(), |_| ()).unwrap_err().to_string();
    let part = "no image of 1 patient (`Others/Patient (2)`)";
    assert!(
        text.contains(part) && text.contains("`--allow-missing`"),
        "{text}"
    );
    let dataset = listed(empty.path(), |card| card.options.allow_missing = true).unwrap();
    assert_eq!((dataset.samples.len(), dataset.warnings.len()), (5, 1));

    let stray = by_patient();
    fs::write(stray.path().join("New_Data_CoV2/Covid/5.png"), "x").unwrap();
    let text = listed(stray.path(), |_| ()).unwrap_err().to_string();
    assert!(
        text.contains("Covid/5.png") && text.contains("hint: move it"),
        "{text}"
    );

    let partial = folder(&[
        ("Covid/Patient (1)/1.png", "x"),
        ("Healthy/Patient (1)/1.png", "x"),
    ]);
    let text = listed(partial.path(), |_| ()).unwrap_err().to_string();
    assert!(
        text.contains("found the folders `Covid`, `Healthy`"),
        "{text}"
    );
    assert!(
        text.contains("expected `Covid/Patient (1)/1.png` with"),
        "{text}"
    );

    let inside = listed(&stray.path().join("New_Data_CoV2/Covid"), |_| ());
    let text = inside.unwrap_err().to_string();
    assert!(text.contains("hint: pass the folder above it"), "{text}");

    let bare = folder(&[("COVID/readme.txt", "x"), ("non-COVID/readme.txt", "x")]);
    let text = listed(bare.path(), |_| ()).unwrap_err().to_string();
    assert!(text.contains("found no image"), "{text}");
}

/// Slices are of different sizes, and some have an alpha channel.
#[test]
fn stacks_are_read_in_order_and_without_alpha() {
    let root = by_patient();
    let patient = root.path().join("New_Data_CoV2/Covid/Patient (2)");
    RgbImage::from_pixel(4, 3, Rgb([1, 1, 1]))
        .save(patient.join("1.PNG"))
        .unwrap();
    RgbaImage::from_pixel(5, 3, Rgba([2, 2, 2, 255]))
        .save(patient.join("2.png"))
        .unwrap();
    RgbImage::from_pixel(4, 6, Rgb([10, 10, 10]))
        .save(patient.join("10.png"))
        .unwrap();
    let dataset = listed(root.path(), |_| ()).unwrap();
    let volume = Reader::new(&dataset.root)
        .volume(&dataset.samples[2].image)
        .unwrap();
    let slices = (0..volume.slices()).map(|k| (volume.shape(k), volume.plane(k)[[2, 0, 0]]));
    let expected = [([3, 3, 4], 1.0), ([3, 3, 5], 2.0), ([3, 6, 4], 10.0)];
    assert!(slices.eq(expected));
}
