//! Writes the list of the model cards in this folder, which are built into the program.
#![allow(clippy::print_stdout, reason = "cargo reads it")]

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    let variable = |name| env::var(name).map_err(io::Error::other);
    let cards = cards(Path::new(&variable("CARGO_MANIFEST_DIR")?))?;
    // Cargo cannot watch the folder: exported graphs in it would rebuild the program. A new card also
    // has a row in the table of models.
    println!("cargo::rerun-if-changed=../docs/model-cards.md");
    let mut list = String::from("&[\n");
    for card in cards {
        println!("cargo::rerun-if-changed={}", card.display());
        let name = card.file_stem().unwrap_or_default();
        // By a path that the compiler resolves: a folder of build outputs may serve several checkouts.
        let path = Path::new("/").join(card.file_name().unwrap_or_default());
        list += &format!(
            "    ({name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))),\n"
        );
    }
    fs::write(
        Path::new(&variable("OUT_DIR")?).join("cards.rs"),
        list + "]\n",
    )
}

/// The cards in `folder`, sorted.
fn cards(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut cards = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "toml") && !path.ends_with("Cargo.toml") {
            cards.push(path);
        }
    }
    cards.sort();
    Ok(cards)
}
