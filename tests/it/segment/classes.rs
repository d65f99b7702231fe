//! Classes, ignored pixels, and caches that cannot be segmented.

use super::{QUICK, records, set_meta, volumes};
use crate::lab::{Lab, Run, nifti, program};

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
        .expect_error(2, &["65535", "without a class name", "--unnamed-values"]);
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
        .expect_error(2, &["`val`", "only background", "extract split"]);
}
