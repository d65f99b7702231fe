//! The files that a cache was extracted from: recorded, compared by later runs and by `verify --sources`.

use std::fs;
use std::path::{Path, PathBuf};

use cache::{CacheMeta, ShardSources, SourceFile};

use crate::lab::{Lab, Run, changed_at, nifti, program, ramp, unfinished};

const SHAPE: [i16; 3] = [20, 16, 2];

/// A manifest of three volumes, one of them a pair of files, and one with a mask.
fn volumes(lab: &Lab) -> PathBuf {
    let volume = nifti(SHAPE, &ramp(SHAPE));
    lab.write("scans/a.nii", &volume);
    lab.write("scans/b.nii", &volume);
    let mask: Vec<f32> = ramp(SHAPE).iter().map(|v| f32::from(*v > 50.0)).collect();
    lab.write("scans/b-mask.nii", nifti(SHAPE, &mask));
    let mut header = volume.clone();
    header[108..112].fill(0);
    header[344..348].copy_from_slice(b"ni1\0");
    lab.write("scans/c.hdr", &header[..348]);
    lab.write("scans/c.img", &volume[352..]);
    lab.write(
        "scans/list.csv",
        "image,mask,label\na.nii,,x\nb.nii,b-mask.nii,y\nc.hdr,,x\n",
    )
}

fn records(cache: &Path) -> Vec<SourceFile> {
    let meta = CacheMeta::read(cache).unwrap();
    let shards = 0..meta.shards.len();
    let files = shards.map(|shard| ShardSources::read(cache, &meta, shard).unwrap().files);
    files.flatten().collect()
}

/// Replaces a volume by another one of the same size.
fn replace(lab: &Lab) -> PathBuf {
    let voxels: Vec<f32> = ramp(SHAPE).iter().map(|value| value * 2.0).collect();
    lab.write("scans/a.nii", nifti(SHAPE, &voxels))
}

fn verify(lab: &Lab, more: &[&str], root: &Path) -> Run {
    let mut command = program("extract");
    command
        .args(["verify", "--sources"])
        .args(more)
        .arg("--root");
    command.arg(root).arg("--cache").arg(lab.path("cache"));
    Run::of(&mut command)
}

#[test]
fn every_file_is_recorded_once_with_size_time_and_hash() {
    let lab = Lab::new();
    let small = ["--batch-size", "1", "--shard-rows", "1"];
    lab.extract("manifest", &volumes(&lab), &small).expect(0);
    let found = records(&lab.cache());
    let paths: Vec<&str> = found.iter().map(|file| &*file.path).collect();
    assert_eq!(paths, ["a.nii", "b.nii", "b-mask.nii", "c.hdr", "c.img"]);
    for file in &found {
        let path = lab.path("scans").join(&file.path);
        assert_eq!(file.sha256, common::sha256_file(&path).unwrap());
        assert_eq!(file.bytes, fs::metadata(&path).unwrap().len());
        assert_eq!(file.modified_ns, Some(1_600_000_000_000_000_000));
    }
    let text = fs::read_to_string(lab.cache().join("meta.json")).unwrap();
    assert!(!text.contains(lab.path("").to_str().unwrap()), "{text}");
}

#[test]
fn a_replaced_file_of_the_same_size_stops_the_next_run() {
    let lab = Lab::new();
    let list = volumes(&lab);
    lab.extract("manifest", &list, &[]).expect(0);
    changed_at(&lab.path("scans/a.nii"), 1_700_000_000);
    let run = lab.extract("manifest", &list, &[]).expect(0);
    assert!(run.stderr.contains("already complete"), "{run:?}");

    let file = replace(&lab);
    changed_at(&file, 1_700_000_000);
    let words = [
        "tiny-vit@56",
        "1 source file changed",
        "`a.nii`",
        "extract rm",
    ];
    lab.extract("manifest", &list, &[]).expect_error(2, &words);
    unfinished(&lab.cache());
    lab.extract("manifest", &list, &[]).expect_error(2, &words);
    volumes(&lab);
    lab.extract("manifest", &list, &[]).expect(0);
}

#[test]
fn the_time_of_a_file_that_changed_while_it_was_extracted_is_no_proof() {
    let lab = Lab::new();
    let list = volumes(&lab);
    let later = 4_000_000_000;
    changed_at(&lab.path("scans/a.nii"), later);
    lab.extract("manifest", &list, &[]).expect(0);
    lab.extract("manifest", &list, &[]).expect(0);
    let file = replace(&lab);
    changed_at(&file, later);
    lab.extract("manifest", &list, &[])
        .expect_error(2, &["1 source file changed", "`a.nii`"]);
}

#[test]
fn verify_compares_all_sources_wherever_they_lie_now() {
    let lab = Lab::new();
    lab.extract("manifest", &volumes(&lab), &[]).expect(0);
    for root in ["scans", ""] {
        let run = verify(&lab, &[], &lab.path(root)).expect(0);
        assert!(run.stdout.contains("5 source files"), "{run:?}");
    }
    // Neither size nor time tell.
    replace(&lab);
    fs::remove_file(lab.path("scans/c.img")).unwrap();
    fs::write(lab.path("scans/b.nii"), "").unwrap();
    let run = verify(&lab, &["--quick"], &lab.path("scans")).expect(1);
    let lines: Vec<&str> = run.stdout.lines().collect();
    let words = [
        ("a.nii", "another content"),
        ("b.nii", "0 bytes, 2912 when"),
        ("c.img", "missing"),
    ];
    assert_eq!(lines.len(), words.len(), "{run:?}");
    for (line, (file, word)) in lines.iter().zip(words) {
        assert!(line.contains(file) && line.contains(word), "{run:?}");
    }
    verify(&lab, &[], &lab.path("nowhere")).expect_error(2, &["nowhere", "--root"]);
}

#[test]
fn another_copy_below_the_folder_hides_no_fault() {
    let lab = Lab::new();
    for options in [&[][..], &["--mask-paths"]] {
        let list = volumes(&lab);
        let mut command = lab.extract_as("images", "manifest", &list);
        Run::of(command.args(options)).expect(0);
        for file in ["a.nii", "b.nii", "b-mask.nii", "c.hdr", "c.img"] {
            let bytes = fs::read(lab.path("scans").join(file)).unwrap();
            lab.write(&format!("scans/old/{file}"), bytes);
        }
        fs::remove_file(lab.path("scans/a.nii")).unwrap();
        let run = verify(&lab, &[], &lab.path("scans")).expect(1);
        assert!(run.stdout.contains("missing"), "{run:?}");
        let run = verify(&lab, &[], &lab.path("scans/old")).expect(0);
        assert!(run.stdout.contains("5 source files in `"), "{run:?}");
        assert!(run.stdout.contains("scans/old`"), "{run:?}");
        verify(&lab, &[], &lab.path(""))
            .expect_error(2, &["in 2 folders", "scans", "scans/old", "`--root`"]);
        fs::remove_dir_all(lab.path("scans")).unwrap();
        fs::remove_dir_all(lab.path("cache")).unwrap();
    }
}

#[test]
fn lost_checksums_and_splits_are_a_fault() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(6), &[]).expect(0);
    let rule = ["--name", "new", "--rule", "random:0.5:0:0.5"];
    Run::of(lab.split("images").args(rule)).expect(0);
    for (file, named) in [
        ("checksums/sources/00000.crc32", "sources/00000.parquet"),
        ("checksums/splits/new.crc32", "splits/new.parquet"),
        ("splits/new.parquet", "checksums/splits/new.crc32"),
    ] {
        let path = lab.cache().join(file);
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let mut command = program("extract");
        let run = Run::of(
            command
                .args(["verify", "--quick", "--cache"])
                .arg(lab.path("cache")),
        );
        let run = run.expect(1);
        assert!(
            run.stdout.contains(named) && run.stdout.contains("missing"),
            "{run:?}"
        );
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn hashed_paths_are_understood_by_those_who_have_the_key() {
    let lab = Lab::new();
    let list = volumes(&lab);
    lab.extract("manifest", &list, &["--mask-paths"]).expect(0);
    let found = records(&lab.cache());
    assert!(
        found.iter().all(|file| !file.path.contains(".nii")),
        "{found:?}"
    );
    let run = verify(&lab, &[], &lab.path("")).expect(0);
    assert!(run.stdout.contains("5 source files"), "{run:?}");
    let file = replace(&lab);
    let run = verify(&lab, &[], &lab.path("scans")).expect(1);
    assert!(run.stdout.contains("a.nii"), "{run:?}");
    changed_at(&file, 1_700_000_000);
    lab.extract("manifest", &list, &["--mask-paths"])
        .expect_error(2, &["1 source file changed"]);
}

#[test]
fn names_that_another_key_has_hashed_are_told_from_missing_files() {
    let lab = Lab::new();
    lab.extract("manifest", &volumes(&lab), &["--mask-paths"])
        .expect(0);
    let key = lab.path("other.key");
    for root in ["scans", ""] {
        let mut command = program("extract");
        command
            .args(["verify", "--sources", "--root"])
            .arg(lab.path(root));
        command.arg("--cache").arg(lab.path("cache"));
        // One that is not there, and then another one.
        let run = Run::of(command.env("SLICEBANK_ID_KEY", &key)).expect(1);
        assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
        for words in ["none of 5 source files", "another key", "SLICEBANK_ID_KEY"] {
            assert!(run.stdout.contains(words), "no {words} in {run:?}");
        }
        let mut command = lab.extract_as("other", "manifest", &lab.path("scans/list.csv"));
        command.args(["--mask-paths", "--limit", "1"]);
        Run::of(command.env("SLICEBANK_ID_KEY", &key)).expect(0);
        fs::remove_dir_all(lab.path("cache/other")).unwrap();
    }
}

#[test]
fn damaged_records_are_a_fault_and_caches_without_records_are_told_of() {
    let lab = Lab::new();
    let list = volumes(&lab);
    lab.extract("manifest", &list, &[]).expect(0);
    let path = lab.cache().join("sources/00000.parquet");
    let whole = fs::read(&path).unwrap();
    for at in [0, whole.len() / 2, whole.len() - 9] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let run = verify(&lab, &[], &lab.path("scans")).expect(1);
        assert!(run.stdout.contains("sources/00000.parquet"), "{run:?}");
    }
    fs::remove_file(&path).unwrap();
    let run = verify(&lab, &[], &lab.path("scans")).expect(1);
    assert!(run.stdout.contains("sources/00000.parquet"), "{run:?}");

    let meta = lab.cache().join("meta.json");
    let text = fs::read_to_string(&meta).unwrap();
    let (text, _) = text.rsplit_once(",\n  \"sha256\"").unwrap();
    let lines = text.lines().filter(|line| !line.contains("sources_sha256"));
    let text = lines
        .collect::<Vec<_>>()
        .join("\n")
        .replace("},\n    }", "}\n    }");
    fs::write(&meta, text + "\n}\n").unwrap();
    let run = verify(&lab, &["--quick"], &lab.path("scans")).expect(1);
    assert!(
        run.stdout.contains("no source files are recorded"),
        "{run:?}"
    );
    lab.extract("manifest", &list, &[]).expect(0);
}
