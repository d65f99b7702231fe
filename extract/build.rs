//! Writes the list of the dataset cards in `datasets/`, which are built into the program.
#![allow(clippy::print_stdout, reason = "cargo reads it")]

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    let variable = |name| env::var(name).map_err(io::Error::other);
    println!("cargo::rerun-if-changed=datasets");
    let folder = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("datasets");
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = entries.collect::<io::Result<Vec<PathBuf>>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    // By a path that the compiler resolves: a folder of build outputs may serve several checkouts.
    let cards = files.iter().map(|file| {
        let name = file.file_stem().unwrap_or_default();
        let path = Path::new("/datasets").join(file.file_name().unwrap_or_default());
        format!("({name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))),\n")
    });
    let list = format!("&[\n{}]\n", cards.collect::<String>());
    fs::write(Path::new(&variable("OUT_DIR")?).join("cards.rs"), list)
}
