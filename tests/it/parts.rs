//! `--shard I/N`: parts of a dataset on several machines.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cache::{CacheMeta, CacheReader};

use crate::lab::{Lab, Run, gzip, nifti, program, ramp, snapshot};

const SMALL: [&str; 4] = ["--batch-size", "4", "--shard-rows", "8"];

fn shard(lab: &Lab, table: &Path, part: &str) -> Command {
    let mut command = lab.extract_command("manifest", table);
    command.args(SMALL).args(["--shard", part]);
    command
}

fn part(lab: &Lab, table: &Path, part: &str) -> Run {
    Run::of(&mut shard(lab, table, part))
}

/// Runs a command of `extract` or `probe` over the lab's folder of caches.
fn over(lab: &Lab, name: &str, words: &[&str]) -> Run {
    let mut command = program(name);
    Run::of(command.args(words).arg("--cache").arg(lab.path("cache")))
}

#[test]
fn eight_parts_at_once_are_the_cache_of_one_run() {
    let (one, parts) = (Lab::new(), Lab::new());
    let broken = |lab: &Lab| {
        let table = lab.manifest(45);
        lab.write("images/0017.png", "no image");
        table
    };
    one.extract("manifest", &broken(&one), &SMALL).expect(1);
    let table = broken(&parts);
    let started: Vec<Child> = (1..=8)
        .map(|index| {
            let mut command = shard(&parts, &table, &format!("{index}/8"));
            command
                .stderr(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in started {
        // 1 of the part with the broken image, and of the one that joins all.
        assert!(matches!(child.wait().unwrap().code(), Some(0 | 1)));
    }
    assert!(snapshot(&one.cache()) == snapshot(&parts.cache()));
    CacheReader::open(&parts.cache()).unwrap().verify().unwrap();
    // A task that is started again finds the whole, and computes nothing.
    let again = part(&parts, &table, "3/8").expect(1);
    assert!(again.stderr.contains("already complete"), "{again:?}");
}

#[test]
fn volumes_with_masks_are_cut_between_samples() {
    let (one, parts) = (Lab::new(), Lab::new());
    let options = [
        "--tokens",
        "all",
        "--layers",
        "2",
        "--batch-size",
        "3",
        "--shard-rows",
        "6",
    ];
    let volumes = |lab: &Lab| {
        let mut csv = String::from("image,mask,split\n");
        for (number, slices) in [5, 2, 9, 1, 4].into_iter().enumerate() {
            let shape = [6, 5, slices];
            let mask: Vec<f32> = ramp(shape).iter().map(|v| (v % 3.0).floor()).collect();
            lab.write(
                &format!("{number}.nii.gz"),
                gzip(&nifti(shape, &ramp(shape))),
            );
            lab.write(&format!("{number}m.nii.gz"), gzip(&nifti(shape, &mask)));
            csv += &format!("{number}.nii.gz,{number}m.nii.gz,train\n");
        }
        lab.write("classes.csv", "value,name\n1,liver\n2,spleen\n");
        lab.write("m.csv", csv)
    };
    one.extract("manifest", &volumes(&one), &options).expect(0);
    let table = volumes(&parts);
    for index in ["3/3", "1/3", "2/3"] {
        let words = [&options[..], &["--shard", index]].concat();
        let run = parts.extract("manifest", &table, &words).expect(0);
        let (said, is_last) = (&run.stderr, index == "2/3");
        assert_eq!(
            said.contains("all 3 parts are done: joining them"),
            is_last,
            "{said}"
        );
    }
    assert!(snapshot(&one.cache()) == snapshot(&parts.cache()));
}

#[test]
fn unfinished_parts_are_named_by_every_command() {
    let lab = Lab::new();
    let table = lab.manifest(24);
    for index in ["1/4", "2/4", "4/4"] {
        part(&lab, &table, index).expect(0);
    }
    let said = part(&lab, &table, "4/4").expect(0).stderr;
    assert!(said.contains("3 of 4 parts are done; missing: 3"), "{said}");
    let list = over(&lab, "extract", &["ls"]).expect(0).stdout;
    assert!(list.contains("3 of 4 parts, missing: 3"), "{list}");
    assert_eq!(
        over(&lab, "probe", &["ls"])
            .expect(0)
            .stdout
            .matches("missing: 3")
            .count(),
        1
    );
    let words = ["3 of 4 parts are done; missing: 3"];
    over(&lab, "extract", &["show", "images/tiny-vit@56"]).expect_error(2, &words);
    let before = snapshot(&lab.path("cache"));
    lab.extract("manifest", &table, &SMALL)
        .expect_error(2, &[words[0], "--shard", "delete `parts`"]);
    assert!(before == snapshot(&lab.path("cache")));
    let gc = over(&lab, "extract", &["gc", "images/tiny-vit@56"]).expect(0);
    assert!(gc.stdout.contains("nothing to delete"), "{gc:?}");
    over(&lab, "extract", &["merge", "images/tiny-vit@56"]).expect_error(2, &words);
    lab.probe(&[]).expect_error(2, &words);
    let verify = over(&lab, "extract", &["verify"]).expect(1).stdout;
    assert!(verify.contains("missing: 3"), "{verify}");
    // The last part is done, but what joins all is stopped: the whole is locked.
    let lock = File::create(lab.cache().join(".lock")).unwrap();
    lock.lock().unwrap();
    let run = part(&lab, &table, "3/4").expect(0);
    assert!(
        run.stderr.contains("another process joins the parts"),
        "{run:?}"
    );
    drop(lock);
    let words = ["4 of 4 parts are done, but not joined", "extract merge"];
    lab.probe(&[]).expect_error(2, &words);
    lab.extract("manifest", &table, &SMALL)
        .expect_error(2, &words);
    let first = snapshot(&cache::part_dir(&lab.cache(), 1, 4));
    let merged = over(&lab, "extract", &["merge", "images/tiny-vit@56"]).expect(0);
    assert!(
        merged.stdout.contains("24 slices of 24 samples"),
        "{merged:?}"
    );
    lab.probe(&["--k", "3"]).expect(0);
    assert!(!lab.cache().join("parts").exists());
    // A merge that is stopped before it has deleted all parts leaves some.
    for (file, bytes) in first {
        let path = format!("cache/images/tiny-vit@56/parts/1-of-4/{}", file.display());
        lab.write(&path, bytes);
    }
    let gc = over(&lab, "extract", &["gc", "images/tiny-vit@56"]).expect(0);
    assert!(gc.stdout.contains("parts are left"), "{gc:?}");
    let list = over(&lab, "extract", &["ls"]).expect(0).stdout;
    assert!(list.contains("complete, parts not deleted"), "{list}");
    over(&lab, "extract", &["merge", "images/tiny-vit@56"]).expect(0);
    assert!(!lab.cache().join("parts").exists());
}

#[test]
fn a_killed_part_goes_on_beside_the_others() {
    let (one, parts) = (Lab::new(), Lab::new());
    one.extract("manifest", &one.manifest(300), &SMALL)
        .expect(0);
    let table = parts.manifest(300);
    let mut child = shard(&parts, &table, "1/2")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let dir = cache::part_dir(&parts.cache(), 1, 2);
    while CacheMeta::read(&dir).map_or(0, |meta| meta.shards.len()) < 2 {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    // A second process for the same part does no harm.
    let second = shard(&parts, &table, "1/2").args(["--wait", "0"]).output();
    assert_eq!(second.unwrap().status.code(), Some(2));
    child.kill().unwrap();
    child.wait().unwrap();
    part(&parts, &table, "2/2").expect(0);
    part(&parts, &table, "1/2").expect(0);
    assert!(snapshot(&one.cache()) == snapshot(&parts.cache()));
}

#[test]
fn a_part_beside_an_unfinished_run_over_all_samples_is_refused() {
    let lab = Lab::new();
    let table = lab.manifest(300);
    let mut command = lab.extract_command("manifest", &table);
    let mut child = command.args(SMALL).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while CacheMeta::read(&lab.cache()).map_or(0, |meta| meta.rows) == 0 {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    part(&lab, &table, "1/2").expect_error(2, &["a run without `--shard` was begun"]);
    lab.extract("manifest", &table, &SMALL).expect(0);
}

#[test]
fn a_damaged_part_is_extracted_again_alone() {
    let (one, parts) = (Lab::new(), Lab::new());
    one.extract("manifest", &one.manifest(18), &SMALL).expect(0);
    let table = parts.manifest(18);
    part(&parts, &table, "1/2").expect(0);
    let dir = cache::part_dir(&parts.cache(), 1, 2);
    let shard = dir.join("cls/00000.parquet");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[700] ^= 4;
    fs::write(&shard, bytes).unwrap();
    let words = ["1-of-2", "extract that part again", "--shard 1/2"];
    part(&parts, &table, "2/2").expect_error(2, &words);
    let name = dir.to_str().unwrap();
    over(&parts, "extract", &["verify", name, "--repair"])
        .expect_error(2, &["parts of a cache cannot be repaired", "--shard 1/2"]);
    fs::remove_dir_all(&dir).unwrap();
    part(&parts, &table, "1/2").expect(0);
    assert!(snapshot(&one.cache()) == snapshot(&parts.cache()));
}

#[test]
fn parts_of_other_runs_and_wrong_numbers_are_refused() {
    let lab = Lab::new();
    let table = lab.manifest(12);
    part(&lab, &table, "1/3").expect(0);
    let refused = |words: &[&str], expected: &[&str]| {
        let run = Run::of(
            lab.extract_command("manifest", &table)
                .args(SMALL)
                .args(words),
        );
        run.expect_error(2, expected);
    };
    refused(
        &["--shard", "2/4"],
        &["`part.of`: the cache has 3, this run has 4", "--cache"],
    );
    let other = ["--shard", "2/3", "--intensity", "window:0:100"];
    refused(&other, &["1-of-3", "preprocess.intensity"]);
    refused(
        &["--shard", "2/3", "--limit", "6"],
        &["1-of-3", "other samples"],
    );
    refused(&["--shard", "1/13"], &["the dataset has 12 samples"]);
    refused(&["--shard", "auto"], &["outside of a Slurm array"]);
    let run = part(&lab, &table, "4/3").expect(2);
    assert!(run.stderr.contains("`4/3` is not a part"), "{run:?}");
    for (variable, value) in [("JOB_COMPLETION_INDEX", "1"), ("SLURM_ARRAY_TASK_ID", "3")] {
        let run = Run::of(shard(&lab, &table, "auto/3").env(variable, value)).expect(0);
        assert_eq!(run.stderr.contains("joining"), value == "3", "{run:?}");
    }
    assert!(fs::exists(lab.cache().join("meta.json")).unwrap());
}

#[test]
fn a_part_that_has_just_started_stops_a_run_over_all_samples() {
    let lab = Lab::new();
    let table = lab.manifest(12);
    fs::create_dir_all(cache::part_dir(&lab.cache(), 2, 3)).unwrap();
    lab.extract("manifest", &table, &SMALL)
        .expect_error(2, &["0 of 3 parts are done", "delete `parts`"]);
    // It stops no part, also of another number of parts.
    part(&lab, &table, "1/2").expect(0);
    let run = part(&lab, &table, "2/2").expect(0);
    assert!(run.stderr.contains("joining"), "{run:?}");
    assert!(!lab.cache().join("parts").exists());
}

#[test]
fn patch_tokens_are_not_added_in_parts() {
    let lab = Lab::new();
    let table = lab.manifest(12);
    let all = |part: &str| Run::of(shard(&lab, &table, part).args(["--tokens", "all"]));
    let words = ["cannot be added in parts", "without `--shard`"];
    part(&lab, &table, "1/2").expect(0);
    all("1/2").expect_error(2, &words);
    all("2/2").expect_error(2, &words);
    part(&lab, &table, "2/2").expect(0);
    all("1/2").expect_error(2, &words);
    // As the hint says.
    let words = [&SMALL[..], &["--tokens", "all"]].concat();
    lab.extract("manifest", &table, &words).expect(0);
}

#[test]
fn a_file_that_was_repaired_between_two_parts_is_named() {
    let lab = Lab::new();
    let table = lab.manifest(12);
    let image = lab.path("images/0002.png");
    let intact = fs::read(&image).unwrap();
    lab.write("images/0002.png", "no picture");
    part(&lab, &table, "1/2").expect(1);
    fs::write(&image, &intact).unwrap();
    let words = ["1-of-2", "`images/0002` was skipped", "put the file back"];
    part(&lab, &table, "2/2").expect_error(2, &words);
    part(&lab, &table, "1/2").expect_error(2, &words);
    // A file whose tokens are there.
    lab.write("images/0002.png", "no picture");
    let other = lab.path("images/0001.png");
    let first = fs::read(&other).unwrap();
    fs::write(&other, &intact).unwrap();
    part(&lab, &table, "2/2").expect_error(2, &["1-of-2", "`images/0001.png`", "restore"]);
    lab.write("images/0001.png", first);
    // As the hint says.
    part(&lab, &table, "2/2").expect(1);
    fs::write(&image, intact).unwrap();
    let words = [&SMALL[..], &["--retry-skipped"]].concat();
    lab.extract("manifest", &table, &words).expect(0);
}

#[test]
fn sizes_are_those_of_the_part() {
    let lab = Lab::new();
    let table = lab.manifest(12);
    let run = part(&lab, &table, "1/3").expect(0);
    assert!(run.stderr.contains("part 1/3: about "), "{run:?}");
    assert!(run.stderr.contains("for 4 slices (counted)"), "{run:?}");
    for (part, there) in [("1/3", 4), ("2/3", 0)] {
        let mut command = program("extract");
        command.args(["plan", "--model", "tiny-vit", "--dataset", "manifest"]);
        command
            .args(["--name", "images", "--batches", "0", "--root"])
            .arg(&table);
        command
            .args(["--format", "json", "--cache"])
            .arg(lab.path("cache"));
        let run = Run::of(command.args(["--shard", part])).expect(0);
        let told: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(
            (&told["slices"], &told["slices_there"]),
            (&4.into(), &there.into())
        );
    }
}
