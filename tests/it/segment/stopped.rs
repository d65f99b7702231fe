//! Trainings that stop and go on.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{QUICK, only_record, records, volumes};
use crate::lab::{Lab, Run, program};

/// Kills a training when a phase of it has kept its state, and returns the state's file.
fn stopped(command: &mut Command, runs: &Path, phase: &str) -> PathBuf {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let state = || {
        let mut files = std::fs::read_dir(runs.join("training")).ok()?;
        let end = format!("-{phase}.safetensors");
        files.find_map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            (name.ends_with(&end) && !name.starts_with('.')).then(|| path.clone())
        })
    };
    let start = Instant::now();
    while state().is_none() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    state().expect("it was stopped in the middle")
}

#[test]
fn training_goes_on_after_a_stop_and_a_full_disk_and_comes_to_the_same() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    let long = [&QUICK[2..], &["--epochs", "40", "--decoder", "unet"]].concat();
    let single = ["--epochs", "40", "--decoder", "unet", "--lr", "0.05"];
    let single = [&single[..], &QUICK[4..]].concat();
    for (words, phase) in [(&long, "scan"), (&long, "training"), (&single, "training")] {
        let runs = lab.path(&format!("stopped-{phase}-{}", words.len()));
        let arguments = |command: &mut Command| {
            command.arg("segment").args(words).arg("--cache");
            command.arg(lab.path("cache")).arg("--runs").arg(&runs);
        };
        let mut command = program("probe");
        arguments(&mut command);
        let state = stopped(&mut command, &runs, phase);
        let before = std::fs::read(&state).unwrap();
        let mut limited = Command::new("sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "sh"]);
        limited.arg(program("probe").get_program());
        arguments(&mut limited);
        Run::of(&mut limited)
            .expect_error(2, &["/training", "cannot write", "free space", "--runs"]);
        assert_eq!(
            std::fs::read(&state).unwrap(),
            before,
            "the last good state stays"
        );
        let mut command = program("probe");
        arguments(&mut command);
        let resumed = Run::of(&mut command).expect(0);
        let told = format!("{phase}: goes on after epoch");
        assert!(resumed.stderr.contains(&told), "{}", resumed.stderr);
        let resumed = records(&resumed).remove(0);
        let whole = only_record(lab.probe_with("segment", words));
        assert_eq!(resumed["metrics"], whole["metrics"]);
        assert_eq!(resumed["params"], whole["params"]);
        assert_eq!(std::fs::read_dir(runs.join("training")).unwrap().count(), 0);
    }
}
