//! Layouts and their options.

use std::path::Path;

use super::{
    Dataset, DatasetCard, LayoutOptions, Uncertain, amos, brain_tumor, chexpert, dicom, folder,
    manifest, medmnist, montgomery, nih_chest_xray, nnunet, sars_cov_2, tables,
};
use crate::Error;

/// A layout of files that can be opened.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Name in cards.
    pub name: &'static str,
    /// Lists the files under a root.
    pub open: fn(&Path, &DatasetCard) -> Result<Dataset, Error>,
    /// Its options, without those of all layouts (`channel`, `unnamed_values`).
    pub options: &'static [&'static str],
}

/// All layouts.
pub const LAYOUTS: &[Layout] = &[
    Layout {
        name: "amos",
        open: amos::open,
        options: &["modality", "unlabelled", "allow_missing"],
    },
    Layout {
        name: "brain-tumor",
        open: brain_tumor::open,
        options: &["allow_missing"],
    },
    Layout {
        name: "chexpert",
        open: chexpert::open,
        options: &["uncertain", "views", "allow_missing"],
    },
    Layout {
        name: "dicom",
        open: dicom::open,
        options: &["manifest", "label_columns", "keep_ids"],
    },
    Layout {
        name: "folder",
        open: folder::open,
        options: &[],
    },
    Layout {
        name: "manifest",
        open: manifest::open,
        options: &["manifest", "image_root", "label_columns", "allow_missing"],
    },
    Layout {
        name: "medmnist",
        open: medmnist::open,
        options: &[],
    },
    Layout {
        name: "montgomery",
        open: montgomery::open,
        options: &["allow_missing"],
    },
    Layout {
        name: "nih-chest-xray",
        open: nih_chest_xray::open,
        options: &["no_finding", "allow_missing"],
    },
    Layout {
        name: "nnunet",
        open: nnunet::open,
        options: &["unlabelled", "task_names", "allow_missing"],
    },
    Layout {
        name: "sars-cov-2",
        open: sars_cov_2::open,
        options: &["binary", "allow_missing"],
    },
    Layout {
        name: "tables",
        open: tables::open,
        options: &["allow_missing"],
    },
];

impl Layout {
    /// The layout of a card.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLayout`].
    pub fn of(card: &DatasetCard) -> Result<&'static Layout, Error> {
        let layout = LAYOUTS.iter().find(|layout| layout.name == card.layout);
        layout.ok_or_else(|| Error::UnknownLayout {
            dataset: card.name.clone(),
            name: card.layout.clone(),
            known: LAYOUTS
                .iter()
                .map(|layout| layout.name.to_owned())
                .collect(),
        })
    }

    /// True if the layout uses this option.
    pub(crate) fn uses(&self, option: &str) -> bool {
        self.options.contains(&option)
    }

    /// Refuses an option that the layout does not use; `spelt` is the option as the user wrote it.
    pub(crate) fn check(&self, root: &Path, option: &str, spelt: &str) -> Result<(), Error> {
        if self.uses(option) {
            return Ok(());
        }
        let others = LAYOUTS.iter().filter(|layout| layout.uses(option));
        let others: Vec<&str> = others.map(|layout| layout.name).collect();
        Err(Error::Layout {
            path: root.to_path_buf(),
            found: format!("the option `{spelt}`"),
            expected: format!("options of the layout `{}`", self.name),
            hint: format!(
                "leave it out; it is for the layouts `{}`",
                others.join("`, `")
            ),
        })
    }
}

impl LayoutOptions {
    /// The names of the given options, without those of all layouts.
    pub(super) fn given(&self) -> Vec<&'static str> {
        let LayoutOptions {
            manifest,
            image_root,
            label_columns,
            channel: _,
            unlabelled,
            task_names,
            modality,
            uncertain,
            views,
            no_finding,
            binary,
            unnamed_values: _,
            allow_missing,
        } = self;
        let given = [
            ("manifest", manifest.is_some()),
            ("image_root", image_root.is_some()),
            ("label_columns", !label_columns.is_empty()),
            ("unlabelled", *unlabelled),
            ("task_names", !task_names.is_empty()),
            ("modality", modality.is_some()),
            ("uncertain", *uncertain != Uncertain::default()),
            ("views", !views.is_empty()),
            ("no_finding", *no_finding),
            ("binary", *binary),
            ("allow_missing", *allow_missing),
        ];
        let given = given.into_iter().filter(|(_, given)| *given);
        given.map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_options_names_the_layouts_that_use_them() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(folder.join("../docs/dataset-cards.md")).unwrap();
        let (_, text) = text.split_once("### Options").unwrap();
        let all = LayoutOptions {
            manifest: Some("a".into()),
            image_root: Some("a".into()),
            label_columns: vec!["a".into()],
            channel: None,
            unlabelled: true,
            task_names: vec!["a".into()],
            modality: Some("a".into()),
            uncertain: Uncertain::Ones,
            views: vec!["a".into()],
            no_finding: true,
            binary: true,
            unnamed_values: super::super::UnnamedValues::Error,
            allow_missing: true,
        };
        assert_eq!(all.given().len(), 11);
        for option in all.given() {
            let row = text
                .lines()
                .find(|line| line.starts_with(&format!("| `{option}` |")));
            let row = row.unwrap_or_else(|| panic!("no `{option}` in the table of options"));
            let layouts = row.split('|').nth(2).unwrap();
            for layout in LAYOUTS {
                let is_named = layouts.contains(&format!("`{}`", layout.name));
                assert_eq!(layout.uses(option), is_named, "{option} of {}", layout.name);
            }
        }
    }

    #[test]
    fn an_unused_option_is_refused_with_the_layouts_that_use_it() {
        let folder = tempfile::tempdir().unwrap();
        for class in ["a", "b"] {
            std::fs::create_dir(folder.path().join(class)).unwrap();
            std::fs::write(folder.path().join(class).join("1.png"), "x").unwrap();
        }
        let mut card = DatasetCard::find("folder").unwrap();
        assert!(super::super::open(&card, folder.path()).is_ok());
        card.options.label_columns = vec!["a".into()];
        let text = super::super::open(&card, folder.path())
            .unwrap_err()
            .to_string();
        for part in ["`label_columns`", "`folder`", "`dicom`, `manifest`"] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }
}
