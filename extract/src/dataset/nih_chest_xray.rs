//! NIH ChestX-ray14: 112,120 frontal chest radiographs, with findings mined from reports.

mod lists;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use cache::{Labels, Split, Task};
use common::counted;
use imaging::read::Source;

use self::lists::Lists;
use super::examples::examples;
use super::files::{Tree, file_in, find_root, is_image, name};
use super::missing::Gap;
use super::table::{Row, Table};
use super::{Dataset, DatasetCard, Sample, id_of, natural_order};
use crate::Error;

/// The findings, in alphabetical order.
const FINDINGS: [&str; 14] = [
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
];

/// Label of an image without findings.
const NO_FINDING: &str = "No Finding";

/// Names of the table in copies of the dataset.
const OTHER_TABLES: [&str; 2] = ["sample_labels.csv", "labels.csv"];

const EXPECTED: &str = "`Data_Entry_2017_v2020.csv` (or `Data_Entry_2017.csv`, \
                        `sample_labels.csv`, `labels.csv`) with images below it, for instance \
                        `images/00000001_000.png` or `images_001/images/00000001_000.png`";

/// Lists the images that the table names, in any folder below it.
///
/// They are in the order of the official lists, train before test, then those in no list: the study's val
/// samples are the last in the list of train. Uses `classes`, `options.no_finding` and
/// `options.allow_missing`.
pub(super) fn open(root: &Path, card: &DatasetCard) -> Result<Dataset, Error> {
    let root = &find_root(root, EXPECTED, |folder| table_in(folder).is_some())?;
    let table = table_in(root).unwrap_or_else(|| root.join("Data_Entry_2017_v2020.csv"));
    let tree = Tree::walk_for(root, is_needed)?;
    let table = Table::read(&table)?;
    let classes = classes(root, card)?;
    let lines = lines(&table, &classes)?;
    let lists = Lists::read(root)?;
    let images = tree.by_name();
    let (samples, absent) = samples(&lines, &images, &lists);

    let named: HashSet<&str> = lines.iter().map(|line| line.image).collect();
    let unnamed = names(&tree, |image| !named.contains(name(image).as_str()));
    let doubles = names(&tree, |image| images.get(&name(image)) != Some(&image));
    let mut warnings = lists.warnings(&named, &samples);
    warnings.extend(tree.warning());
    if !doubles.is_empty() {
        let (count, names) = (doubles.len(), examples(&doubles));
        let count = counted(count, "image");
        warnings.push(format!(
            "skipped {count} with the name of another ({names})"
        ));
    }
    if let Some(gap) = Gap::of_tables(&[&table.path], &absent, &unnamed, &tree) {
        warnings.push(gap.settle(root, card.options.allow_missing, samples.len())?);
    }
    Ok(Dataset {
        warnings,
        ..Dataset::new(root, Task::MultiLabel, classes, samples)
    })
}

/// The table in a folder; of several, the newest.
fn table_in(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let tables = entries.map(|entry| entry.path()).filter(|path| {
        let name = name(path);
        name.starts_with("Data_Entry") && name.ends_with(".csv")
    });
    // `Data_Entry_2017.csv` sorts before `Data_Entry_2017_v2020.csv`.
    tables.max().or_else(|| {
        let mut others = OTHER_TABLES.into_iter();
        let other = others.find(|name| has_images_column(folder, name));
        other.map(|name| folder.join(name))
    })
}

/// True if it is a table of this dataset; `labels.csv` is a name that others use as well. A link
/// that leads out counts as one, for the walk to refuse it.
fn has_images_column(folder: &Path, name: &str) -> bool {
    let Ok(path) = file_in(folder, name) else {
        return true;
    };
    let table = path.and_then(|path| Table::read(&path).ok());
    table.is_some_and(|table| matches!(table.column(&["Image Index"]), Ok(Some(_))))
}

/// True if a path may be that of an image, of a table or of a list.
fn is_needed(path: &Path) -> bool {
    let name = name(path);
    let is_table = name.starts_with("Data_Entry") || OTHER_TABLES.contains(&&*name);
    is_table || name.ends_with("_list.txt") || is_image(path)
}

/// The card's classes, else all findings; `No Finding` at its alphabetical place if the option says
/// so.
fn classes(root: &Path, card: &DatasetCard) -> Result<Vec<String>, Error> {
    let mut classes = if card.classes.is_empty() {
        FINDINGS.map(str::to_owned).to_vec()
    } else {
        card.classes.clone()
    };
    if let Some(unknown) = classes.iter().find(|class| finding(class).is_none()) {
        return Err(Error::Layout {
            path: root.to_path_buf(),
            found: format!("the class `{unknown}` in the dataset's card"),
            expected: format!("`{}` or `{NO_FINDING}`", FINDINGS.join("`, `")),
            hint: "correct `classes` in the card".to_owned(),
        });
    }
    if card.options.no_finding && !classes.iter().any(|class| class == NO_FINDING) {
        let place = classes.iter().position(|class| class.as_str() > NO_FINDING);
        classes.insert(place.unwrap_or(classes.len()), NO_FINDING.to_owned());
    }
    Ok(classes)
}

/// The finding that a word means, in the spelling of [`FINDINGS`], or [`NO_FINDING`].
fn finding(word: &str) -> Option<&'static str> {
    let word = word.replace('_', " ");
    if word.eq_ignore_ascii_case("Infiltrate") {
        return Some("Infiltration");
    }
    let mut known = FINDINGS.into_iter().chain([NO_FINDING]);
    known.find(|known| known.replace('_', " ").eq_ignore_ascii_case(&word))
}

/// A line of the table.
struct Line<'a> {
    image: &'a str,
    patient: Option<String>,
    labels: Labels,
}

impl Line<'_> {
    fn sample(&self, image: &Path) -> Sample {
        let folder = image.parent().map(name);
        Sample {
            id: id_of(Path::new(self.image)),
            patient: self.patient.clone(),
            split: folder.and_then(|folder| Split::parse(&folder)),
            labels: self.labels.clone(),
            ..Sample::of_image(Source::File(image.to_path_buf()))
        }
    }
}

fn lines<'a>(table: &'a Table, classes: &[String]) -> Result<Vec<Line<'a>>, Error> {
    let image = table.required(&["Image Index"])?;
    let findings = table.required(&["Finding Labels"])?;
    let patient = table.required(&["Patient ID"])?;
    if table.rows.is_empty() {
        return Err(Error::Layout {
            path: table.path.clone(),
            found: "a header and no lines".to_owned(),
            expected: "a line for each image".to_owned(),
            hint: "download the table again".to_owned(),
        });
    }
    let mut seen = HashSet::new();
    let line = |row: &'a Row| {
        let name = row.cells[image].rsplit('/').next().unwrap_or_default();
        if name.is_empty() || !seen.insert(name) {
            return Err(table.bad_cell(row, image, "the name of an image, each in one line only"));
        }
        let patient = Some(row.cells[patient].to_owned());
        Ok(Line {
            image: name,
            patient: patient.filter(|patient| !patient.is_empty()),
            labels: labels(table, row, findings, classes)?,
        })
    };
    table.rows.iter().map(line).collect()
}

/// The findings in a cell, between bars; a blank cell says nothing of any.
fn labels(table: &Table, row: &Row, column: usize, classes: &[String]) -> Result<Labels, Error> {
    let cell = &row.cells[column];
    if cell.is_empty() {
        return Ok(Labels::Multi(vec![None; classes.len()]));
    }
    let mut states = vec![Some(0); classes.len()];
    for word in cell.split('|').map(str::trim) {
        let known = finding(word).ok_or_else(|| {
            let known = FINDINGS.join("`, `");
            table.bad_cell(
                row,
                column,
                format!("`{known}` or `{NO_FINDING}`, with `|` between"),
            )
        })?;
        let place = classes
            .iter()
            .position(|class| finding(class) == Some(known));
        if let Some(state) = place.and_then(|place| states.get_mut(place)) {
            *state = Some(1);
        }
    }
    Ok(Labels::Multi(states))
}

/// The lines that have an image as samples, in the order of the lists, and those that have none.
fn samples(
    lines: &[Line],
    images: &HashMap<String, &PathBuf>,
    lists: &Lists,
) -> (Vec<Sample>, Vec<String>) {
    let (mut placed, mut absent) = (Vec::with_capacity(lines.len()), Vec::new());
    for line in lines {
        match images.get(line.image) {
            Some(image) => placed.push((lists.place(line.image), line.sample(image))),
            None => absent.push(line.image.to_owned()),
        }
    }
    let rank = |place: Option<(usize, Split)>| place.map_or(usize::MAX, |(rank, _)| rank);
    placed.sort_by(|(a, x), (b, y)| {
        let order = rank(*a).cmp(&rank(*b));
        order.then_with(|| natural_order(&x.id, &y.id))
    });
    let samples = placed.into_iter().map(|(place, sample)| Sample {
        split: place.map(|(_, split)| split).or(sample.split),
        ..sample
    });
    (samples.collect(), absent)
}

/// The paths of some of the images.
fn names(tree: &Tree, is_meant: impl Fn(&PathBuf) -> bool) -> Vec<String> {
    let images = tree.files.iter().filter(|file| is_image(file));
    let meant = images.filter(|image| is_meant(image));
    meant.map(|image| image.display().to_string()).collect()
}

#[cfg(test)]
mod tests;
