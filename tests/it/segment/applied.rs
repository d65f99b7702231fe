//! Files of decoders, and label maps that they predict for caches.

use std::path::PathBuf;
use std::process::Command;

use super::{QUICK, head_file, only_record, records, set_meta, volumes};
use crate::lab::{Lab, OBLIQUE, Run, nifti_at, program, python};

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
        let head = head_file(&lab, trained);
        let words = [
            "--head",
            head.to_str().unwrap(),
            "--format",
            "json",
            "--eval",
            "test",
        ];
        let applied = only_record(lab.probe_with("predict", &words));
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

#[test]
fn a_decoder_stays_until_another_takes_its_place() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    let record = only_record(lab.probe_with("segment", &QUICK));
    let head = head_file(&lab, &record);
    let before = std::fs::read(&head).unwrap();
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"]);
    limited.arg(program("probe").get_program());
    limited.arg("segment").args(QUICK).arg("--force");
    limited.arg("--cache").arg(lab.path("cache"));
    limited.arg("--runs").arg(lab.path("runs"));
    Run::of(&mut limited).expect_error(2, &["cannot write", "free space"]);
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
    let other = only_record(lab.probe_with("segment", &other));
    let other = head_file(&lab, &other);
    std::fs::copy(other, &head).unwrap();
    let anew = lab.probe_with("predict", &predict).expect(0);
    assert!(!anew.stderr.contains("recorded already"), "{}", anew.stderr);
}

#[test]
fn masks_of_other_classes_are_not_measured() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    let record = only_record(lab.probe_with("segment", &QUICK));
    let head = head_file(&lab, &record);
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
