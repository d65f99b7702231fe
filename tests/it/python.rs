//! A cache is open: the readers of a notebook user agree on it.

use std::path::{Path, PathBuf};

use crate::lab::{Lab, Run, gzip, nifti, program, project, python, ramp};

#[test]
fn polars_pyarrow_and_duckdb_read_every_column() {
    let lab = Lab::new();
    let shape = [6, 5, 4];
    lab.write("ct.nii.gz", gzip(&nifti(shape, &ramp(shape))));
    lab.write("mask.nii", nifti(shape, &vec![1.0; 6 * 5 * 4]));
    lab.write("classes.csv", "value,name\n1,liver\n2,spleen\n");
    lab.png("a.png", 0, 0);
    let csv = "id,image,mask,patient,split\n1,ct.nii.gz,mask.nii,p,train\n2,a.png,,,\n";
    let options = ["--tokens", "all", "--shard-rows", "2", "--batch-size", "2"];
    lab.extract("manifest", &lab.write("m.csv", csv), &options)
        .expect(0);
    Run::of(python("open_cache.py").arg(lab.cache())).expect(0);
}

#[test]
fn tokens_of_a_real_ct_equal_an_independent_computation() {
    let lab = Lab::new();
    let (root, model) = (sample(), project().join("onnx_models/dinov2-s14@224.onnx"));
    let mut extract = program("extract");
    extract
        .args(["--model", "dinov2-s14", "--dataset", "manifest", "--root"])
        .arg(&root)
        .args(["--intensity", "window:-1024:600", "--limit", "1"])
        .args(["--tokens", "all", "--cache"])
        .arg(lab.path("cache"));
    Run::of(&mut extract).expect(0);
    let cache = lab.path("cache/chest-ct/dinov2-s14@224");
    let mut check = python("check_tokens.py");
    check.arg(&cache).arg(&root).arg(&model);
    check.args(["--count", "3"]);
    Run::of(&mut check).expect(0);
    Run::of(python("open_cache.py").arg(&cache)).expect(0);
}

fn sample() -> PathBuf {
    let root = project().join("data/chest-ct");
    let what = "data/chest-ct is missing: run the tests with `scripts/test`, which gets it";
    assert!(Path::new(&root).join("manifest.csv").is_file(), "{what}");
    root
}
