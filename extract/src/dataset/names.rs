//! Checks of the names of classes, samples and patients.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use cache::{MOST_CLASSES, NAME_BYTES};
use common::counted;
use common::text::clipped;
use unicode_normalization::UnicodeNormalization;

use super::examples::examples;
use super::{Dataset, table};
use crate::Error;

/// Warnings of names that look alike; `root` is the file or folder that the names are from.
///
/// # Errors
///
/// [`Error::Layout`] for names that are too long and for too many classes, [`Error::DuplicateClass`] and
/// [`Error::DuplicateId`].
pub(super) fn check(root: &Path, dataset: &Dataset) -> Result<Vec<String>, Error> {
    let in_masks = dataset.mask_classes.iter().map(|class| class.name.clone());
    let path = || root.to_path_buf();
    for names in [&dataset.classes, &in_masks.collect()] {
        refuse_many(root, names)?;
        refuse_nul(root, names)?;
        refuse_long(root, names)?;
        if let Some(name) = first_twice(names) {
            return Err(Error::DuplicateClass { path: path(), name });
        }
    }
    let samples = &dataset.samples;
    let ids = || samples.iter().map(|sample| &sample.id);
    let patients = || samples.iter().filter_map(|sample| sample.patient.as_ref());
    refuse_too_many_bytes(root, "a sample", ids())?;
    refuse_too_many_bytes(root, "a patient", patients())?;
    if let Some(id) = first_twice(ids()) {
        return Err(Error::DuplicateId { path: path(), id });
    }
    let odd = [
        similar("classes", &dataset.classes),
        similar("patients", patients()),
    ];
    Ok(odd.into_iter().flatten().collect())
}

fn refuse_many(path: &Path, classes: &[String]) -> Result<(), Error> {
    if classes.len() <= MOST_CLASSES {
        return Ok(());
    }
    Err(Error::Layout {
        path: path.to_path_buf(),
        found: format!(
            "{}, for instance {}",
            counted(classes.len(), "class"),
            examples(classes)
        ),
        expected: format!("at most {MOST_CLASSES}"),
        hint: "check that these are labels; a number to predict is not a class".to_owned(),
    })
}

/// Refuses names with a NUL, which ends a text in other programs.
fn refuse_nul(path: &Path, classes: &[String]) -> Result<(), Error> {
    let Some(name) = classes.iter().find(|name| name.contains('\0')) else {
        return Ok(());
    };
    Err(Error::Layout {
        path: path.to_path_buf(),
        found: format!("a class named `{}`", clipped(name)),
        expected: "names without NUL (`\\0`)".to_owned(),
        hint: "check that the table is not damaged, or give the class another name".to_owned(),
    })
}

/// Refuses names that are too long for a cache.
fn refuse_too_many_bytes<'a>(
    path: &Path,
    what: &str,
    mut names: impl Iterator<Item = &'a String>,
) -> Result<(), Error> {
    let Some(name) = names.find(|name| name.len() > NAME_BYTES) else {
        return Ok(());
    };
    Err(Error::Layout {
        path: path.to_path_buf(),
        found: format!(
            "{what} with a name of {}, `{}`",
            counted(name.len(), "byte"),
            clipped(name)
        ),
        expected: format!("at most {NAME_BYTES} bytes"),
        hint: "give it a shorter name".to_owned(),
    })
}

/// Refuses names that are too long for classes; `path` is the file or folder that they are from.
pub(super) fn refuse_long(path: &Path, names: &[String]) -> Result<(), Error> {
    let Some(name) = names.iter().find(|name| table::is_too_long(name)) else {
        return Ok(());
    };
    Err(Error::Layout {
        path: path.to_path_buf(),
        found: format!("a class named `{}`", clipped(name)),
        expected: format!("names of at most {} characters", table::MAX_NAME),
        hint: "give the class a shorter name".to_owned(),
    })
}

fn first_twice<'a>(names: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let mut seen = HashSet::new();
    let mut names = names.into_iter();
    names.find(|name| !seen.insert(*name)).cloned()
}

/// A warning of different names that look alike.
fn similar<'a>(what: &str, names: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let mut alike: BTreeMap<String, BTreeSet<&String>> = BTreeMap::new();
    for name in names {
        let letters = name.nfkc().flat_map(char::to_lowercase);
        let letters = letters.filter(|c| !c.is_whitespace());
        alike.entry(letters.collect()).or_default().insert(name);
    }
    let several = alike.into_values().find(|names| names.len() > 1)?;
    let several: Vec<String> = several.into_iter().cloned().collect();
    Some(format!(
        "different {what} with similar names (case, spaces or Unicode forms): {}",
        examples(&several)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::empty;
    use crate::dataset::DatasetCard;

    #[test]
    fn a_name_too_long_for_a_class_is_refused_wherever_it_is_from() {
        let root = empty(&["imagesTr/a.nii", "labelsTr/a.nii"]);
        let class = |length| cache::MaskClass {
            value: 1,
            name: "x".repeat(length),
        };
        let mut card = DatasetCard::find("nnunet").unwrap();
        card.mask_classes = vec![class(1000)];
        assert!(super::super::open(&card, root.path()).is_ok());
        let accents = cache::MaskClass {
            value: 1,
            name: "é".repeat(1000),
        };
        card.mask_classes = vec![accents];
        assert!(super::super::open(&card, root.path()).is_ok());
        card.mask_classes = vec![class(1001)];
        let text = super::super::open(&card, root.path())
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("at most 1000 characters") && text.len() < 500,
            "{text}"
        );
    }

    #[test]
    fn what_no_cache_may_hold_is_refused_by_the_table_s_name() {
        let folder = empty(&["1.png", "2.png"]);
        let refused = |header: &str, cell: String| {
            let table = folder.path().join("m.csv");
            std::fs::write(&table, format!("image,{header}\n1.png,{cell}\n")).unwrap();
            let card = DatasetCard::find("manifest").unwrap();
            super::super::open(&card, &table).unwrap_err().to_string()
        };
        for header in ["id", "patient"] {
            let text = refused(header, "x".repeat(8193));
            let is_named = text.contains("m.csv`: found") && text.contains("of 8193 bytes");
            assert!(
                is_named && text.contains("hint: ") && text.len() < 500,
                "{text}"
            );
        }
        let text = refused("label", "a\0b".to_owned());
        assert!(
            text.contains("m.csv") && text.contains("without NUL"),
            "{text}"
        );
        let many = (0..4097).map(|k| format!("c{k}")).collect::<Vec<_>>();
        let text = refused("labels", many.join("|"));
        assert!(
            text.contains("4097 classes") && text.contains("at most 4096"),
            "{text}"
        );
    }
}
