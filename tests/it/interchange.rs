//! Embeddings of other programs as caches, and caches as files of other programs.

mod arrays;
mod formats;

use std::path::{Path, PathBuf};
use std::process::Command;

use cache::{Labels, SliceMeta, Split};

use crate::lab::{Lab, Run, program};

/// Rows of arrays in these tests.
const ROWS: usize = 60;

/// Width of their tokens.
const WIDTH: usize = 8;

/// An `.npy` file (version 1).
fn npy(kind: &str, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let sides: String = shape.iter().map(|side| format!("{side}, ")).collect();
    let header =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({sides}), }}      \n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), bytes].concat()
}

/// Numbers that half precision holds, different in all places; those of odd rows are greater.
fn numbers(row: usize, width: usize) -> impl Iterator<Item = f32> {
    (0..width).map(move |k| ((row * 37 + k * 11) % 64) as f32 / 32.0 + (row % 2) as f32)
}

fn f32s(width: usize) -> Vec<u8> {
    let rows = (0..ROWS).flat_map(|row| numbers(row, width));
    rows.flat_map(f32::to_le_bytes).collect()
}

/// A lab with `x.npy` `[N, D]` and `rows.csv`: two classes, two rows of each patient.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("x.npy", npy("<f4", &[ROWS, WIDTH], &f32s(WIDTH)));
    lab.write("rows.csv", table(|row| format!("s{row}")));
    lab
}

fn table(sample: impl Fn(usize) -> String) -> String {
    let mut csv = "sample,label,patient,split\n".to_owned();
    for row in 0..ROWS {
        let class = ["left", "right"][row % 2];
        let split = ["train", "val", "test"][row / 2 % 3];
        csv += &format!("{},{class},p{},{split}\n", sample(row), row / 2);
    }
    csv
}

fn import_command(lab: &Lab, source: &str, table: &str) -> Command {
    let mut command = program("extract");
    command.arg("import-tokens").arg(lab.path(source));
    if !table.is_empty() {
        command.arg("--table").arg(lab.path(table));
    }
    command.args(["--dataset", "d", "--cache"]);
    command.arg(lab.path("cache"));
    command
}

fn import(lab: &Lab, source: &str, model: &str, more: &[&str]) -> Run {
    let mut command = import_command(lab, source, "rows.csv");
    Run::of(command.args(["--model", model]).args(more))
}

fn cache(lab: &Lab, model: &str) -> PathBuf {
    lab.path(&format!("cache/d/{model}@224"))
}

fn export(lab: &Lab, cache: &Path, to: &str, more: &[&str]) -> Run {
    let mut command = program("extract");
    command.arg("export-tokens").arg(cache);
    command.args(["--to", to, "--out"]).arg(lab.path(to));
    Run::of(command.args(more))
}

/// Sample, slice, patient, split and labels of a row.
type Known = (String, u32, Option<String>, Option<Split>, Labels);

/// What rows are, but for the paths and sizes of images, which other programs do not know.
fn known(slices: &[SliceMeta]) -> Vec<Known> {
    let known = slices.iter().map(|slice| {
        let SliceMeta {
            sample,
            slice,
            patient,
            split,
            labels,
            ..
        } = slice.clone();
        (sample, slice, patient, split, labels)
    });
    known.collect()
}
