//! `extract doctor`.

use std::fs;

use serde_json::Value;

use crate::lab::{Lab, Run, program};

fn doctor(lab: &Lab, home: Option<&str>) -> Run {
    let mut command = program("extract");
    command.args(["doctor", "--offline", "--cache"]);
    command.arg(lab.path("cache/below"));
    if let Some(home) = home {
        command.env("SLICEBANK_HOME", lab.path(home));
    }
    for variable in ["ORT_DYLIB_PATH", "VIRTUAL_ENV", "CONDA_PREFIX"] {
        command.env_remove(variable);
    }
    Run::of(&mut command)
}

#[test]
fn each_check_of_a_sound_machine_has_a_line_and_nothing_is_left_behind() {
    let lab = Lab::new();
    let run = doctor(&lab, None).expect(0);
    for check in [
        "ONNX Runtime",
        "providers",
        "GPU",
        "threads",
        "memory",
        "locks",
        "disk speed",
    ] {
        let is_line = |line: &str| line.contains(check) && !line.starts_with("FAULT");
        assert!(run.stdout.lines().any(is_line), "no {check}: {run:#?}");
    }
    assert!(run.stdout.contains("onnxruntime"), "{run:#?}");
    assert_eq!(fs::read_dir(lab.path(".")).unwrap().count(), 0);
}

#[test]
fn a_fault_has_a_remedy_and_an_exit_status() {
    let lab = Lab::new();
    fs::create_dir_all(lab.path("home/onnx_models")).unwrap();
    let run = doctor(&lab, Some("home")).expect(1);
    let mut lines = run.stdout.lines();
    let fault = lines.find(|line| line.starts_with("FAULT")).unwrap();
    assert!(fault.contains("ONNX Runtime"), "{run:#?}");
    let remedy = lines.find(|line| line.contains("-> ")).unwrap();
    assert!(remedy.contains("install_onnxruntime"), "{run:#?}");
    // A file in place of the folder of caches.
    let path = lab.write("cache", "no folder");
    let mut command = program("extract");
    command.args(["doctor", "--offline", "--format", "json", "--cache"]);
    let run = Run::of(command.arg(path)).expect(1);
    let findings = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let findings: Vec<Value> = findings.collect();
    let found = findings
        .iter()
        .find(|finding| finding["check"] == "permissions")
        .unwrap();
    assert_eq!(found["state"], "fault");
    assert!(found["remedy"].as_str().unwrap().contains("--cache"));
}
