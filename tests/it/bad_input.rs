//! Bad input: an error that names the file and the mend, and a cache that tells.

use std::fs;
use std::process::Command;

use cache::{CacheMeta, CacheReader};

use crate::lab::{Lab, Run, gzip, nifti, project, ramp};

const SHAPE: [i16; 3] = [6, 5, 4];

/// Extracts one good image and `bad`; the good one arrives, and the run says what was skipped.
#[track_caller]
fn skips(lab: &Lab, bad: &str, words: &[&str]) {
    lab.png("good.png", 0, 0);
    let csv = lab.write("m.csv", format!("image\n{bad}\ngood.png\n"));
    lab.extract("manifest", &csv, &[])
        .expect_error(1, &[&[bad], words].concat());
    let reader = CacheReader::open(&lab.cache()).unwrap();
    let meta = reader.meta();
    assert_eq!((meta.rows, meta.skipped.len()), (1, 1));
    assert!(meta.skipped[0].reason.contains(bad));
    assert_eq!(reader.slices().unwrap()[0].image, "good.png");
}

#[test]
fn a_truncated_gzip_is_skipped() {
    let lab = Lab::new();
    let whole = gzip(&nifti(SHAPE, &ramp(SHAPE)));
    lab.write("ct.nii.gz", &whole[..whole.len() / 2]);
    skips(&lab, "ct.nii.gz", &["copy it again"]);
}

#[test]
fn a_png_with_a_wrong_crc_is_skipped() {
    let lab = Lab::new();
    let path = lab.png("bad.png", 0, 0);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    skips(&lab, "bad.png", &["copy it again"]);
}

#[test]
fn an_empty_file_is_skipped() {
    let lab = Lab::new();
    lab.write("empty.png", "");
    skips(&lab, "empty.png", &["empty"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_skipped() {
    let lab = Lab::new();
    let pipe = lab.path("pipe.png");
    Run::of(Command::new("mkfifo").arg(&pipe)).expect(0);
    skips(&lab, "pipe.png", &["not a regular file"]);
}

#[test]
fn a_header_that_lies_about_the_size_is_skipped() {
    let lab = Lab::new();
    lab.write("liar.nii", nifti([6, 5, 9999], &ramp(SHAPE)));
    skips(&lab, "liar.nii", &["the header says"]);
}

#[test]
fn bombs_of_zeros_are_skipped_by_their_size_before_memory_is_taken() {
    let lab = Lab::new();
    lab.png("good.png", 0, 0);
    let mut bomb = nifti([32_767, 32_767, 4], &[]);
    bomb.resize(64 << 20, 0);
    let bomb = gzip(&bomb);
    let mut csv = "image\n".to_owned();
    for k in 0..6 {
        lab.write(&format!("bomb{k}.nii.gz"), &bomb);
        csv += &format!("bomb{k}.nii.gz\n");
    }
    let csv = lab.write("m.csv", csv + "good.png\n");
    let run = lab.extract("manifest", &csv, &["--threads", "4", "--format", "json"]);
    let words = [
        "bomb5.nii.gz",
        "17178820624 bytes for voxels",
        "8589934592 bytes a sample",
        "split it",
    ];
    let run = run.expect_error(1, &words);
    let summary: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(summary["skipped"].as_array().unwrap().len(), 6);
    let held = summary["peak_rss_bytes"].as_u64().unwrap();
    assert!(held < 1 << 30, "{held}");
}

#[test]
fn a_header_that_hides_a_slice_is_skipped() {
    let lab = Lab::new();
    let shape = [20, 20, 4];
    let mut bytes = nifti(shape, &ramp(shape));
    bytes[46] = 3;
    lab.write("liar.nii", bytes);
    skips(&lab, "liar.nii", &["the header says"]);
}

#[test]
fn a_constant_image_is_skipped() {
    let lab = Lab::new();
    lab.write("flat.nii", nifti(SHAPE, &[7.0; 120]));
    skips(&lab, "flat.nii", &["all pixels are 7"]);
}

#[test]
fn nan_voxels_are_skipped_or_zeroed_on_request() {
    let lab = Lab::new();
    let mut voxels = ramp(SHAPE);
    voxels[100] = f32::NAN;
    lab.write("nan.nii", nifti(SHAPE, &voxels));
    skips(&lab, "nan.nii", &["slice 3", "--non-finite zero"]);
    fs::remove_dir_all(lab.path("cache")).unwrap();
    lab.extract("manifest", &lab.path("m.csv"), &["--non-finite", "zero"])
        .expect(0);
    assert_eq!(CacheReader::open(&lab.cache()).unwrap().meta().rows, 5);
}

#[test]
fn a_mask_of_another_shape_is_skipped() {
    let lab = Lab::new();
    lab.png("good.png", 0, 0);
    lab.write("ct.nii", nifti(SHAPE, &ramp(SHAPE)));
    lab.write("mask.nii", nifti([6, 5, 3], &ramp([6, 5, 3])));
    lab.write("classes.csv", "value,name\n1,liver\n");
    let csv = lab.write("m.csv", "image,mask\nct.nii,mask.nii\ngood.png,\n");
    lab.extract("manifest", &csv, &[])
        .expect_error(1, &["mask.nii", "nearest"]);
}

#[test]
fn when_nothing_can_be_read_there_is_no_whole_cache() {
    let lab = Lab::new();
    lab.write("empty.png", "");
    let csv = lab.write("m.csv", "image\nempty.png\n");
    lab.extract("manifest", &csv, &[])
        .expect_error(2, &["empty.png", "no sample of 1 could be read"]);
    assert!(CacheReader::open(&lab.cache()).is_err());
}

#[test]
fn a_manifest_without_its_column_is_an_error() {
    let lab = Lab::new();
    let csv = lab.write("m.csv", "picture,label\na.png,x\n");
    lab.extract("manifest", &csv, &[])
        .expect_error(2, &["m.csv", "`picture", "`image`"]);
}

#[test]
fn two_classes_of_one_name_are_an_error() {
    let lab = Lab::new();
    lab.write("ct.nii", nifti(SHAPE, &ramp(SHAPE)));
    lab.write("classes.csv", "value,name\n1,liver\n2,liver\n");
    let csv = lab.write("m.csv", "image,mask\nct.nii,ct.nii\n");
    lab.extract("manifest", &csv, &[])
        .expect_error(2, &["m.csv", "`liver`"]);
}

#[test]
fn a_file_repaired_before_the_run_goes_on_is_no_longer_skipped() {
    let lab = Lab::new();
    let manifest = lab.manifest(6);
    let (image, options) = (
        lab.path("images/0004.png"),
        ["--batch-size", "2", "--shard-rows", "4"],
    );
    let good = fs::read(&image).unwrap();
    fs::write(&image, vec![0; good.len()]).unwrap();
    lab.extract("manifest", &manifest, &options)
        .expect_error(1, &["0004.png"]);
    keep_one_shard(&lab);
    fs::write(&image, good).unwrap();
    lab.extract("manifest", &manifest, &options).expect(0);
    let meta = CacheMeta::read(&lab.cache()).unwrap();
    assert_eq!((meta.rows, meta.skipped.len()), (6, 0));
}

#[test]
fn a_volume_damaged_while_half_of_it_is_cached_stops_the_run() {
    let lab = Lab::new();
    let volume = nifti(SHAPE, &ramp(SHAPE));
    let image = lab.write("ct.nii", &volume);
    let csv = lab.write("m.csv", "image\nct.nii\n");
    let options = ["--batch-size", "2", "--shard-rows", "2"];
    lab.extract("manifest", &csv, &options).expect(0);
    keep_one_shard(&lab);
    fs::write(&image, vec![0; volume.len()]).unwrap();
    lab.extract("manifest", &csv, &options)
        .expect_error(2, &["ct.nii", "changed since the tokens were computed"]);
    let meta = CacheMeta::read(&lab.cache()).unwrap();
    assert!(!meta.complete && meta.skipped.is_empty());
}

/// Makes the cache what a stop after its first shard would have left.
fn keep_one_shard(lab: &Lab) {
    let meta = lab.cache().join("meta.json");
    let text = fs::read_to_string(&meta).unwrap();
    let mut unfinished: serde_json::Value = serde_json::from_str(&text).unwrap();
    unfinished["complete"] = false.into();
    unfinished["rows"] = unfinished["shards"][0]["rows"].clone();
    unfinished["shards"].as_array_mut().unwrap().truncate(1);
    fs::write(&meta, unfinished.to_string()).unwrap();
}

#[test]
fn a_missing_runtime_is_an_error_with_the_command_that_mends_it() {
    let lab = Lab::new();
    let manifest = lab.manifest(2);
    let mut command = lab.extract_command("manifest", &manifest);
    Run::of(command.env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so"))
        .expect_error(2, &["/nowhere", "scripts/install_onnxruntime"]);
    let library = lab.write("libonnxruntime.so", "no library");
    let mut command = lab.extract_command("manifest", &manifest);
    Run::of(command.env("ORT_DYLIB_PATH", &library))
        .expect_error(2, &["libonnxruntime.so", "scripts/install_onnxruntime"]);
}

/// The first call to an ONNX Runtime library, answered as version 1.20 would.
const OLD_RUNTIME: &str = r#"
#include <stdint.h>
static const void *api(uint32_t version) { (void)version; return 0; }
static const char *version(void) { return "1.20.0"; }
static const struct { const void *(*api)(uint32_t); const char *(*version)(void); } base = {api, version};
const void *OrtGetApiBase(void) { return &base; }
"#;

#[test]
fn a_runtime_that_is_too_old_is_an_error_with_both_versions() {
    let lab = Lab::new();
    let source = lab.write("old.c", OLD_RUNTIME);
    let library = lab.path("libonnxruntime.so.1.20.0");
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-o"]).arg(&library);
    Run::of(compile.arg(&source)).expect(0);
    let manifest = lab.manifest(2);
    let mut command = lab.extract_command("manifest", &manifest);
    let words = ["1.20.0", "1.24", "scripts/install_onnxruntime"];
    Run::of(command.env("ORT_DYLIB_PATH", &library)).expect_error(2, &words);
}

#[test]
fn a_full_disk_keeps_finished_shards_and_the_run_goes_on_later() {
    let lab = Lab::new();
    let manifest = lab.manifest(64);
    let shards = ["--tokens", "all", "--batch-size", "4", "--shard-rows", "32"];
    // A file that grows over 50 KiB fails as it would on a full disk.
    let mut limited = Command::new("sh");
    let extract = lab.extract_command("manifest", &manifest);
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "sh"])
        .arg(extract.get_program())
        .args(extract.get_args())
        .args(shards)
        .current_dir(project());
    Run::of(&mut limited).expect_error(2, &["patch/00000.parquet", "make room"]);
    assert!(!CacheMeta::read(&lab.cache()).unwrap().complete);
    lab.extract("manifest", &manifest, &shards).expect(0);
    CacheReader::open(&lab.cache()).unwrap().verify().unwrap();
}

#[test]
fn an_unwritable_folder_is_an_error() {
    let lab = Lab::new();
    lab.write("cache", "a file where the folder should be");
    lab.extract("manifest", &lab.manifest(2), &[])
        .expect_error(2, &["cache"]);
}
