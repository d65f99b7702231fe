//! A table with a line per image: CSV or Parquet.

mod columns;
mod label_rows;
mod labels;
mod paths;
mod rows;
mod token_rows;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cache::MaskClass;
use common::counted;

use self::columns::Columns;
pub(crate) use self::label_rows::{LabelRow, LabelRows};
use self::labels::LabelSource;
pub(super) use self::labels::{NO_NEGATIVE, is_negative, is_several, parse_state};
use self::rows::Lister;
pub(crate) use self::token_rows::{TokenLines, TokenTable, TokenTableOptions, plain_slice};
use super::examples::examples;
use super::files::{file_in, find_root, read_text};
use super::missing::Gap;
use super::names::refuse_long;
use super::table::{Table, is_blank, read_mask_classes, whole_numbers};
use super::{Dataset, DatasetCard, folder_name, natural_order};
use crate::Error;

/// File names of manifests.
const NAMES: [&str; 3] = ["manifest.csv", "manifest.csv.gz", "manifest.parquet"];

/// Reads the manifest `root`, or `manifest.csv` or `manifest.parquet` in the folder `root`, and checks that
/// every file exists; skips missing files if `options.allow_missing` is set.
///
/// Labels come from `options.label_columns`, else from the column `labels` (`a|b`), else from
/// `label` (one class; with a bar in its name only if a list of the classes has it), else, if there
/// is a column `mask`, from the masks. Images and masks are in the manifest's folder, or in
/// `options.image_root`.
pub(super) fn open(root: &Path, card: &DatasetCard) -> Result<Dataset, Error> {
    let path = manifest_in(root, card.options.manifest.as_deref())?;
    let table = Table::read(&path)?;
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let columns = Columns::find(&table, &card.options)?;
    if table.rows.is_empty() {
        return Err(no_rows(path));
    }
    table.refuse_line_breaks(&columns.used())?;
    let mask_classes = mask_classes(folder, &columns, card)?;
    let classes = classes(folder, &table, &columns, &mask_classes, card)?;
    let image_root = card.options.image_root.as_ref();
    let image_root = image_root.map_or(folder.to_path_buf(), |images| folder.join(images));
    let listed = Lister::new(&table, &columns, &classes, &image_root)?.list()?;
    let mut warnings = table.warnings(&columns.used());
    warnings.extend(columns.labels.warning(&table));
    warnings.extend(listed.repeated);
    if let Some(gap) = gap(&listed.missing) {
        let left = listed.samples.len();
        warnings.push(gap.settle(&path, card.options.allow_missing, left)?);
    }
    Ok(Dataset {
        name: folder_name(folder),
        mask_classes,
        warnings,
        labels_from_mask: columns.labels == LabelSource::Mask,
        ..Dataset::new(&image_root, columns.labels.task(), classes, listed.samples)
    })
}

fn manifest_in(root: &Path, named: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(named) = named {
        return Ok(root.join(named));
    }
    if root.is_file() {
        return Ok(root.to_path_buf());
    }
    for name in NAMES {
        if let Some(file) = file_in(root, name)? {
            return Ok(file);
        }
    }
    let expected = "`manifest.csv` or `manifest.parquet`";
    let below = find_root(root, expected, |folder| {
        NAMES.iter().any(|name| folder.join(name).is_file())
    });
    Err(Error::Layout {
        path: root.to_path_buf(),
        found: "no manifest".to_owned(),
        expected: expected.to_owned(),
        hint: match below {
            Ok(folder) => format!("pass the folder it is in, `{}`", folder.display()),
            Err(_) => "pass the manifest itself or the folder it is in".to_owned(),
        },
    })
}

/// The files that rows name and that are not there.
fn gap(missing: &[String]) -> Option<Gap> {
    let (count, names) = (missing.len(), examples(missing));
    (count > 0).then(|| Gap {
        found: format!("{} missing ({names})", counted(count, "file")),
        expected: "every file that the manifest names".to_owned(),
        hint: "paths are relative to the folder of the manifest, or to `--image-root`; copy the \
               files there or delete their lines"
            .to_owned(),
    })
}

fn no_rows(path: PathBuf) -> Error {
    Error::Layout {
        path,
        found: "a header and no rows".to_owned(),
        expected: "a row for each image".to_owned(),
        hint: "check that the manifest is complete".to_owned(),
    }
}

fn mask_classes(
    folder: &Path,
    columns: &Columns,
    card: &DatasetCard,
) -> Result<Vec<MaskClass>, Error> {
    if !card.mask_classes.is_empty() {
        return Ok(card.mask_classes.clone());
    }
    if let Some(path) = file_in(folder, "classes.csv")? {
        return read_mask_classes(&path);
    }
    if columns.labels == LabelSource::Mask {
        return Err(Error::Layout {
            path: folder.to_path_buf(),
            found: "masks and neither labels nor `classes.csv`".to_owned(),
            expected: "`classes.csv` with the columns `value` and `name` beside the manifest"
                .to_owned(),
            hint: "write a line for each value in the masks, for instance `1,liver`".to_owned(),
        });
    }
    Ok(Vec::new())
}

/// The classes in order: as in `classes.txt` if there is one, else in natural order.
fn classes(
    folder: &Path,
    table: &Table,
    columns: &Columns,
    mask_classes: &[MaskClass],
    card: &DatasetCard,
) -> Result<Vec<String>, Error> {
    match &columns.labels {
        LabelSource::Nothing => Ok(Vec::new()),
        LabelSource::Columns(_) => Ok(card.options.label_columns.clone()),
        LabelSource::Mask => Ok(mask_classes.iter().map(|c| c.name.clone()).collect()),
        LabelSource::Single(column) | LabelSource::Joined(column) => {
            if !card.classes.is_empty() {
                return Ok(card.classes.clone());
            }
            let listed = listed_classes(folder)?;
            Ok(listed.unwrap_or_else(|| found_classes(table, &columns.labels, *column)))
        }
    }
}

/// The classes that `classes.txt` names.
fn listed_classes(folder: &Path) -> Result<Option<Vec<String>>, Error> {
    let file = file_in(folder, "classes.txt")?;
    file.map(|path| read_class_names(&path)).transpose()
}

/// The classes in a column, in natural order.
fn found_classes(table: &Table, source: &LabelSource, column: usize) -> Vec<String> {
    let cells = table.rows.iter().map(|row| &row.cells[column]);
    let names = cells.flat_map(|cell| source.names(cell));
    let names: BTreeSet<&str> = names.filter(|name| !is_several(name)).collect();
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    names.sort_by(|a, b| natural_order(a, b));
    names
}

fn read_class_names(path: &Path) -> Result<Vec<String>, Error> {
    let text = read_text(path)?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty());
    let mut names: Vec<String> = lines.map(str::to_owned).collect();
    refuse_long(path, &names)?;
    if let Some(blank) = names.iter().find(|name| is_blank(name)) {
        return Err(Error::Layout {
            path: path.to_path_buf(),
            found: format!("a class named `{blank}`"),
            expected: "names that do not stand for a blank cell".to_owned(),
            hint: "give the class another name, here and in the manifest".to_owned(),
        });
    }
    whole_numbers(&mut names);
    Ok(names)
}

#[cfg(test)]
mod tests;
