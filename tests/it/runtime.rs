//! ONNX Runtime's library, and graphs that it cannot load, cannot hold or never finishes.

use std::fs;
use std::process::Command;

use crate::graphs;
use crate::lab::{Lab, Run, program, runtime};
use crate::models::extract_own;

#[test]
fn a_library_that_was_cut_short_is_refused_before_it_is_loaded() {
    let lab = Lab::new();
    let whole = fs::read(runtime()).unwrap();
    let manifest = lab.manifest(3);
    for length in [whole.len() / 2, whole.len() - 1] {
        let library = lab.write("libonnxruntime.so.1", &whole[..length]);
        let mut command = lab.extract_command("manifest", &manifest);
        Run::of(command.env("ORT_DYLIB_PATH", library)).expect_error(
            2,
            &["libonnxruntime.so.1", "truncated", "install_onnxruntime"],
        );
    }
}

#[test]
#[cfg(unix)]
fn a_program_in_a_python_environment_uses_its_onnx_runtime_through_a_link_without_variables() {
    let lab = Lab::new();
    let library = "env/lib/python3.12/site-packages/onnxruntime/capi/libonnxruntime.so.1.32.0";
    fs::create_dir_all(lab.path(library).parent().unwrap()).unwrap();
    fs::copy(runtime(), lab.path(library)).unwrap();
    for folder in ["env/bin", "bin", "home"] {
        fs::create_dir_all(lab.path(folder)).unwrap();
    }
    fs::copy(
        program("extract").get_program(),
        lab.path("env/bin/extract"),
    )
    .unwrap();
    // As `uv tool install` and pipx link it.
    std::os::unix::fs::symlink("../env/bin/extract", lab.path("bin/extract")).unwrap();
    let mut doctor = Command::new(lab.path("bin/extract"));
    doctor.arg("doctor").env("SLICEBANK_HOME", lab.path("home"));
    for variable in ["ORT_DYLIB_PATH", "VIRTUAL_ENV", "CONDA_PREFIX"] {
        doctor.env_remove(variable);
    }
    let run = Run::of(&mut doctor);
    assert!(run.stdout.contains(library), "{run:#?}");
    fs::remove_file(lab.path(library)).unwrap();
    let run = Run::of(&mut doctor);
    assert!(!run.stdout.contains("1.32.0"), "{run:#?}");
}

#[test]
fn a_graph_that_never_ends_is_stopped() {
    let lab = Lab::new();
    extract_own(
        &lab,
        &graphs::one_layer(&lab, "loop"),
        &["--run-limit", "1"],
    )
    .expect_error(
        2,
        &["graph.onnx", "more than 1 s for 3 slices", "--run-limit"],
    );
}

#[test]
fn memory_that_cannot_be_had_and_versions_to_come_are_no_damage() {
    let lab = Lab::new();
    extract_own(&lab, &graphs::one_layer(&lab, "memory"), &[])
        .expect_error(2, &["graph.onnx", "out of memory", "--batch-size"]);
    extract_own(&lab, &graphs::one_layer(&lab, "version"), &[])
        .expect_error(2, &["graph.onnx", "IR version", "too old"]);
}

#[test]
fn more_threads_than_cores_are_warned_of_and_do_not_compute() {
    let lab = Lab::new();
    let manifest = lab.manifest(3);
    let run = lab
        .extract("manifest", &manifest, &["--threads", "1000"])
        .expect(0);
    assert!(run.stderr.contains("warning: 1000 threads"), "{run:?}");
    let run = lab
        .extract("manifest", &manifest, &["--threads", "1"])
        .expect(0);
    assert!(!run.stderr.contains("warning"), "{run:?}");
}

/// As where nothing can be written: not even the file that keeps others out.
#[test]
fn a_finished_cache_is_said_to_be_complete_without_a_write() {
    let lab = Lab::new();
    let manifest = lab.manifest(3);
    lab.extract("manifest", &manifest, &[]).expect(0);
    let lock = lab.cache().join(".lock");
    fs::remove_file(&lock).unwrap();
    let run = lab.extract("manifest", &manifest, &[]).expect(0);
    assert!(run.stderr.contains("already complete"), "{run:?}");
    assert!(!lock.exists());
}

#[test]
fn what_onnx_runtime_logs_is_plain_and_only_what_was_asked_for() {
    let lab = Lab::new();
    let manifest = lab.manifest(3);
    let run = |level: Option<&str>| {
        let mut command = lab.extract_command("manifest", &manifest);
        command.args(["--provider", "cpu"]).env_remove("ORT_LOG");
        command.envs(level.map(|level| ("ORT_LOG", level)));
        let run = Run::of(&mut command).expect(0);
        fs::remove_dir_all(lab.path("cache")).unwrap();
        run.stderr
    };
    assert!(!run(None).contains("onnxruntime:"));
    let log = run(Some("info"));
    assert!(log.contains("onnxruntime: Info: "), "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}

#[test]
fn a_model_s_name_with_a_slip_is_recognised() {
    let mut command = program("extract");
    let run = Run::of(command.args(["models", "dinov2-s41"]));
    run.expect_error(2, &["dinov2-s41", "dinov2-s14", "vgg19"]);
}
