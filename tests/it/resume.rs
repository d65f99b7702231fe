//! Stops, at any moment, leave no trace.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cache::{CacheLock, CacheMeta, CacheReader};

use crate::lab::{Lab, Run, changed_at, program, project, python, snapshot, unfinished};

const SMALL_SHARDS: [&str; 4] = ["--batch-size", "2", "--shard-rows", "4"];

#[test]
fn the_number_of_threads_changes_nothing() {
    // At 308 pixels a slice is a run, so that there are two sessions.
    for (precision, size, images) in [("fp32", "56", 30), ("int8", "56", 30), ("int8", "308", 6)] {
        let extract = |threads| {
            let lab = Lab::new();
            let words = [
                "--precision",
                precision,
                "--parity-bound=0",
                "--threads",
                threads,
            ];
            let words = [&SMALL_SHARDS[..], &["--image-size", size], &words].concat();
            lab.extract("manifest", &lab.manifest(images), &words)
                .expect(0);
            snapshot(&lab.cache().with_file_name(format!("tiny-vit@{size}")))
        };
        assert!(extract("1") == extract("7"), "{precision} {size}");
    }
}

#[test]
fn a_killed_run_goes_on_and_ends_with_the_same_bytes() {
    let (whole, killed) = (Lab::new(), Lab::new());
    whole
        .extract("manifest", &whole.manifest(600), &SMALL_SHARDS)
        .expect(0);
    let manifest = killed.manifest(600);
    for shards in [1, 5, 40] {
        let mut command = killed.extract_command("manifest", &manifest);
        command.args(SMALL_SHARDS).stderr(Stdio::null());
        kill_after(shards, &killed, command.spawn().unwrap());
        let error = CacheReader::open(&killed.cache()).unwrap_err();
        assert!(error.to_string().contains("not finished"), "{error}");
    }
    killed
        .extract("manifest", &manifest, &SMALL_SHARDS)
        .expect(0);
    assert!(snapshot(&whole.cache()) == snapshot(&killed.cache()));
}

fn kill_after(shards: usize, lab: &Lab, mut child: Child) {
    let started = Instant::now();
    let finished = || CacheMeta::read(&lab.cache()).map_or(0, |meta| meta.shards.len());
    while finished() < shards {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_with_other_settings_is_refused_and_told_which() {
    let lab = Lab::new();
    let manifest = lab.manifest(4);
    lab.extract("manifest", &manifest, &[]).expect(0);
    let before = snapshot(&lab.cache());
    let other = ["--intensity", "window:0:100"];
    lab.extract("manifest", &manifest, &other).expect_error(
        2,
        &["preprocess.intensity", "tiny-vit@56", "window", "--cache"],
    );
    unfinished(&lab.cache());
    lab.extract("manifest", &manifest, &["--tokens", "all"])
        .expect_error(2, &["`tokens`", "\"cls\"", "\"all\""]);
    lab.extract("manifest", &manifest, &[]).expect(0);
    lab.extract("manifest", &manifest, &["--limit", "2"])
        .expect_error(2, &["tiny-vit@56", "other samples", "--limit"]);
    assert_eq!(before, snapshot(&lab.cache()));
}

#[test]
fn a_lock_of_another_machine_is_waited_for_aloud() {
    let lab = Lab::new();
    let manifest = lab.manifest(2);
    lab.extract("manifest", &manifest, &[]).expect(0);
    let record = r#"{"host":"ghost","process":1,"since_unix":1}"#;
    lab.write("cache/images/tiny-vit@56/.lock", record);
    let mut gc = program("extract");
    gc.args(["gc", "images/tiny-vit@56", "--cache"])
        .arg(lab.path("cache"));
    unfinished(&lab.cache());
    let mut extract = lab.extract_command("manifest", &manifest);
    extract.args(["--wait", "0"]);
    for command in [&mut gc, &mut extract] {
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = "waiting up to 20 s for the lock of process 1 on `ghost`";
        let told = lines.any(|line| line.unwrap().contains(said));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(told);
    }
}

#[test]
fn two_writers_at_once_are_refused_or_wait() {
    let lab = Lab::new();
    let manifest = lab.manifest(4);
    let lock = CacheLock::of(&lab.cache()).unwrap();
    let this = format!("process {} on", std::process::id());
    let at_once = [&SMALL_SHARDS[..], &["--wait", "0"]].concat();
    lab.extract("manifest", &manifest, &at_once)
        .expect_error(2, &["tiny-vit@56", &this]);
    let mut waiting = lab.extract_command("manifest", &manifest);
    let waiting = waiting
        .args(SMALL_SHARDS)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut waiting = waiting.spawn().unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let told = lines.find(|line| line.as_ref().unwrap().contains("waiting for"));
    assert!(told.unwrap().unwrap().contains(&this));
    drop(lock);
    assert!(waiting.wait().unwrap().success());
    // Nothing is written to what is finished, so it may lie where nothing can be.
    let lock = CacheLock::of(&lab.cache()).unwrap();
    let before = snapshot(&lab.path("cache"));
    let run = lab.extract("manifest", &manifest, &at_once).expect(0);
    assert!(run.stderr.contains("already complete"), "{run:#?}");
    assert_eq!(snapshot(&lab.path("cache")), before);
    let name = ["images/tiny-vit@56"];
    for words in [
        &["rm"][..],
        &["gc"],
        &[
            "split",
            "--dataset",
            "manifest",
            "--rule",
            "none",
            "--name",
            "a",
        ],
    ] {
        let mut command = program("extract");
        command.args(words).arg("--cache").arg(lab.path("cache"));
        if words[0] == "split" {
            command
                .args(["--cache-name", "images", "--root"])
                .arg(&manifest);
        } else {
            command.args(name);
        }
        Run::of(&mut command).expect_error(2, &["tiny-vit@56", &this]);
    }
    drop(lock);
}

#[test]
fn options_that_change_no_token_leave_a_finished_cache_finished() {
    let lab = Lab::new();
    let manifest = lab.manifest(8);
    lab.extract("manifest", &manifest, &SMALL_SHARDS).expect(0);
    let before = snapshot(&lab.cache());
    for more in [
        &[][..],
        &["--shard-rows", "16"],
        &["--batch-size", "2", "--shard-rows", "6"],
        &["--threads", "1"],
        &["--format", "json"],
        &["--save-every", "5"],
        &["--wait", "1"],
        &["--parity-slices", "0"],
        &["--parity-bound", "0.5"],
        &["--run-limit", "5"],
        &["--provider", "cpu"],
        &["--precision", "fp32"],
        &["--seed", "7"],
        &["--allow-patient-overlap"],
        &["--non-finite", "error"],
        &["--layers", "5"],
        &["--image-size", "56"],
    ] {
        let run = lab.extract("manifest", &manifest, more).expect(0);
        assert!(run.stderr.contains("already complete"), "{more:?} {run:#?}");
        assert!(snapshot(&lab.cache()) == before, "{more:?}");
    }
}

#[test]
fn a_begun_cache_keeps_its_shards() {
    let (whole, lab) = (Lab::new(), Lab::new());
    whole
        .extract("manifest", &whole.manifest(300), &SMALL_SHARDS)
        .expect(0);
    let manifest = lab.manifest(300);
    let mut command = lab.extract_command("manifest", &manifest);
    command.args(SMALL_SHARDS).stderr(Stdio::null());
    kill_after(2, &lab, command.spawn().unwrap());
    let run = lab
        .extract("manifest", &manifest, &["--shard-rows", "64"])
        .expect(0);
    assert!(
        run.stderr.contains("`--shard-rows 64` has no effect"),
        "{run:#?}"
    );
    assert!(snapshot(&whole.cache()) == snapshot(&lab.cache()));
}

/// `scripts/dev/check_faults.py` does more of this.
#[test]
fn faults_at_random_moments_leave_no_trace() {
    let lab = Lab::new();
    let mut command = python("dev/check_faults.py");
    command.args([
        "--kills",
        "3",
        "--torn",
        "2",
        "--signals",
        "2",
        "--images",
        "150",
        "--work",
    ]);
    command.arg(lab.path("faults"));
    command
        .arg("--extract")
        .arg(program("extract").get_program());
    let run = Run::of(command.current_dir(project())).expect(0);
    assert!(run.stdout.contains("all caches equal"), "{run:#?}");
}

#[test]
fn processes_with_the_same_command_make_one_cache_and_probe_reads_beside_them() {
    let (whole, lab) = (Lab::new(), Lab::new());
    whole
        .extract("manifest", &whole.manifest(200), &SMALL_SHARDS)
        .expect(0);
    let manifest = lab.manifest(200);
    let start = |_| {
        let mut command = lab.extract_command("manifest", &manifest);
        command
            .args(SMALL_SHARDS)
            .args(["--save-every", "0.05", "--threads", "1"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let running: Vec<Child> = (0..8).map(start).collect();
    let mut unfinished = 0;
    let read = loop {
        let run = lab.probe(&["--dataset", "images"]);
        if run.status == 0 {
            break run;
        }
        let is_clear = ["not finished", "no caches", "no cache"]
            .iter()
            .any(|words| run.stderr.contains(words));
        assert!(
            run.status == 2 && is_clear && run.stderr.contains("hint:"),
            "{run:#?}"
        );
        unfinished += 1;
        assert!(unfinished < 1000);
    };
    assert!(read.stdout.contains("tiny-vit"), "{read:#?}");
    let mut complete = 0;
    for child in running {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{text}");
        complete += usize::from(text.contains("already complete"));
    }
    assert_eq!(complete, 7);
    assert!(snapshot(&whole.cache()) == snapshot(&lab.cache()));
}

#[test]
fn repaired_files_are_taken_in_as_if_they_had_never_been_damaged() {
    let (whole, lab) = (Lab::new(), Lab::new());
    whole
        .extract("manifest", &whole.manifest(30), &SMALL_SHARDS)
        .expect(0);
    let manifest = lab.manifest(30);
    let file = |k: u32| lab.path(&format!("images/{k:04}.png"));
    let damaged = [13, 21, 29];
    let intact = damaged.map(|k| std::fs::read(file(k)).unwrap());
    for k in damaged {
        std::fs::write(file(k), "no picture").unwrap();
    }
    let retry = [&SMALL_SHARDS[..], &["--retry-skipped"]].concat();
    lab.extract("manifest", &manifest, &SMALL_SHARDS).expect(1);
    let run = lab.extract("manifest", &manifest, &retry).expect(1);
    assert!(
        run.stderr.contains("none of 3 skipped samples can be read"),
        "{run:#?}"
    );
    // Without the option, repaired files are named, and the option.
    std::fs::write(file(13), &intact[0]).unwrap();
    lab.extract("manifest", &manifest, &SMALL_SHARDS)
        .expect_error(2, &["1 of 3 skipped samples", "--retry-skipped"]);
    unfinished(&lab.cache());
    lab.extract("manifest", &manifest, &SMALL_SHARDS)
        .expect_error(2, &["1 of 3 skipped samples", "--retry-skipped"]);
    std::fs::write(file(13), "no picture").unwrap();
    lab.extract("manifest", &manifest, &SMALL_SHARDS).expect(1);
    // One is still damaged, in another way.
    let repair = |k: u32, content: &[u8]| {
        std::fs::write(file(k), content).unwrap();
        changed_at(&file(k), 1_600_000_000);
    };
    repair(13, &intact[0]);
    std::fs::write(file(21), "no picture either").unwrap();
    repair(29, &intact[2]);
    let run = lab.extract("manifest", &manifest, &retry).expect(1);
    let said = "2 of 3 skipped samples can be read now; 15 slices after";
    assert!(run.stderr.contains(said), "{run:#?}");
    assert!(run.stdout.contains("17 slices in"), "{run:#?}");
    repair(21, &intact[1]);
    lab.extract("manifest", &manifest, &retry).expect(0);
    assert!(snapshot(&whole.cache()) == snapshot(&lab.cache()));
    // Another sample than a skipped one must not change.
    std::fs::write(file(21), "no picture").unwrap();
    lab.extract("manifest", &manifest, &retry)
        .expect_error(2, &["tiny-vit@56"]);
}
