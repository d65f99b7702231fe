//! Dataset cards: descriptions of datasets in TOML.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use imaging::preprocess::{Intensity, Normalise, Rescale, Resize, Slicing};
use serde::Deserialize;

use super::examples::examples;
use super::files::read_text;
use super::label_table::LabelTable;
use crate::Error;
use crate::split::rule::SplitRule;

/// A dataset as its TOML file describes it.
///
/// Built-in cards are the files in `extract/datasets/`; a user's own card is beside the data.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetCard {
    /// Name on the command line and in the cache.
    pub name: String,
    /// Name of a [`Layout`](super::Layout).
    pub layout: String,
    /// Title, one line.
    #[serde(default)]
    pub title: String,
    /// Description of the labels.
    #[serde(default)]
    pub task: String,
    /// CT, MRI, X-ray.
    #[serde(default)]
    pub modality: String,
    /// Licence.
    #[serde(default)]
    pub licence: String,
    /// Page from which its owner distributes it.
    #[serde(default)]
    pub source: String,
    /// Approximate size of the download.
    #[serde(default)]
    pub size: String,
    /// Number of samples of the complete dataset, if it is known and does not depend on options.
    #[serde(default)]
    pub samples: Option<usize>,
    /// Files of the unpacked download.
    #[serde(default)]
    pub tree: String,
    /// Classes in order; blank if they are found in the files.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Names of the values in masks without background (0); blank if they are found in the files.
    #[serde(default)]
    pub mask_classes: Vec<cache::MaskClass>,
    /// Layout `tables`: the tables of labels.
    #[serde(default)]
    pub table: Vec<LabelTable>,
    /// Recipes by name: `radiology`, and `study` for datasets of the study.
    #[serde(default)]
    pub recipe: BTreeMap<String, Recipe>,
    /// Options of the layout.
    #[serde(default)]
    pub options: LayoutOptions,
}

/// Preprocessing and split of a dataset.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// Range of intensities.
    pub intensity: Intensity,
    /// Plane of slices.
    pub slicing: Slicing,
    /// Resizing to the model's input size.
    pub resize: Resize,
    /// Rescaling of intensities to 0..=1.
    pub rescale: Rescale,
    /// Normalisation of channels.
    pub normalise: Normalise,
    /// Split rule; `None` for the official splits.
    pub split: Option<SplitRule>,
    /// True if a patient may be in two splits.
    pub allow_patient_overlap: bool,
}

/// Options of layouts; [`LAYOUTS`](super::LAYOUTS) lists those of each layout.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayoutOptions {
    /// `manifest`: table, relative to the card. `dicom`: table of labels, relative to the root.
    pub manifest: Option<PathBuf>,
    /// `manifest`: folder of images and masks, relative to the table; `None` for that of the table.
    pub image_root: Option<PathBuf>,
    /// `manifest`, `dicom`: columns with one class each: 1, 0, -1 or blank.
    pub label_columns: Vec<String>,
    /// `nnunet`, `amos`: channel to read, by number or name, or `all`.
    pub channel: Option<String>,
    /// `nnunet`: list cases without a label map. `amos`: list `imagesTs`.
    pub unlabelled: bool,
    /// `nnunet`: accepted names of the folder, or of `name` in its `dataset.json`; any if blank.
    pub task_names: Vec<String>,
    /// `amos`: `CT`, `MR` or `all`; CT if blank.
    pub modality: Option<String>,
    /// `chexpert`: value for labels of -1.
    pub uncertain: Uncertain,
    /// `chexpert`: views to keep, of `AP`, `PA`, `LL`, `RL`; all frontal ones if empty.
    pub views: Vec<String>,
    /// `nih-chest-xray`: `No Finding` is a class.
    pub no_finding: bool,
    /// `sars-cov-2`: two classes, COVID-19 and others, instead of three.
    pub binary: bool,
    /// Layouts with masks: treatment of pixels whose value has no class, if other values have one.
    pub unnamed_values: UnnamedValues,
    /// `manifest`, `nnunet`, `tables` and most layouts of one dataset: skip missing files, damaged files
    /// (`brain-tumor`) and files without a row with a warning; by default they are errors.
    pub allow_missing: bool,
}

/// Value for labels of -1 (uncertain).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Uncertain {
    /// 0.
    Zeros,
    /// 1.
    Ones,
    /// -1; the protocol of a probe interprets it.
    #[default]
    Keep,
}

/// Treatment of pixels in masks whose value has no class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum UnnamedValues {
    /// Skip the sample, with the reason
    #[default]
    Error,
    /// Exclude them from training and measurement
    Ignore,
}

/// Names and texts of the cards in `extract/datasets/`, sorted; `build.rs` lists the folder.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/cards.rs"));

impl DatasetCard {
    /// All built-in cards, sorted by name; [`Error::Card`] for an invalid card.
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
            // The path of a table of splits is relative to the card.
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
