//! `scripts/gpu_check` on stand-ins for CUDA's libraries, whose kernels do nothing: it must say so.

use std::fs;

use crate::cuda::stand_in;
use crate::lab::{Lab, Run, program, python};

#[test]
fn a_gpu_that_computes_nothing_fails_the_check_of_tokens_and_not_that_of_libraries() {
    let lab = Lab::new();
    let mut command = python("gpu_check.py");
    command
        .args([
            "--only",
            "libraries",
            "batches",
            "parity",
            "torch",
            "second",
        ])
        .args(["--sizes", "S", "--torch", "no-such-python", "--out"])
        .arg(lab.path("table.md"))
        .arg("--extract")
        .arg(program("extract").get_program())
        .env(
            "ORT_DYLIB_PATH",
            stand_in().join("libonnxruntime.so.1.31.1"),
        )
        .env("LD_LIBRARY_PATH", stand_in());
    let run = Run::of(&mut command).expect(1);
    let table = fs::read_to_string(lab.path("table.md")).unwrap();
    let verdicts = |step: &str| {
        let rows = table
            .lines()
            .filter(|row| row.starts_with(&format!("| {step} ")));
        let last = rows.map(|row| row.trim_end_matches(" |").rsplit(" | ").next().unwrap());
        last.map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(verdicts("libraries"), ["ok", "ok"], "{table}");
    assert_eq!(verdicts("batches"), ["FAILED"], "{table}");
    // In fp32 and in mixed16.
    assert_eq!(verdicts("parity"), ["FAILED", "FAILED"], "{table}");
    assert_eq!(verdicts("torch"), ["skipped"; 3], "{table}");
    assert_eq!(verdicts("second"), ["skipped"], "{table}");
    for row in table.lines().skip(4) {
        let cells: Vec<&str> = row.split(" | ").collect();
        assert!(run.stdout.contains(cells[1]), "{row} in {run:?}");
    }

    // Without a GPU it ends at the first step.
    let run = Run::of(command.env("STAND_IN_GPUS", "0")).expect(1);
    assert!(run.stdout.contains("no CUDA-capable device"), "{run:?}");
    assert!(!run.stdout.contains("parity"), "{run:?}");
}
