//! `extract datasets`: lists of cards and checks of downloads.

use std::path::Path;

use serde_json::Value;

use crate::lab::{Lab, Run, gzip, nifti, nifti_at, program, ramp};

fn datasets(words: &[&str]) -> Run {
    Run::of(program("extract").arg("datasets").args(words))
}

fn check(dataset: &str, root: &Path, more: &[&str]) -> Run {
    let mut command = program("extract");
    command.args(["datasets", dataset, "--root"]).arg(root);
    Run::of(command.args(more))
}

/// Expects words, which may be folded.
#[track_caller]
fn says(run: &Run, words: &[&str]) {
    let unfolded: Vec<&str> = run.stdout.split_whitespace().collect();
    let unfolded = unfolded.join(" ");
    for word in words {
        let is_said = run.stdout.contains(word) || unfolded.contains(word);
        assert!(is_said, "no `{word}` in {}", run.stdout);
    }
}

#[test]
fn all_cards_are_listed() {
    let run = datasets(&[]).expect(0);
    says(
        &run,
        &["amos: AMOS22", "CC BY 4.0", "manifest: your own images"],
    );
    let run = datasets(&["--format", "json"]).expect(0);
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let names: Vec<&str> = lines
        .iter()
        .map(|card| card["name"].as_str().unwrap())
        .collect();
    assert!(names.is_sorted() && names.contains(&"folder"), "{names:?}");
}

#[test]
fn a_card_is_shown_in_full() {
    let run = datasets(&["folder"]).expect(0);
    says(
        &run,
        &[
            "one folder per class",
            "train/CLASS/IMAGE.png",
            "radiology",
            "axial",
        ],
    );
    datasets(&["imagenet"]).expect_error(2, &["`imagenet`", "`folder`"]);
}

#[test]
fn a_sound_download_is_counted() {
    let lab = Lab::new();
    let run = check("manifest", &lab.manifest(30), &["--pixels"]).expect(0);
    says(
        &run,
        &[
            "30 samples of 30 files, 30 patients",
            "30 samples read without errors",
        ],
    );
    says(&run, &["no problems"]);
    let rows: Vec<Vec<&str>> = run
        .stdout
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    for row in [
        ["train", "20", "20"],
        ["test", "10", "10"],
        ["class", "train", "test"],
        ["left", "10", "5"],
    ] {
        assert!(
            rows.iter().any(|found| found[..] == row),
            "no {row:?} in {}",
            run.stdout
        );
    }
}

#[test]
fn twenty_samples_are_read_unless_all_are_asked_for() {
    let lab = Lab::new();
    let manifest = lab.manifest(30);
    let run = check("manifest", &manifest, &[]).expect(0);
    says(&run, &["20 samples read", "`--pixels` reads all"]);
    // One that the 20 do not hit: round(i * 1.5).
    lab.write("images/0001.png", "<!doctype html>");
    check("manifest", &manifest, &[]).expect(0);
    let run = check("manifest", &manifest, &["--pixels"]).expect(1);
    says(
        &run,
        &[
            "problems",
            "unreadable samples: 1",
            "images/0001",
            "web page",
            "what to do",
        ],
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let lab = Lab::new();
    let manifest = lab.manifest(12);
    let csv = std::fs::read_to_string(&manifest).unwrap();
    let csv = csv
        .replace("p5,test", "p4,test")
        .replace("0007.png,right", "0007.png,odd");
    std::fs::write(&manifest, csv).unwrap();
    lab.write("images/0003.png", "");
    std::fs::copy(lab.path("images/0000.png"), lab.path("images/0002.png")).unwrap();
    let run = check("manifest", &manifest, &["--format", "json"]).expect(1);
    let found: Value = serde_json::from_str(&run.stdout).unwrap();
    let problems = found["problems"].as_array().unwrap();
    let places = |what: &str| {
        let problem = problems
            .iter()
            .find(|p| p["what"].as_str().unwrap().contains(what));
        problem.unwrap_or_else(|| panic!("no `{what}` in {}", run.stdout))["places"].clone()
    };
    assert_eq!(places("0 bytes"), serde_json::json!(["images/0003.png"]));
    assert_eq!(
        places("patients in"),
        serde_json::json!(["`p4` in train and test"])
    );
    assert_eq!(
        places("identical images"),
        serde_json::json!(["images/0000 = images/0002"])
    );
    assert_eq!(
        places("classes without"),
        serde_json::json!(["odd in test"])
    );
    assert_eq!(found["splits"][0]["samples"], 8);
    let text = check("manifest", &manifest, &[]).expect(1);
    says(
        &text,
        &["found\n", "missing\n", "problems\n", "what to do\n"],
    );
}

#[test]
fn classes_of_masks_are_counted_from_the_pixels() {
    let lab = Lab::new();
    let shape = [6, 5, 4];
    let mut csv = String::from("image,mask,patient,split\n");
    for i in 0..24 {
        let voxels: Vec<f32> = ramp(shape).iter().map(|v| v + i as f32).collect();
        lab.write(&format!("{i}.nii.gz"), gzip(&nifti(shape, &voxels)));
        lab.write(&format!("m{i}.nii"), nifti(shape, &[1.0; 120]));
        csv += &format!("{i}.nii.gz,m{i}.nii,p{i},{}\n", ["train", "test"][i % 2]);
    }
    lab.write("classes.csv", "value,name\n1,liver\n");
    let manifest = lab.write("m.csv", csv);
    let spot = check("manifest", &manifest, &["--recipe", "radiology"]).expect(0);
    says(
        &spot,
        &["24 samples of 48 files", "classes are in the masks"],
    );
    let all = check("manifest", &manifest, &["--pixels"]).expect(0);
    let rows: Vec<Vec<&str>> = all
        .stdout
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert!(rows.contains(&vec!["liver", "12", "12"]), "{}", all.stdout);
}

#[test]
fn values_in_masks_without_a_name_leave_samples_out_or_are_told_once() {
    let lab = Lab::new();
    let shape = [6, 5, 4];
    let mut csv = String::from("image,mask,patient,split\n");
    for i in 0..3 {
        lab.write(&format!("{i}.nii"), nifti(shape, &ramp(shape)));
        let mut mask = [0.0; 120];
        (mask[119], mask[i]) = (1.0, [0.0, 7.0, 255.0][i]);
        lab.write(&format!("m{i}.nii"), nifti(shape, &mask));
        csv += &format!("{i}.nii,m{i}.nii,p{i},train\n");
    }
    lab.write("classes.csv", "value,name\n1,liver\n");
    let manifest = lab.write("m.csv", csv);
    let reasons = [
        "m1.nii",
        "without a class: `7`",
        "m2.nii",
        "without a class: `255`",
    ];
    let run = check("manifest", &manifest, &["--pixels"]).expect(1);
    reasons
        .iter()
        .for_each(|reason| assert!(run.stdout.contains(reason), "{run:?}"));
    let run = lab.extract("manifest", &manifest, &[]).expect(1);
    reasons
        .iter()
        .for_each(|reason| assert!(run.stdout.contains(reason), "{run:?}"));
    assert_eq!(
        cache::CacheMeta::read(&lab.cache()).unwrap().skipped.len(),
        2
    );

    std::fs::remove_dir_all(lab.cache()).unwrap();
    let ignore = ["--unnamed-values", "ignore"];
    let told = "masks of 2 samples (`1`, `2`) contain values without a class; their pixels are ignored: `7`, `255`";
    says(
        &check(
            "manifest",
            &manifest,
            &[&ignore[..], &["--pixels"]].concat(),
        ),
        &[told],
    );
    let run = lab.extract("manifest", &manifest, &ignore).expect(0);
    let warning = format!("warning: {told}\n");
    assert_eq!(run.stderr.matches(&warning).count(), 1, "{run:?}");
    let meta = cache::CacheMeta::read(&lab.cache()).unwrap();
    assert_eq!(meta.ignored_mask_value, Some(u16::MAX));
}

#[test]
fn a_mask_that_lies_elsewhere_than_its_image_is_told() {
    let lab = Lab::new();
    let shape = [6, 5, 4];
    let affine = |x: f32| {
        [
            [2.0, 0.0, 0.0, x],
            [0.0, 2.0, 0.0, 0.0],
            [0.0, 0.0, 3.0, 0.0],
        ]
    };
    let mut csv = String::from("image,mask,split\n");
    for (i, x) in [0.0, 0.9, 7.5].into_iter().enumerate() {
        lab.write(
            &format!("{i}.nii"),
            nifti_at(shape, &ramp(shape), affine(0.0)),
        );
        lab.write(
            &format!("m{i}.nii"),
            nifti_at(shape, &[1.0; 120], affine(x)),
        );
        csv += &format!("{i}.nii,m{i}.nii,train\n");
    }
    lab.write("classes.csv", "value,name\n1,liver\n");
    let manifest = lab.write("m.csv", csv);
    let told = "masks of 1 sample (`2`) are up to 7.5 mm away from their images";
    says(&check("manifest", &manifest, &["--pixels"]), &[told]);
    let run = lab.extract("manifest", &manifest, &[]).expect(0);
    assert!(run.stderr.contains(told), "{run:?}");
}

#[test]
fn names_as_long_as_a_file_are_refused_at_once() {
    let lab = Lab::new();
    lab.png("a.png", 0, 0);
    let csv = lab.write(
        "m.csv",
        format!("image,label\na.png,{}\n", "x".repeat(16 << 20)),
    );
    let started = std::time::Instant::now();
    let run = check("manifest", &csv, &[]).expect_error(2, &["m.csv", "line 2", "1000 characters"]);
    assert!(started.elapsed().as_secs() < 10 && run.stderr.len() < 1000);
}

#[test]
fn a_manifest_of_missing_files_goes_on_if_it_may() {
    let lab = Lab::new();
    let manifest = lab.manifest(6);
    std::fs::remove_file(lab.path("images/0001.png")).unwrap();
    check("manifest", &manifest, &[])
        .expect_error(2, &["images.csv", "`images/0001.png`", "`--allow-missing`"]);
    let run = check("manifest", &manifest, &["--allow-missing"]);
    says(
        &run,
        &["5 samples of 5 files", "1 file missing (`images/0001.png`)"],
    );
}

#[test]
fn a_download_too_small_for_its_rule_is_described_all_the_same() {
    let lab = Lab::new();
    let rule = ["--split", "systematic:test=70,val=50"];
    let run = check("manifest", &lab.manifest(6), &rule).expect(1);
    says(
        &run,
        &[
            "6 samples",
            "split rule that cannot be applied",
            "at least 121",
        ],
    );
}

#[test]
fn what_cannot_be_opened_is_an_error() {
    let lab = Lab::new();
    check("manifest", &lab.path("nowhere"), &[]).expect_error(2, &["nowhere"]);
    let csv = lab.write("m.csv", "image\ngone.png\n");
    check("manifest", &csv, &[]).expect_error(2, &["m.csv", "`gone.png`"]);
}

#[test]
fn the_help_tells_of_commands_and_of_extracting() {
    let run = Run::of(program("extract").arg("--help")).expect(0);
    says(
        &run,
        &[
            "extract [OPTIONS] --dataset <NAME> <--model <NAME>|--onnx <FILE>>",
            "extract <COMMAND>",
        ],
    );
    says(&run, &["datasets", "split", "Examples:"]);
    let run = Run::of(&mut program("extract")).expect(2);
    assert!(run.stderr.contains("Usage:"), "{run:?}");
    let mut command = program("extract");
    let run = Run::of(command.env("SLICEBANK_CACHE", "x").arg("datasets")).expect(0);
    says(&run, &["manifest"]);
}
