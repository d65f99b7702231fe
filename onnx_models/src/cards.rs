//! Finding cards: those built into the program, and those of a folder, which replace them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::{Error, ModelCard};

/// Names and texts of the cards beside this crate's `Cargo.toml`, sorted by name.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/cards.rs"));

impl ModelCard {
    /// Reads the card `name`: the file `NAME.toml` of `folder`, else the built-in card.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownModel`] if there is no such card, [`Error::CardName`] if it names another model,
    /// and the errors of [`ModelCard::read_file`].
    pub fn read(folder: &Path, name: &str) -> Result<ModelCard, Error> {
        let path = folder.join(format!("{name}.toml"));
        let card = if names_in(folder).contains(name) {
            ModelCard::read_file(&path)?
        } else if let Some(text) = ModelCard::built_in_text(name) {
            ModelCard::parse(text, &path)?
        } else {
            return Err(Error::UnknownModel {
                name: name.to_string(),
                folder: folder.to_path_buf(),
                known: names(folder).into_iter().collect(),
            });
        };
        if card.name == name {
            Ok(card)
        } else {
            Err(Error::CardName {
                path,
                found: card.name,
            })
        }
    }

    /// The text of the built-in card `name`.
    #[must_use]
    pub fn built_in_text(name: &str) -> Option<&'static str> {
        let card = BUILT_IN.iter().find(|card| card.0 == name);
        card.map(|(_, text)| *text)
    }

    /// The built-in card of a name.
    pub fn built_in(name: &str) -> Option<ModelCard> {
        ModelCard::parse(ModelCard::built_in_text(name)?, Path::new(name)).ok()
    }

    /// All cards by name, each as [`ModelCard::read`] returns it.
    pub fn all(folder: &Path) -> impl Iterator<Item = Result<ModelCard, Error>> {
        let names = names(folder).into_iter();
        names.map(|name| ModelCard::read(folder, &name))
    }
}

/// Names of the built-in cards and of those in `folder`.
fn names(folder: &Path) -> BTreeSet<String> {
    let built_in = BUILT_IN.iter().map(|card| card.0.to_string());
    built_in.chain(names_in(folder)).collect()
}

/// Names of the cards in `folder`; none if there is no such folder.
fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: BTreeSet<String> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let is_card = path.extension().is_some_and(|ext| ext == "toml");
            let stem = path.file_stem()?.to_string_lossy().into_owned();
            is_card.then_some(stem)
        })
        .collect();
    // The manifest of this crate, in a checkout.
    names.remove("Cargo");
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_of_the_folder_is_built_in_as_it_is() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found: BTreeSet<String> = BUILT_IN.iter().map(|card| card.0.to_string()).collect();
        assert_eq!(
            found,
            names_in(folder),
            "touch onnx_models/build.rs, and build again"
        );
        for (name, text) in BUILT_IN {
            let file = fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
            assert_eq!(*text, file, "{name}");
        }
    }

    #[test]
    fn a_card_in_the_folder_replaces_the_built_in_one_and_adds_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let tiny = ModelCard::read(&missing, "tiny-vit").unwrap();
        assert_eq!(ModelCard::all(&missing).count(), BUILT_IN.len());
        let (_, text) = BUILT_IN.iter().find(|card| card.0 == "tiny-vit").unwrap();
        let own = text.replace(&tiny.title, "my own");
        fs::write(dir.path().join("tiny-vit.toml"), &own).unwrap();
        let other = own.replace("\"tiny-vit\"", "\"other\"");
        fs::write(dir.path().join("other.toml"), other).unwrap();
        for name in ["tiny-vit", "other"] {
            assert_eq!(ModelCard::read(dir.path(), name).unwrap().title, "my own");
        }
        assert_eq!(ModelCard::all(dir.path()).count(), BUILT_IN.len() + 1);
        let error = ModelCard::read(dir.path(), "../other").unwrap_err();
        assert!(matches!(error, Error::UnknownModel { .. }), "{error}");
    }
}
