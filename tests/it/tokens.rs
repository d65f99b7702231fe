//! Kinds of tokens: the default by the dataset's task, and patch tokens for a finished cache.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cache::{CacheMeta, CacheReader, PatchDtype, Tokens};

use crate::lab::{Lab, Run, nifti, program, ramp, snapshot};

const SMALL_SHARDS: [&str; 4] = ["--batch-size", "2", "--shard-rows", "4"];

/// A table of `n` volumes of five slices with masks.
fn volumes(lab: &Lab, n: usize) -> std::path::PathBuf {
    let mut csv = String::from("image,mask,patient,split\n");
    for volume in 0..n {
        let (shape, name) = ([8, 8, 5], format!("{volume:03}.nii"));
        let voxels = ramp(shape);
        let shifted: Vec<f32> = voxels.iter().map(|v| v * (volume + 1) as f32).collect();
        let mask: Vec<f32> = voxels.iter().map(|v| f32::from(*v > 50.0)).collect();
        lab.write(&format!("images/{name}"), nifti(shape, &shifted));
        lab.write(&format!("masks/{name}"), nifti(shape, &mask));
        csv += &format!("images/{name},masks/{name},p{volume},train\n");
    }
    lab.write("classes.csv", "value,name\n1,bright\n");
    lab.write("volumes.csv", csv)
}

/// Compares the rows and values of two caches. Their files differ in the parity that was measured for the tokens of
/// each run.
fn assert_same(one: &Lab, other: &Lab) {
    let [one, other] = [one, other].map(|lab| CacheReader::open(&lab.cache()).unwrap());
    assert_eq!(one.slices().unwrap(), other.slices().unwrap());
    let meta = one.meta();
    assert_eq!(
        (meta.rows, meta.layers),
        (other.meta().rows, other.meta().layers)
    );
    assert_eq!(meta.has_pictures, other.meta().has_pictures);
    for layer in 1..=meta.layers {
        assert_eq!(one.cls(layer).unwrap(), other.cls(layer).unwrap());
        assert_eq!(one.mean(layer).unwrap(), other.mean(layer).unwrap());
        for shard in 0..meta.shards.len() {
            let [a, b] = [&one, &other].map(|reader| reader.patch(layer, shard).unwrap());
            assert_eq!(a, b);
        }
    }
    for shard in 0..meta.shards.len() {
        if meta.has_masks {
            let all = |reader: &CacheReader| -> Vec<_> {
                reader
                    .masks(shard)
                    .unwrap()
                    .flat_map(Result::unwrap)
                    .collect()
            };
            assert_eq!(all(&one), all(&other));
        }
        if meta.has_pictures {
            let all = |reader: &CacheReader| -> Vec<_> {
                reader
                    .pictures(shard)
                    .unwrap()
                    .flat_map(Result::unwrap)
                    .collect()
            };
            assert_eq!(all(&one), all(&other));
        }
    }
}

fn tokens(lab: &Lab) -> Tokens {
    CacheMeta::read(&lab.cache()).unwrap().tokens
}

#[test]
fn datasets_with_masks_keep_patch_tokens_and_the_size_is_said_before() {
    let lab = Lab::new();
    let run = lab.extract("manifest", &volumes(&lab, 3), &[]).expect(0);
    assert_eq!(tokens(&lab), Tokens::All);
    let told = "for 15 slices (by the headers of 3 volumes): slices ";
    assert!(run.stderr.contains(told), "{run:#?}");
    let (size, start) = (run.stderr.find(told), run.stderr.find("writing "));
    assert!(size < start && run.stderr.contains(" free\n"), "{run:#?}");
    let lab = Lab::new();
    let run = lab.extract("manifest", &lab.manifest(4), &[]).expect(0);
    assert_eq!(tokens(&lab), Tokens::Cls);
    assert!(run.stderr.contains("4 slices (counted)"), "{run:#?}");
}

#[test]
fn a_disk_that_cannot_hold_the_cache_stops_the_run_before_any_work() {
    let lab = Lab::new();
    // 30,000 slices a volume, of which no byte is on the disk.
    let header = nifti([64, 64, 30_000], &[]);
    let mut csv = String::from("image,mask\n");
    for volume in 0..40 {
        let path = lab.write(&format!("{volume}.nii"), &header);
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(352 + 4 * 64 * 64 * 30_000).unwrap();
        csv += &format!("{volume}.nii,{volume}.nii\n");
    }
    lab.write("classes.csv", "value,name\n1,bright\n");
    let table = lab.write("large.csv", csv);
    let mut command = program("extract");
    command.args(["--model", "dinov2-g14", "--name", "large"]);
    command.args(["--dataset", "manifest", "--root"]);
    command.arg(&table).arg("--cache").arg(lab.path("cache"));
    let words = [
        "1200000 slices",
        "4.82 TB more",
        " are free",
        "`--layers 1`",
        "`--tokens cls` (",
    ];
    let run = Run::of(&mut command).expect_error(2, &words);
    assert!(!run.stderr.contains("ownload"), "{run:#?}");
    assert!(!lab.path("cache").exists());
}

#[test]
fn a_finished_cache_is_extended_by_patch_tokens() {
    let (whole, lab) = (Lab::new(), Lab::new());
    let table = volumes(&lab, 3);
    whole
        .extract("manifest", &volumes(&whole, 3), &SMALL_SHARDS)
        .expect(0);
    let cls = [&SMALL_SHARDS[..], &["--tokens", "cls"]].concat();
    lab.extract("manifest", &table, &cls).expect(0);
    let before = snapshot(&lab.cache());
    let run = lab.extract("manifest", &table, &SMALL_SHARDS).expect(0);
    assert!(run.stderr.contains("runs again to add them"), "{run:#?}");
    let after = snapshot(&lab.cache());
    let is_kept = |file: &&(std::path::PathBuf, Vec<u8>)| !file.0.ends_with("meta.json");
    assert!(
        before
            .iter()
            .filter(is_kept)
            .all(|file| after.contains(file))
    );
    assert_same(&lab, &whole);
    CacheReader::open(&lab.cache()).unwrap().verify().unwrap();
    // What has patch tokens has CLS tokens too.
    let run = lab.extract("manifest", &table, &cls).expect(0);
    assert!(run.stderr.contains("already complete"), "{run:#?}");
}

#[test]
fn an_extension_goes_on_after_a_stop_and_the_cache_can_be_read_meanwhile() {
    let (whole, lab) = (Lab::new(), Lab::new());
    let table = lab.manifest(600);
    let all = [&SMALL_SHARDS[..], &["--tokens", "all"]].concat();
    whole
        .extract("manifest", &whole.manifest(600), &all)
        .expect(0);
    lab.extract("manifest", &table, &SMALL_SHARDS).expect(0);
    let before = snapshot(&lab.cache());
    let mut command = lab.extract_command("manifest", &table);
    kill_after(
        3,
        &lab,
        command.args(&all).stderr(Stdio::null()).spawn().unwrap(),
    );
    let extension = lab.cache().join("extension");
    let after = snapshot(&lab.cache());
    assert!(extension.is_dir() && before.iter().all(|file| after.contains(file)));
    CacheReader::open(&lab.cache()).unwrap().verify().unwrap();
    lab.probe(&["--k", "3"]).expect(0);
    lab.extract("manifest", &table, &all).expect(0);
    assert!(!extension.exists());
    assert_same(&lab, &whole);
}

fn kill_after(shards: usize, lab: &Lab, mut child: Child) {
    let (started, extension) = (Instant::now(), lab.cache().join("extension"));
    while CacheMeta::read(&extension).map_or(0, |meta| meta.shards.len()) < shards {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_cache_is_not_extended_with_other_images() {
    let lab = Lab::new();
    let table = lab.manifest(8);
    lab.extract("manifest", &table, &[]).expect(0);
    let before = snapshot(&lab.cache());
    let all = ["--tokens", "all"];
    // Of the same size, so that the list of samples is the same.
    let path = lab.path("images/0003.png");
    let (image, size) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().len());
    fs::write(&path, vec![0; size as usize]).unwrap();
    lab.extract("manifest", &table, &all)
        .expect_error(2, &["images/0003.png", "changed"]);
    fs::write(&path, image).unwrap();
    let other = ["--tokens", "all", "--resize", "bicubic-squash-crop"];
    lab.extract("manifest", &table, &other)
        .expect_error(2, &["preprocess.resize"]);
    let after = snapshot(&lab.cache());
    assert!(before.iter().all(|file| after.contains(file)));
    lab.extract("manifest", &table, &all).expect(0);
    assert_eq!(tokens(&lab), Tokens::All);
}

#[test]
fn patch_tokens_in_eight_bits_take_half_the_space_and_go_on_as_they_were_begun() {
    let lab = Lab::new();
    let table = volumes(&lab, 3);
    let int8 = [&SMALL_SHARDS[..], &["--token-dtype", "int8"]].concat();
    lab.extract("manifest", &table, &int8).expect(0);
    let meta = CacheMeta::read(&lab.cache()).unwrap();
    assert_eq!(meta.patch_dtype, PatchDtype::Int8);
    CacheReader::open(&lab.cache()).unwrap().verify().unwrap();
    // Neither the type nor the tokens need be given again.
    lab.extract("manifest", &table, &[]).expect(0);
    let f16 = ["--token-dtype", "f16"];
    lab.extract("manifest", &table, &f16)
        .expect_error(2, &["`patch_dtype`", "int8", "f16"]);
    let cls = ["--token-dtype", "int8", "--tokens", "cls"];
    Lab::new()
        .extract("manifest", &table, &cls)
        .expect_error(2, &["`--token-dtype int8` without patch tokens"]);
    // A cache without patch tokens gets them in eight bits.
    fs::remove_dir_all(lab.cache()).unwrap();
    let cls = [&SMALL_SHARDS[..], &["--tokens", "cls"]].concat();
    lab.extract("manifest", &table, &cls).expect(0);
    lab.extract("manifest", &table, &int8).expect(0);
    let whole = Lab::new();
    let table = volumes(&whole, 3);
    whole.extract("manifest", &table, &int8).expect(0);
    assert_same(&lab, &whole);
}
