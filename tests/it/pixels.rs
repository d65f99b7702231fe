//! `extract pixels`.

use std::fs;
use std::process::Command;

use crate::lab::{Lab, Run, changed_at, program, project};

fn pixels(lab: &Lab, root: &str, more: &[&str]) -> Command {
    let mut command = program("extract");
    command.arg("pixels").arg(lab.cache());
    command
        .args(["--dataset", "manifest", "--root"])
        .arg(lab.path(root));
    command.args(more);
    command
}

/// Runs the exported graph over pixels and compares the CLS tokens with those of the cache.
const COMPARE: &str = r"
import sys
import numpy as np, onnxruntime, slicebank
cache = slicebank.open(sys.argv[1])
pixels = np.load(sys.argv[2])
assert pixels.shape == (len(cache), 3, 56, 56) and pixels.dtype == np.float32, pixels.shape
session = onnxruntime.InferenceSession(sys.argv[3])
found = session.run(['cls_1'], {session.get_inputs()[0].name: pixels})[0]
cached = cache.tokens('cls').astype(np.float32)
print(np.abs(found - cached).max(), np.abs(cached).max())
assert np.abs(found - cached).max() <= 2e-3 * np.abs(cached).max()
";

#[test]
fn pixels_are_those_that_the_backbone_saw() {
    let lab = Lab::new();
    let manifest = lab.manifest(9);
    lab.extract(
        "manifest",
        &manifest,
        &["--views", "2", "--intensity", "percentile:1:99"],
    )
    .expect(0);
    let out = lab.path("pixels.npy");
    let run = Run::of(pixels(&lab, "images.csv", &["--out"]).arg(&out)).expect(0);
    assert!(run.stderr.contains("27 slices"), "{run:#?}");
    let mut python = Command::new(project().join(".venv-test/bin/python"));
    python.env("PYTHONPATH", project().join("python"));
    python.args(["-c", COMPARE]).arg(lab.cache()).arg(&out);
    // The graph without fused operators, which ONNX Runtime's Python package has.
    python.arg(project().join("onnx_models/tiny-vit@56.onnx"));
    Run::of(&mut python).expect(0);

    let whole = fs::read(&out).unwrap();
    let some = pixels(&lab, "images.csv", &["--rows", "2,5-6", "--out", "-"])
        .output()
        .unwrap();
    assert!(some.status.success(), "{some:?}");
    let frame = 3 * 56 * 56 * 4;
    let (start, head) = (whole.len() - 27 * frame, some.stdout.len() - 3 * frame);
    let of = |row: usize| &whole[start + row * frame..][..frame];
    assert_eq!(some.stdout[head..], [of(2), of(5), of(6)].concat());
}

#[test]
fn pixels_of_other_images_are_refused() {
    let lab = Lab::new();
    let manifest = lab.manifest(4);
    lab.extract("manifest", &manifest, &[]).expect(0);
    let to = lab.path("pixels.npy");
    let to = to.to_str().unwrap();
    let run = |more: &[&str]| Run::of(pixels(&lab, "images.csv", &["--out", to]).args(more));
    run(&["--rows", "3-9"]).expect_error(2, &["row 9", "4 rows"]);
    run(&["--rows", "3-1"]).expect(2);
    lab.png("images/0001.png", 1, 77);
    changed_at(&lab.path("images/0001.png"), 1_700_000_000);
    run(&[]).expect_error(2, &["1 source file changed", "images/0001.png"]);
    fs::remove_file(lab.path("images/0001.png")).unwrap();
    run(&[]).expect_error(2, &["images/0001.png"]);
    assert!(!lab.path("pixels.npy").exists());
}

#[test]
fn a_dataset_that_cannot_be_read_as_the_cache_names_it_says_what_to_give() {
    let lab = Lab::new();
    let manifest = lab.manifest(4);
    let run = |dataset: &str| {
        Run::of(&mut lab.extract_as(dataset, "manifest", &manifest)).expect(0);
        fs::rename(lab.path("images/0001.png"), lab.path("away.png")).unwrap();
        let mut command = program("extract");
        command
            .arg("pixels")
            .arg(lab.path(&format!("cache/{dataset}/tiny-vit@56")));
        let run = Run::of(command.arg("--root").arg(&manifest).args(["--out", "-"]));
        fs::rename(lab.path("away.png"), lab.path("images/0001.png")).unwrap();
        run
    };
    run("lungs").expect_error(2, &["`lungs`", "not built in", "`--dataset`"]);
    // Of a name that is built in, the error is that of the dataset.
    run("manifest").expect_error(2, &["images/0001.png", "`--allow-missing`"]);
}
