//! `extract verify --repair`: damaged shards are extracted again, and the cache is as it was.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::{Lab, Run, program, snapshot};

const SMALL: [&str; 6] = ["--batch-size", "2", "--shard-rows", "4", "--tokens", "all"];

/// A cache of five shards, and the table of its images.
fn extracted() -> (Lab, PathBuf) {
    let lab = Lab::new();
    let table = lab.manifest(18);
    lab.extract("manifest", &table, &SMALL).expect(0);
    (lab, table)
}

fn repair(lab: &Lab, more: &[&str]) -> Run {
    let mut command = program("extract");
    command.args(["verify", "--repair"]).args(more);
    Run::of(command.arg("--cache").arg(lab.path("cache")))
}

fn repair_from(lab: &Lab, table: &Path) -> Run {
    repair(
        lab,
        &["--dataset", "manifest", "--root", table.to_str().unwrap()],
    )
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn damaged_shards_are_extracted_again_and_no_others() {
    let (lab, table) = extracted();
    let (cache, before) = (lab.cache(), snapshot(&lab.cache()));
    let time = |file: &str| fs::metadata(cache.join(file)).unwrap().modified().unwrap();
    let sound = ["cls/00002.parquet", "slices/00002.parquet", "meta.json"];
    let times = sound.map(time);
    flip(&cache.join("cls/00001.parquet"), 700);
    fs::write(cache.join("slices/00003.parquet"), "").unwrap();
    fs::remove_file(cache.join("patch/00004.parquet")).unwrap();
    flip(&cache.join("sources/00000.parquet"), 100);
    let run = repair_from(&lab, &table).expect(0);
    for word in [
        "cls/00001.parquet",
        "slices/00003",
        "4 shards repaired",
        "no fault in 18",
    ] {
        assert!(
            run.stdout.contains(word) || run.stderr.contains(word),
            "no `{word}` in {run:?}"
        );
    }
    assert!(snapshot(&cache) == before);
    assert_eq!(sound.map(time), times);
}

#[test]
fn the_first_and_the_last_shard_are_repaired_without_their_rows() {
    let (lab, table) = extracted();
    let before = snapshot(&lab.cache());
    for shard in ["00000", "00004"] {
        for folder in ["slices", "mean"] {
            fs::remove_file(lab.cache().join(folder).join(format!("{shard}.parquet"))).unwrap();
        }
    }
    repair_from(&lab, &table).expect(0);
    assert!(snapshot(&lab.cache()) == before);
}

#[test]
fn checksums_need_no_dataset_and_tokens_do() {
    let (lab, _) = extracted();
    let (cache, before) = (lab.cache(), snapshot(&lab.cache()));
    flip(&cache.join("checksums/cls/00001.crc32"), 1);
    fs::remove_file(cache.join("checksums/patch/00002.crc32")).unwrap();
    let run = repair(&lab, &[]).expect(0);
    assert!(
        run.stderr.contains("checksums of 2 shards restored"),
        "{run:?}"
    );
    assert!(snapshot(&cache) == before);

    flip(&cache.join("cls/00001.parquet"), 700);
    repair(&lab, &[]).expect_error(2, &["tiny-vit@56", "1 shard damaged", "--root"]);
    let root = lab.path("").to_str().unwrap().to_owned();
    repair(&lab, &["--root", &root]).expect_error(2, &["`images`", "--dataset"]);
}

#[test]
#[cfg(unix)]
fn links_are_named_and_not_repaired() {
    let (lab, _) = extracted();
    let (inside, outside) = (lab.cache().join("cls"), lab.path("moved"));
    fs::rename(&inside, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &inside).unwrap();
    flip(&lab.cache().join("patch/00001.parquet"), 700);
    let mut verify = program("extract");
    let run = Run::of(verify.args(["verify", "--cache"]).arg(lab.path("cache"))).expect(1);
    assert!(run.stdout.contains("a link"), "{run:?}");
    assert!(run.stdout.contains("patch/00001"), "{run:?}");
    assert!(run.stderr.contains("hint: delete links"), "{run:?}");
    assert!(!run.stderr.contains("--repair"), "{run:?}");
}

#[test]
fn what_cannot_be_as_it_was_replaces_nothing() {
    let (lab, table) = extracted();
    flip(&lab.cache().join("cls/00001.parquet"), 700);
    let damaged = snapshot(&lab.cache());
    // The size of the file tells that the samples are others; the content, that the tokens are.
    let image = lab.path("images/0005.png");
    let whole = fs::read(&image).unwrap();
    lab.png("images/0005.png", 1, 77);
    repair_from(&lab, &table).expect_error(2, &["other samples"]);
    let mut same_size = fs::read(&image).unwrap();
    fs::write(&image, &whole).unwrap();
    same_size.resize(whole.len(), 0);
    fs::write(&image, &same_size).unwrap();
    let run = repair_from(&lab, &table);
    assert_eq!(run.status, 2, "{run:?}");
    assert!(snapshot(&lab.cache()) == damaged);
    fs::write(&image, &whole).unwrap();
    repair_from(&lab, &table).expect(0);

    flip(&lab.cache().join("meta.json"), 40);
    let run = repair_from(&lab, &table).expect(1);
    assert!(run.stdout.contains("meta.json"), "{run:?}");
}
