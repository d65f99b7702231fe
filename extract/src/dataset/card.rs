//! Dataset cards: what is known of a dataset before its files are seen, as data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use imaging::preprocess::{Intensity, Normalise, Rescale, Resize, Slicing};
use serde::Deserialize;

use super::files::read_text;
use super::label_table::LabelTable;
use super::missing::examples;
use crate::Error;
use crate::split::SplitRule;

/// A dataset as its TOML file describes it.
///
/// The datasets that are built in are such files in `extract/datasets/`; a user's own lies beside
/// the data.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetCard {
    /// Its name on the command line and in the cache.
    pub name: String,
    /// How its files lie: the name of a [`Layout`](super::Layout).
    pub layout: String,
    /// What it is, in a line.
    #[serde(default)]
    pub title: String,
    /// What is to be predicted, for people.
    #[serde(default)]
    pub task: String,
    /// CT, MRI, X-ray.
    #[serde(default)]
    pub modality: String,
    /// Its licence.
    #[serde(default)]
    pub licence: String,
    /// The page from which its owner distributes it.
    #[serde(default)]
    pub source: String,
    /// Roughly how large the download is.
    #[serde(default)]
    pub size: String,
    /// How many samples the whole dataset has, where that is known and does not depend on options.
    #[serde(default)]
    pub samples: Option<usize>,
    /// What the download looks like once it is unpacked.
    #[serde(default)]
    pub tree: String,
    /// The classes in order; blank if they are found in the files.
    #[serde(default)]
    pub classes: Vec<String>,
    /// What the values in masks mean, background (0) left out; blank if the files say it.
    #[serde(default)]
    pub mask_classes: Vec<cache::MaskClass>,
    /// Layout `tables`: the tables of labels.
    #[serde(default)]
    pub table: Vec<LabelTable>,
    /// Ways of preparing and splitting it, by name: `study` and `radiology` for those built in.
    #[serde(default)]
    pub recipe: BTreeMap<String, Recipe>,
    /// What the layout can be told.
    #[serde(default)]
    pub options: LayoutOptions,
}

/// How the slices of a dataset are prepared, and its samples split.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// Which intensities are kept.
    pub intensity: Intensity,
    /// How volumes are cut.
    pub slicing: Slicing,
    /// How slices are brought to the model's size.
    pub resize: Resize,
    /// How intensities are brought to 0..=1.
    pub rescale: Rescale,
    /// How channels are normalised.
    pub normalise: Normalise,
    /// How samples are split; `None` for the splits in the dataset's own files.
    pub split: Option<SplitRule>,
    /// Whether a patient may be in two splits.
    pub allow_patient_overlap: bool,
}

/// What a layout can be told; each layout says which of these it heeds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayoutOptions {
    /// `manifest`: the table, relative to the card. `dicom`: a table of labels, relative to the root.
    pub manifest: Option<PathBuf>,
    /// `manifest`: the folder that holds the files, relative to the table's, if it is another.
    pub image_root: Option<PathBuf>,
    /// `manifest`, `dicom`: columns that each hold one class as 1, 0, -1 or blank.
    pub label_columns: Vec<String>,
    /// `nnunet`, `amos`: the channel to take, by number or name, or `all`.
    pub channel: Option<String>,
    /// `nnunet`: whether cases without a label map are listed. `amos`: whether `imagesTs` is.
    pub unlabelled: bool,
    /// `nnunet`: what the folder, or `name` in its `dataset.json`, may be called; anything if blank.
    pub task_names: Vec<String>,
    /// `amos`: `CT`, `MR` or `all`; CT if blank.
    pub modality: Option<String>,
    /// `chexpert`: what a label of -1 becomes.
    pub uncertain: Uncertain,
    /// `chexpert`: the views to keep, of `AP`, `PA`, `LL`, `RL`; all frontal ones if empty.
    pub views: Vec<String>,
    /// `nih-chest-xray`: whether `No Finding` is a class.
    pub no_finding: bool,
    /// `sars-cov-2`: whether the classes are COVID and the rest rather than all three.
    pub binary: bool,
    /// Layouts with masks: what becomes of pixels whose value no class is named for, where others are
    /// named.
    pub unnamed_values: UnnamedValues,
    /// `manifest`, `nnunet` and most layouts of one dataset: whether files that are missing, or
    /// damaged (`brain-tumor`), or that no table names, are left out with a warning rather than
    /// refused.
    pub allow_missing: bool,
}

/// What a label of -1 (uncertain) becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Uncertain {
    /// 0.
    Zeros,
    /// 1.
    Ones,
    /// It stays -1, for the rules of an evaluation to interpret.
    #[default]
    Keep,
}

/// What becomes of pixels in masks whose value no class is named for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum UnnamedValues {
    /// The sample is left out, with the reason.
    #[default]
    Error,
    /// They are neither learnt from nor measured.
    Ignore,
}

/// Names and texts of the cards in `extract/datasets/`, sorted; `build.rs` lists the folder.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/cards.rs"));

impl DatasetCard {
    /// All cards that are built in, in the order of their names; [`Error::Card`] for one that cannot
    /// be understood.
    pub fn built_in() -> impl Iterator<Item = Result<DatasetCard, Error>> {
        BUILT_IN.iter().map(|(name, text)| {
            let file = format!("extract/datasets/{name}.toml");
            DatasetCard::parse(Path::new(&file), text)
        })
    }

    /// The built-in card of this name, or the card in the file of this name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownDataset`], [`FileError::Io`](common::FileError::Io) and [`Error::Card`].
    pub fn find(word: &str) -> Result<DatasetCard, Error> {
        let path = Path::new(word);
        if path.extension().is_some_and(|ext| ext == "toml") {
            return DatasetCard::read(path);
        }
        let names = || BUILT_IN.iter().map(|(name, _)| *name);
        let place = names().position(|name| name == word);
        let found = place.and_then(|place| DatasetCard::built_in().nth(place));
        found.unwrap_or_else(|| {
            Err(Error::UnknownDataset {
                name: word.to_owned(),
                known: names().map(str::to_owned).collect(),
            })
        })
    }

    fn parse(path: &Path, text: &str) -> Result<DatasetCard, Error> {
        toml::from_str(text).map_err(|source| Error::Card {
            path: path.to_path_buf(),
            source: Box::new(source),
        })
    }

    /// The names of the classes: the card's, one for each of `known` and in their order, else
    /// `known` itself.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] if the card has fewer or more names, or one of `known` in another place.
    pub(super) fn names_for(&self, root: &Path, known: &[&str]) -> Result<Vec<String>, Error> {
        if self.classes.is_empty() {
            return Ok(known.iter().map(|name| (*name).to_owned()).collect());
        }
        let place = |class: &String| known.iter().position(|k| k.eq_ignore_ascii_case(class));
        let mut places = self.classes.iter().map(place).zip(0..);
        let in_order = places.all(|(place, k)| place.is_none_or(|place| place == k));
        if in_order && self.classes.len() == known.len() {
            return Ok(self.classes.clone());
        }
        let (found, expected) = (self.classes.len(), known.len());
        Err(Error::Layout {
            path: root.to_path_buf(),
            found: format!(
                "the {found} `classes` {} in the dataset's card",
                examples(&self.classes)
            ),
            expected: format!("{expected} names, for `{}`", known.join("`, `")),
            hint: "give each class a name, in this order; without `classes`, these are the names"
                .to_owned(),
        })
    }

    fn read(path: &Path) -> Result<DatasetCard, Error> {
        let mut card = DatasetCard::parse(path, &read_text(path)?)?;
        for recipe in card.recipe.values_mut() {
            // A table of splits is named relative to the card, as the data is.
            if let (Some(SplitRule::File(table)), Some(folder)) = (&mut recipe.split, path.parent())
            {
                *table = folder.join(&table);
            }
        }
        Ok(card)
    }

    /// The recipe of this name; without one, `study`, else `default`, else the only one there is.
    /// A card without recipes has one that does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownRecipe`].
    pub fn recipe(&self, name: Option<&str>) -> Result<Recipe, Error> {
        let found = match name {
            Some(name) => self.recipe.get(name),
            None if self.recipe.is_empty() => return Ok(Recipe::default()),
            None => {
                let usual = ["study", "default"].iter();
                let usual = usual.filter_map(|name| self.recipe.get(*name)).next();
                let only = self
                    .recipe
                    .values()
                    .next()
                    .filter(|_| self.recipe.len() == 1);
                usual.or(only)
            }
        };
        found.cloned().ok_or_else(|| Error::UnknownRecipe {
            dataset: self.name.clone(),
            name: name.unwrap_or_default().to_owned(),
            known: self.recipe.keys().cloned().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::LAYOUTS;

    #[test]
    fn every_card_that_is_built_in_is_understood() {
        assert!(BUILT_IN.is_sorted() && BUILT_IN.len() > 10);
        for (card, (name, _)) in DatasetCard::built_in().zip(BUILT_IN) {
            let card = card.unwrap();
            assert_eq!(card.name, *name);
            assert!(LAYOUTS.iter().any(|layout| layout.name == card.layout));
            assert!(card.recipe(None).is_ok() && card.recipe(Some("radiology")).is_ok());
        }
    }

    #[test]
    fn a_wrong_word_in_a_card_is_an_error_that_names_it() {
        let text = "name = \"a\"\nlayout = \"folder\"\n[recipe.study]\nintensity = \"windw\"\n";
        let error = DatasetCard::parse(Path::new("extract/datasets/a.toml"), text).unwrap_err();
        let text = error.to_string();
        let parts = ["`extract/datasets/a.toml`", "`windw`", "hint:"];
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }

    #[test]
    fn names_that_are_not_known_are_answered_with_what_may_be_meant() {
        let text = DatasetCard::find("chexprt").unwrap_err().to_string();
        assert!(text.contains("did you mean `chexpert`?"), "{text}");
        let card = DatasetCard::find("amos").unwrap();
        let text = card.recipe(Some("radiolgy")).unwrap_err().to_string();
        assert!(text.contains("did you mean `radiology`?"), "{text}");
    }
}
