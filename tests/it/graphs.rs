//! Small ONNX graphs, written by `graphs.py`, and their cards.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::lab::{Lab, Run, project};
use crate::models::models;

/// Writes the graph of a kind, with the arguments of `graphs.py`, to `path` of the lab.
pub fn write(lab: &Lab, path: &str, arguments: &[&str]) -> PathBuf {
    let onnx = lab.write(path, "");
    let mut command = Command::new(project().join(".venv-test/bin/python"));
    command.arg(project().join("tests/it/graphs.py")).arg(&onnx);
    Run::of(command.args(arguments)).expect(0);
    onnx
}

/// The card of the tiny model under another name, without a source and with some lines changed.
pub fn card(name: &str, changes: &[(&str, &str)]) -> String {
    let card = fs::read_to_string(models().join("tiny-vit.toml")).unwrap();
    let card =
        card[..card.find("[[source]]").unwrap()].replace("\"tiny-vit\"", &format!("{name:?}"));
    changes.iter().fold(card, |card, (from, to)| {
        assert!(card.contains(from), "{card}");
        card.replace(from, to)
    })
}

/// A graph of `kind` with one layer, and its card.
pub fn one_layer(lab: &Lab, kind: &str) -> [PathBuf; 2] {
    let card = card("mine", &[("layers = 5", "layers = 1")]);
    [
        write(lab, "own/graph.onnx", &[kind]),
        lab.write("mine.toml", card),
    ]
}
