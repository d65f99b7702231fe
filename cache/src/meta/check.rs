//! Checks of a description: nothing is allocated by a number that has not been checked here.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::Path;

use common::counted;
use common::text::printable;

use super::{CacheMeta, LayerShape};
use crate::rows::Invalid;
use crate::{Error, description};

/// Greatest side of a backbone's input in pixels.
const LARGEST_INPUT: u64 = 1 << 12;

/// Greatest number of tokens before the patches; models have up to 5.
const MOST_FIRST_TOKENS: u64 = 1024;

/// Greatest number of classes: a table of pairs of classes takes 128 MiB.
pub const MOST_CLASSES: usize = 4096;

/// Longest name of a class in bytes: 1,000 characters of any alphabet.
const MOST_CLASS_BYTES: usize = 4000;

impl CacheMeta {
    /// Refuses an invalid description.
    pub(crate) fn check(&self, dir: &Path) -> Result<(), Error> {
        self.check_sizes(dir)?;
        let structures = self.mask_classes.iter().map(|class| class.name.as_str());
        let values: Vec<String> = self
            .mask_classes
            .iter()
            .map(|class| class.value.to_string())
            .collect();
        check_classes("class", self.classes.iter().map(String::as_str))
            .and_then(|()| check_classes("class in masks", structures))
            .and_then(|()| check_classes("value in masks", values.iter().map(String::as_str)))
            .and_then(|()| description::check(self))
            .and_then(|()| self.part.map_or(Ok(()), |part| part.check(self.samples)))
            .map_err(|invalid| Error::Shard {
                path: dir.join("meta.json"),
                what: invalid.what,
                found: invalid.found,
                expected: invalid.expected,
            })
    }

    /// Checks the sizes by which a reader allocates memory.
    fn check_sizes(&self, dir: &Path) -> Result<(), Error> {
        let layers = u64::from(self.layers);
        check_size(dir, "number of layers", layers, 1..=1024)?;
        if !self.shapes.is_empty() {
            let shapes = self.shapes.len() as u64;
            check_size(dir, "number of shapes", shapes, layers..=layers)?;
        }
        let side = u64::from(self.image_size);
        check_size(dir, "image size", side, 1..=LARGEST_INPUT)?;
        (1..=self.layers).try_for_each(|layer| self.shape(layer).check(dir))?;
        let first = u64::from(self.first_tokens);
        check_size(
            dir,
            "tokens before the patches",
            first,
            0..=MOST_FIRST_TOKENS,
        )?;
        for layer in 1..=self.layers {
            let width = self.shape(layer).patch as usize;
            let bytes = (2 * self.positions(layer)).saturating_mul(width) as u64;
            check_size(dir, "bytes of tokens", bytes, 1..=i32::MAX as u64)?;
        }
        let (width, last) = (u64::from(self.width), self.shape(1));
        check_size(dir, "the last shape's cls", last.cls.into(), width..=width)?;
        for (found, expected) in last.grid.into_iter().zip(self.grid.map(u64::from)) {
            check_size(
                dir,
                "the last shape's grid",
                found.into(),
                expected..=expected,
            )?;
        }
        Ok(())
    }
}

impl LayerShape {
    fn check(&self, dir: &Path) -> Result<(), Error> {
        let [rows, columns] = self.grid.map(u64::from);
        let patch = u64::from(self.patch);
        let bytes = (2 * patch).saturating_mul(rows * columns);
        check_size(dir, "width of a CLS token", self.cls.into(), 1..=1 << 20)?;
        check_size(dir, "width of a patch token", patch, 1..=1 << 20)?;
        check_size(dir, "bytes of patch tokens", bytes, 1..=i32::MAX as u64)
    }
}

/// Refuses too many classes, duplicate names and names that are too long for messages.
fn check_classes<'a>(
    what: &'static str,
    names: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), Invalid> {
    if names.len() > MOST_CLASSES {
        let (found, expected) = (names.len().to_string(), format!("at most {MOST_CLASSES}"));
        return Err(Invalid::new("number of classes", found, expected));
    }
    let mut known = HashSet::new();
    for name in names {
        if name.len() > MOST_CLASS_BYTES {
            let expected = format!("at most {MOST_CLASS_BYTES}");
            return Err(Invalid::new(what, counted(name.len(), "byte"), expected));
        }
        if !known.insert(name) {
            let found = format!("`{}` twice", printable(name));
            return Err(Invalid::new(what, found, "each once"));
        }
    }
    Ok(())
}

/// Checks number, length and uniqueness of class names.
///
/// # Errors
///
/// A description of the fault.
pub fn check_class_names(names: &[String]) -> Result<(), String> {
    check_classes("class", names.iter().map(String::as_str)).map_err(|invalid| invalid.to_string())
}

fn check_size(
    dir: &Path,
    what: &'static str,
    found: u64,
    allowed: RangeInclusive<u64>,
) -> Result<(), Error> {
    if allowed.contains(&found) {
        return Ok(());
    }
    let (least, most) = allowed.into_inner();
    Err(Error::Shard {
        path: dir.join("meta.json"),
        what,
        found: found.to_string(),
        expected: if least == most {
            most.to_string()
        } else {
            format!("{least} to {most}")
        },
    })
}
