//! `probe segment` and what its decoders predict.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cache::CacheMeta;
use serde_json::Value;

use crate::lab::{Lab, OBLIQUE, Run, nifti, nifti_at, program, python};

/// Width, height and number of slices.
const SHAPE: [i16; 3] = [16, 12, 4];

/// Twelve volumes with two structures, which move a little from volume to volume, in three splits.
fn volumes(lab: &Lab, more: &[&str]) -> Run {
    let mut csv = String::from("image,mask,patient,split\n");
    let mut state = 1_u32;
    for volume in 0..12_usize {
        let (mut image, mut mask) = (Vec::new(), Vec::new());
        for k in 0..4_usize {
            for y in 0..12_usize {
                for x in 0..16_usize {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let shift = (volume + k) % 2;
                    let first = x < 7 + shift && y < 6;
                    let second = x >= 8 && y >= 6 + shift;
                    let (value, label) = match (first, second) {
                        (true, _) => (120.0, 1.0),
                        (_, true) => (230.0, 2.0),
                        _ => (10.0, 0.0),
                    };
                    image.push(value + (state >> 28) as f32);
                    mask.push(label);
                }
            }
        }
        lab.write(&format!("images/{volume}.nii"), nifti(SHAPE, &image));
        lab.write(&format!("masks/{volume}.nii"), nifti(SHAPE, &mask));
        let split =
            ["train", "val", "test"][volume.saturating_sub(6) / 3 + usize::from(volume > 5)];
        csv += &format!("images/{volume}.nii,masks/{volume}.nii,p{volume},{split}\n");
    }
    lab.write("classes.csv", "value,name\n1,block\n2,slab\n");
    let table = lab.write("volumes.csv", csv);
    let tokens: &[&str] = if more.contains(&"--tokens") {
        &[]
    } else {
        &["--tokens", "all"]
    };
    lab.extract("manifest", &table, &[tokens, more].concat())
}

fn records(run: &Run) -> Vec<Value> {
    let lines = run.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

const QUICK: [&str; 8] = [
    "--epochs",
    "12",
    "--lr",
    "0.5,0.05",
    "--batch-size",
    "4",
    "--format",
    "json",
];

#[test]
fn decoders_learn_from_the_cache_alone_and_are_kept() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    std::fs::remove_dir_all(lab.path("images")).unwrap();
    for (decoder, least) in [("linear", 0.6), ("unet", 0.6)] {
        let words = [
            &QUICK[..],
            &["--decoder", decoder, "--protocol", "paper,strict"],
        ]
        .concat();
        let run = lab.probe_with("segment", &words).expect(0);
        let found = records(&run);
        let (paper, strict) = (&found[0], &found[1]);
        assert_eq!(
            (&paper["protocol"], &strict["protocol"]),
            (&"paper".into(), &"strict".into())
        );
        let dice = strict["metrics"]["dice_macro"].as_f64().unwrap();
        assert!(dice > least, "{strict}");
        assert!(paper["metrics"]["dice_pooled"].as_f64().unwrap() > least);
        assert_eq!(strict["metrics"]["volumes"], 3);
        assert!(strict["metrics"]["hd95_mm_macro"].as_f64().unwrap() < 12.0);
        assert!(
            strict["metrics"]["dice_per_class"]["slab"]
                .as_f64()
                .unwrap()
                > 0.3
        );
        assert!(strict["ci"]["dice_macro"][0].as_f64().unwrap() <= dice);
        assert_eq!(
            (&strict["n_train"], &strict["n_test"]),
            (&36.into(), &12.into())
        );
        assert_eq!(strict["params"]["augmentation"], "none");
        assert_eq!(strict["chosen_on"], "val");
        assert_eq!(paper["head"], strict["head"], "one training serves both");
        let head = lab.path("runs").join(strict["head"].as_str().unwrap());
        assert!(head.is_file() && head.with_extension("onnx").is_file());
        let training = std::fs::read_dir(lab.path("runs/training")).unwrap();
        assert_eq!(training.count(), 0, "nothing is left of the training");
        let again = lab.probe_with("segment", &words).expect(0);
        assert!(
            again.stderr.contains("is recorded already"),
            "{}",
            again.stderr
        );
        assert_eq!(records(&again), found);
        let forced = records(
            &lab.probe_with("segment", &[&words[..], &["--force"]].concat())
                .expect(0),
        );
        for (forced, first) in forced.iter().zip(&found) {
            assert_eq!(forced["metrics"], first["metrics"]);
        }
    }
    let text = lab.probe_with("segment", &QUICK[..6]).expect(0).stdout;
    assert!(text.contains("HD95 mm") && text.contains("slab"), "{text}");
}

/// Changes what the cache says of itself.
fn set_meta(lab: &Lab, change: impl FnOnce(&mut CacheMeta)) {
    let mut meta = CacheMeta::read(&lab.cache()).unwrap();
    change(&mut meta);
    let text = serde_json::to_string(&meta).unwrap();
    std::fs::write(lab.cache().join("meta.json"), text).unwrap();
}

/// Volumes that lie askew in the patient, at the backbone's own size, and a flat image.
fn askew(lab: &Lab) {
    let shape = [56, 56, 2];
    let mut csv = String::from("image,mask,split\n");
    for (volume, split) in ["train", "train", "val", "test"].iter().enumerate() {
        let inside = |x: usize, y: usize| x < 28 + volume && y > 14;
        let voxels = (0..2 * 56 * 56_usize).map(|at| (at % 56, at / 56 % 56));
        let image: Vec<f32> = voxels
            .clone()
            .map(|(x, y)| {
                if inside(x, y) {
                    200.0
                } else {
                    (x * y % 17) as f32
                }
            })
            .collect();
        let mask: Vec<f32> = voxels
            .map(|(x, y)| f32::from(u8::from(inside(x, y))))
            .collect();
        let files = [format!("v{volume}.nii"), format!("m{volume}.nii")];
        lab.write(&files[0], nifti_at(shape, &image, OBLIQUE));
        lab.write(&files[1], nifti_at(shape, &mask, OBLIQUE));
        csv += &format!("{},{},{split}\n", files[0], files[1]);
    }
    lab.png("flat.png", 0, 0);
    csv += "flat.png,,test\n";
    lab.write("classes.csv", "value,name\n1,block\n");
    let table = lab.write("askew.csv", csv);
    lab.extract("manifest", &table, &["--tokens", "all"])
        .expect(0);
}

#[test]
fn predicted_label_maps_are_those_of_the_onnx_file_and_lie_as_their_sources() {
    for (decoder, is_raw) in [("linear", false), ("unet", false), ("linear", true)] {
        let lab = Lab::new();
        askew(&lab);
        if is_raw {
            set_meta(&lab, |meta| meta.model.final_norm = Some(false));
        }
        let words = [
            &QUICK[..],
            &["--decoder", decoder, "--protocol", "paper,strict"],
        ]
        .concat();
        let both = records(&lab.probe_with("segment", &words).expect(0));
        // A LayerNorm is put on tokens that have been through none, as the study did.
        let trained = &both[usize::from(!is_raw)];
        assert_eq!(trained["params"]["layer_norm"], is_raw);
        assert_eq!(both[0]["head"] != both[1]["head"], is_raw);
        let head = lab.path("runs").join(trained["head"].as_str().unwrap());
        let words = [
            "--head",
            head.to_str().unwrap(),
            "--format",
            "json",
            "--eval",
            "test",
        ];
        let applied = records(&lab.probe_with("predict", &words).expect(0)).remove(0);
        if !is_raw {
            assert_eq!(
                applied["metrics"]["dice_macro"],
                trained["metrics"]["dice_macro"]
            );
        }
        assert_eq!(applied["params"]["files"], 2);
        let folder = PathBuf::from(applied["params"]["label_maps"].as_str().unwrap());
        let mut check = python("dev/check_decoder.py");
        check
            .arg(lab.cache())
            .arg(head.with_extension("onnx"))
            .arg(&folder);
        check.arg("--root").arg(lab.path(""));
        let run = Run::of(&mut check).expect(0);
        assert!(
            run.stdout.starts_with("2 label maps, 6272 pixels"),
            "{}",
            run.stdout
        );
        let overlays = std::fs::read_dir(lab.path("runs/overlays")).unwrap();
        let overlays = overlays.map(|entry| entry.unwrap().path()).next().unwrap();
        let mut names: Vec<_> = std::fs::read_dir(overlays)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(
            names[0].starts_with("best-") && names[0].ends_with(".png"),
            "{names:?}"
        );
    }
}

/// Kills a training when a phase of it has kept its state, and returns the state's file.
fn stopped(command: &mut Command, runs: &Path, phase: &str) -> PathBuf {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let state = || {
        let mut files = std::fs::read_dir(runs.join("training")).ok()?;
        let end = format!("-{phase}.safetensors");
        files.find_map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            (name.ends_with(&end) && !name.starts_with('.')).then(|| path.clone())
        })
    };
    let start = Instant::now();
    while state().is_none() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    state().expect("it was stopped in the middle")
}

#[test]
fn training_goes_on_after_a_stop_and_a_full_disk_and_comes_to_the_same() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    let long = [&QUICK[2..], &["--epochs", "40", "--decoder", "unet"]].concat();
    let single = ["--epochs", "40", "--decoder", "unet", "--lr", "0.05"];
    let single = [&single[..], &QUICK[4..]].concat();
    for (words, phase) in [(&long, "scan"), (&long, "training"), (&single, "training")] {
        let runs = lab.path(&format!("stopped-{phase}-{}", words.len()));
        let arguments = |command: &mut Command| {
            command.arg("segment").args(words).arg("--cache");
            command.arg(lab.path("cache")).arg("--runs").arg(&runs);
        };
        let mut command = program("probe");
        arguments(&mut command);
        let state = stopped(&mut command, &runs, phase);
        let before = std::fs::read(&state).unwrap();
        let mut limited = Command::new("sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "sh"]);
        limited.arg(program("probe").get_program());
        arguments(&mut limited);
        Run::of(&mut limited).expect_error(2, &["/training", "cannot write", "room", "--runs"]);
        assert_eq!(
            std::fs::read(&state).unwrap(),
            before,
            "the last good state stays"
        );
        let mut command = program("probe");
        arguments(&mut command);
        let resumed = Run::of(&mut command).expect(0);
        let told = format!("{phase}: goes on after epoch");
        assert!(resumed.stderr.contains(&told), "{}", resumed.stderr);
        let resumed = records(&resumed).remove(0);
        let whole = records(&lab.probe_with("segment", words).expect(0)).remove(0);
        assert_eq!(resumed["metrics"], whole["metrics"]);
        assert_eq!(resumed["params"], whole["params"]);
        assert_eq!(std::fs::read_dir(runs.join("training")).unwrap().count(), 0);
    }
}

#[test]
fn a_decoder_stays_until_another_takes_its_place() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    let record = records(&lab.probe_with("segment", &QUICK).expect(0)).remove(0);
    let head = lab.path("runs").join(record["head"].as_str().unwrap());
    let before = std::fs::read(&head).unwrap();
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"]);
    limited.arg(program("probe").get_program());
    limited.arg("segment").args(QUICK).arg("--force");
    limited.arg("--cache").arg(lab.path("cache"));
    limited.arg("--runs").arg(lab.path("runs"));
    Run::of(&mut limited).expect_error(2, &["cannot write", "room"]);
    assert_eq!(std::fs::read(&head).unwrap(), before);
    let maps = lab.path("runs/label_maps");
    let predict = ["--head", head.to_str().unwrap(), "--eval", "test"];
    lab.probe_with("predict", &predict).expect(0);
    std::fs::remove_dir_all(&maps).unwrap();
    lab.probe_with("predict", &predict).expect(0);
    assert!(maps.is_dir(), "label maps that are gone are made again");
    let known = lab.probe_with("predict", &predict).expect(0);
    assert!(
        known.stderr.contains("recorded already"),
        "{}",
        known.stderr
    );
    let by_patient = [&predict[..], &["--per-patient"]].concat();
    lab.probe_with("predict", &by_patient)
        .expect_error(2, &["by volume", "leave out --per-patient"]);
    let other = [&QUICK[..], &["--seed", "7"]].concat();
    let other = records(&lab.probe_with("segment", &other).expect(0)).remove(0);
    let other = lab.path("runs").join(other["head"].as_str().unwrap());
    std::fs::copy(other, &head).unwrap();
    let anew = lab.probe_with("predict", &predict).expect(0);
    assert!(!anew.stderr.contains("recorded already"), "{}", anew.stderr);
}

#[test]
fn a_batch_larger_than_the_dataset_is_all_of_it() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    let words = ["--epochs", "2", "--lr", "0.5", "--format", "json"];
    let of = |size: &str| {
        let words = [&words[..], &["--batch-size", size]].concat();
        records(&lab.probe_with("segment", &words).expect(0)).remove(0)["metrics"].clone()
    };
    assert_eq!(of("65536"), of("48"));
}

#[test]
fn masks_of_other_classes_are_not_measured() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    let record = records(&lab.probe_with("segment", &QUICK).expect(0)).remove(0);
    let head = lab.path("runs").join(record["head"].as_str().unwrap());
    lab.write("classes.csv", "value,name\n1,slab\n2,block\n");
    let table = lab.path("volumes.csv");
    let mut other = lab.extract_as("swapped", "manifest", &table);
    Run::of(other.args(["--tokens", "all"])).expect(0);
    let predict = ["--head", head.to_str().unwrap(), "--dataset", "swapped"];
    let words = [&predict[..], &["--format", "json"]].concat();
    for _ in 0..2 {
        let run = lab.probe_with("predict", &words).expect(0);
        let warning = "no masks of the decoder's classes: nothing measured";
        assert!(run.stderr.contains(warning), "{}", run.stderr);
        assert!(records(&run)[0]["metrics"].as_object().unwrap().is_empty());
    }
}

/// A third of each mask is said to be a value without a name: it is neither learnt from nor measured,
/// whether the cache says so or the option.
#[test]
fn ignored_pixels_count_for_nothing() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    for volume in 0..12 {
        let path = lab.path(&format!("masks/{volume}.nii"));
        let mut bytes = std::fs::read(&path).unwrap();
        for voxel in bytes[352..].chunks_exact_mut(4).step_by(3) {
            voxel.copy_from_slice(&9_f32.to_le_bytes());
        }
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::remove_dir_all(lab.path("cache")).unwrap();
    let ignore = ["--unnamed-values", "ignore"];
    let table = lab.path("volumes.csv");
    let tokens = ["--tokens", "all", ignore[0], ignore[1]];
    lab.extract("manifest", &table, &tokens).expect(0);
    let of = |run: &Run| {
        let record = records(run).remove(0);
        let pixels = &record["metrics"];
        (record["params"]["classes"].clone(), pixels.clone())
    };
    let known = of(&lab.probe_with("segment", &QUICK).expect(0));
    assert_eq!(known.0, serde_json::json!(["block", "slab"]));
    assert!(known.1["dice_macro"].as_f64().unwrap() > 0.6, "{known:?}");
    set_meta(&lab, |meta| meta.ignored_mask_value = None);
    lab.probe_with("segment", &QUICK)
        .expect_error(2, &["65535", "no class is named for", "--unnamed-values"]);
    let run = lab
        .probe_with("segment", &[&QUICK[..], &ignore].concat())
        .expect(0);
    assert!(
        run.stderr
            .contains("pixels without a name are ignored: 65535"),
        "{run:?}"
    );
    assert_eq!(of(&run), known);
    set_meta(&lab, |meta| meta.mask_classes.clear());
    let run = lab.probe_with("segment", &QUICK).expect(0);
    let told = "the values in the masks have no names: 3 structures (1, 2, 65535)";
    assert!(run.stderr.contains(told), "{run:?}");
}

#[test]
fn stored_views_are_learnt_from_and_patience_ends_a_training_that_gains_nothing() {
    let lab = Lab::new();
    volumes(&lab, &["--views", "1"]).expect(0);
    let hopeless = ["--lr", "1e-30,1e-31", "--epochs", "500", "--patience", "2"];
    let words = [&hopeless[..], &["--batch-size", "4", "--format", "json"]].concat();
    let record = records(&lab.probe_with("segment", &words).expect(0)).remove(0);
    assert_eq!(record["params"]["augmentation"], "1 stored view");
    assert_eq!(
        (&record["params"]["epochs"], &record["n_train"]),
        (&1.into(), &72.into())
    );
    assert_eq!(record["n_test"], 12, "views are not measured");
}

#[test]
fn few_volumes_are_drawn_as_the_protocol_says() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    let few = ["--shots", "1,2,all", "--repeats", "2"];
    let strict = records(
        &lab.probe_with("segment", &[&QUICK[..], &few].concat())
            .expect(0),
    );
    assert_eq!(strict.len(), 3);
    assert_eq!(
        (&strict[0]["n_train"], &strict[1]["n_train"]),
        (&4.into(), &8.into())
    );
    assert_eq!(
        strict[0]["spread"]["dice_macro"]["draws"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let paper = [&QUICK[..], &few[..2], &["--protocol", "paper"]].concat();
    let paper = records(&lab.probe_with("segment", &paper).expect(0));
    assert!(paper[0]["spread"].is_null());
    assert_eq!(paper[0]["chosen_on"], "test");
}

#[test]
fn what_cannot_be_segmented_is_refused() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(6), &["--tokens", "all"])
        .expect(0);
    lab.probe_with("segment", &QUICK)
        .expect_error(2, &["no masks", "--dataset"]);
    let lab = Lab::new();
    volumes(&lab, &["--tokens", "cls"]).expect(0);
    lab.probe_with("segment", &QUICK)
        .expect_error(2, &["patch", "--tokens all"]);
    let lab = Lab::new();
    volumes(&lab, &["--layers", "2"]).expect(0);
    lab.probe_with("segment", &[&QUICK[..], &["--decoder", "unet"]].concat())
        .expect_error(2, &["no layer 5", "--layers"]);
    let diverging = ["--epochs", "12", "--lr", "3e38,1e38", "--loss", "dice-ce"];
    lab.probe_with("segment", &diverging)
        .expect_error(2, &["NaN or infinite", "--lr"]);
    assert!(
        !lab.path("runs/segment.jsonl").exists(),
        "nothing is recorded"
    );
    lab.write("file", "");
    let mut command = program("probe");
    command.args(["segment", "--cache"]).arg(lab.path("cache"));
    command.args(QUICK).arg("--runs").arg(lab.path("file/runs"));
    Run::of(&mut command).expect_error(2, &["file/runs", "run records", "--runs"]);
}

/// An image of each split, whose mask has a square of this value.
fn squares(lab: &Lab, values: [(f32, &str); 3]) {
    let mut csv = String::from("image,mask,split\n");
    for (value, split) in values {
        let voxels = 0..56 * 56;
        let image: Vec<f32> = voxels.clone().map(|at| (at % 97) as f32).collect();
        let mask: Vec<f32> = voxels
            .map(|at| if at < 900 { value } else { 0.0 })
            .collect();
        lab.write(&format!("{split}.nii"), nifti([56, 56, 1], &image));
        lab.write(&format!("mask-{split}.nii"), nifti([56, 56, 1], &mask));
        csv += &format!("{split}.nii,mask-{split}.nii,{split}\n");
    }
    lab.write("classes.csv", "value,name\n1,block\n2,slab\n");
    let table = lab.write("one.csv", csv);
    lab.extract("manifest", &table, &["--tokens", "all"])
        .expect(0);
}

#[test]
fn a_class_of_which_nothing_can_be_learnt_is_named() {
    let lab = Lab::new();
    squares(&lab, [(1.0, "train"), (1.0, "val"), (2.0, "test")]);
    lab.probe_with("segment", &QUICK)
        .expect_error(2, &["no mask in `train`", "`slab`", "extract split"]);
    let few = [&QUICK[..], &["--shots", "1", "--repeats", "1"]].concat();
    let run = lab.probe_with("segment", &few).expect(0);
    assert!(
        run.stderr.contains("no slice of the draw has `slab`"),
        "{}",
        run.stderr
    );
}

#[test]
fn masks_without_anything_to_find_are_refused() {
    let lab = Lab::new();
    squares(&lab, [(1.0, "train"), (0.0, "val"), (1.0, "test")]);
    lab.probe_with("segment", &QUICK)
        .expect_error(2, &["`val`", "nothing but background", "extract split"]);
}

#[test]
fn without_val_decoders_are_chosen_on_a_part_of_train() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    let csv = std::fs::read_to_string(lab.path("volumes.csv")).unwrap();
    let table = lab.write("volumes.csv", csv.replace(",val\n", ",train\n"));
    let mut extract = lab.extract_as("two-parts", "manifest", &table);
    Run::of(extract.args(["--tokens", "all"])).expect(0);
    let of = ["--dataset", "two-parts", "--protocol", "paper,strict"];
    let run = lab
        .probe_with("segment", &[&QUICK[..], &of].concat())
        .expect(0);
    let [paper, strict] = &records(&run)[..] else {
        panic!("{run:#?}");
    };
    assert_eq!(paper["chosen_on"], "test");
    assert_eq!(
        (&strict["chosen_on"], &strict["n_train"]),
        (&"val".into(), &36.into())
    );
    let held_out = &strict["params"]["val_from_train"];
    assert_eq!(
        (&held_out["patients"], &held_out["of"]),
        (&2.into(), &9.into())
    );
    assert!(
        run.stderr
            .contains("no `val`: 2 patients of the 9 in `train`"),
        "{}",
        run.stderr
    );
}
