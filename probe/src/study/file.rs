//! The TOML file of a study.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::similar;
use common::text::printable;
use toml::{Table, Value};

use super::folds::{Folds, LEAST, MOST};
use crate::Error;
use crate::protocol::Protocol;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Keys of the file.
const KEYS: [&str; 8] = [
    "title",
    "models",
    "datasets",
    "protocols",
    "options",
    "folds",
    "probe",
    "extract",
];
/// Keys of a `[[probe]]` that are not options of its command.
const ENTRY_KEYS: [&str; 4] = ["name", "models", "datasets", "protocols"];

/// A study.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StudyFile {
    /// Title for people; may be empty.
    pub title: String,
    /// Names of models.
    pub models: Vec<String>,
    /// Names of datasets, as in the cache.
    pub datasets: Vec<String>,
    /// Names of protocols.
    pub protocols: Vec<String>,
    /// Options of every probe whose command has them.
    pub options: Table,
    /// Folds of datasets that are evaluated by cross-validation.
    pub folds: BTreeMap<String, Folds>,
    /// Probes with their options.
    pub probes: Vec<Entry>,
    /// Options of extractions.
    pub extract: ExtractOptions,
}

/// A `[[probe]]` of a study.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// Name of the command.
    pub name: String,
    /// Its own models; those of the study if `None`.
    pub models: Option<Vec<String>>,
    /// Its own datasets; those of the study if `None`.
    pub datasets: Option<Vec<String>>,
    /// Its own protocols; those of the study if `None`.
    pub protocols: Option<Vec<String>>,
    /// Options of the command, by their names without `--`.
    pub options: Table,
}

/// Options of the program `extract`, for caches that are missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExtractOptions {
    /// Options for all datasets.
    pub all: Table,
    /// Further options by dataset.
    pub of: BTreeMap<String, Table>,
}

/// What is wrong with a file, and what to do.
type Problem = (String, String);

impl StudyFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Error::Study`] if it cannot be read, is no TOML, or has keys or values that no study has.
    pub fn read(path: &Path) -> Result<StudyFile, Error> {
        let size = fs::metadata(path).map(|metadata| metadata.len());
        let text = match size {
            Ok(size) if size > LARGEST => Err(format!("it has {size} bytes, which is no study")),
            _ => fs::read_to_string(path).map_err(|error| error.to_string()),
        };
        let name = path.display().to_string();
        match text {
            Ok(text) => StudyFile::parse(&name, &text),
            Err(problem) => Err(Error::Study {
                file: name,
                problem: format!("cannot read it: {problem}"),
                hint: "give the TOML file of a study, or the name of a built-in one (`probe study --list`)".into(),
            }),
        }
    }

    /// Parses the text of a file, which messages call `name`.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn parse(name: &str, text: &str) -> Result<StudyFile, Error> {
        let parsed = text
            .parse::<Table>()
            .map_err(|error| {
                let at = error.span().map_or(0, |span| span.start);
                let before = text.get(..at).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                let what = format!("line {line} is not TOML: {}", error.message());
                (what, "see https://toml.io".into())
            })
            .and_then(|table| study(&table));
        parsed.map_err(|(problem, hint)| Error::Study {
            file: name.into(),
            problem,
            hint,
        })
    }

    /// Models of a probe.
    pub fn models<'a>(&'a self, entry: &'a Entry) -> &'a [String] {
        entry.models.as_ref().unwrap_or(&self.models)
    }

    /// Datasets of a probe.
    pub fn datasets<'a>(&'a self, entry: &'a Entry) -> &'a [String] {
        entry.datasets.as_ref().unwrap_or(&self.datasets)
    }

    /// Protocols of a probe.
    pub fn protocols<'a>(&'a self, entry: &'a Entry) -> &'a [String] {
        entry.protocols.as_ref().unwrap_or(&self.protocols)
    }
}

fn study(table: &Table) -> Result<StudyFile, Problem> {
    check_keys("the file", table.keys(), &KEYS)?;
    let probes = match table.get("probe") {
        Some(Value::Array(probes)) if !probes.is_empty() => probes,
        _ => {
            let hint = "add a table such as\n\n[[probe]]\nname = \"knn\"";
            return Err(("it has no `[[probe]]`".into(), hint.into()));
        }
    };
    let probes = probes.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let study = StudyFile {
        title: table
            .get("title")
            .map(text)
            .transpose()?
            .unwrap_or_default(),
        models: names(table, "models")?.unwrap_or_default(),
        datasets: names(table, "datasets")?.unwrap_or_default(),
        protocols: protocols(table)?.unwrap_or_else(|| vec![Protocol::Strict.name().into()]),
        options: table_of(table, "options")?,
        folds: folds(&table_of(table, "folds")?)?,
        probes,
        extract: extract(&table_of(table, "extract")?)?,
    };
    check_names(&study)?;
    Ok(study)
}

/// Checks that each probe has models and datasets, and that tables by dataset name datasets of the study.
fn check_names(study: &StudyFile) -> Result<(), Problem> {
    for entry in &study.probes {
        for (what, found) in [
            ("models", study.models(entry)),
            ("datasets", study.datasets(entry)),
        ] {
            if found.is_empty() {
                let hint = format!("list them, as in `{what} = [\"NAME\", \"OTHER\"]`");
                return Err((format!("the probe `{}` has no {what}", entry.name), hint));
            }
        }
    }
    let own = study.probes.iter().flat_map(|entry| study.datasets(entry));
    let known: Vec<&str> = own.map(String::as_str).collect();
    for (table, names) in [
        ("folds", study.folds.keys().collect::<Vec<_>>()),
        ("extract", study.extract.of.keys().collect()),
    ] {
        check_keys(&format!("the table `{table}`"), names.into_iter(), &known)?;
    }
    Ok(())
}

fn entry(value: &Value) -> Result<Entry, Problem> {
    let Value::Table(table) = value else {
        let hint = "write each probe as a table `[[probe]]`".to_owned();
        return Err(("`probe` is not a list of tables".into(), hint));
    };
    let name = table.get("name").map(text).transpose()?;
    let name = name.ok_or_else(|| {
        let hint = "give the name of a command, as in `name = \"knn\"`";
        ("a `[[probe]]` has no `name`".into(), hint.into())
    })?;
    let mut options = table.clone();
    options.retain(|key, _| !ENTRY_KEYS.contains(&key));
    Ok(Entry {
        name,
        models: names(table, "models")?,
        datasets: names(table, "datasets")?,
        protocols: protocols(table)?,
        options,
    })
}

fn extract(table: &Table) -> Result<ExtractOptions, Problem> {
    let mut found = ExtractOptions::default();
    for (name, value) in table {
        match value {
            Value::Table(own) => drop(found.of.insert(name.clone(), own.clone())),
            value => drop(found.all.insert(name.clone(), value.clone())),
        }
    }
    Ok(found)
}

fn folds(table: &Table) -> Result<BTreeMap<String, Folds>, Problem> {
    let of = |(name, value): (&String, &Value)| match value.as_integer() {
        Some(folds @ LEAST..=MOST) => Ok((name.clone(), Folds(folds as u32))),
        _ => Err((
            format!("`folds.{name}` is `{value}`"),
            format!("give a number of folds from {LEAST} to {MOST}"),
        )),
    };
    table.iter().map(of).collect()
}

fn protocols(table: &Table) -> Result<Option<Vec<String>>, Problem> {
    let found = names(table, "protocols")?;
    let known = [Protocol::Strict, Protocol::Paper].map(Protocol::name);
    check_keys("`protocols`", found.iter().flatten(), &known)?;
    Ok(found)
}

/// A list of names, none of them twice.
fn names(table: &Table, key: &str) -> Result<Option<Vec<String>>, Problem> {
    let Some(value) = table.get(key) else {
        return Ok(None);
    };
    let expected = || format!("give a list of names, as in `{key} = [\"NAME\", \"OTHER\"]`");
    let Value::Array(values) = value else {
        return Err((format!("`{key}` is no list"), expected()));
    };
    let mut found: Vec<String> = Vec::new();
    for value in values {
        match value {
            Value::String(name) if !name.is_empty() && !found.contains(name) => {
                found.push(name.clone());
            }
            Value::String(name) => {
                return Err((format!("`{key}` has `{name}` twice or blank"), expected()));
            }
            other => return Err((format!("`{key}` has `{other}`"), expected())),
        }
    }
    Ok(Some(found))
}

fn table_of(table: &Table, key: &str) -> Result<Table, Problem> {
    match table.get(key) {
        None => Ok(Table::new()),
        Some(Value::Table(found)) => Ok(found.clone()),
        Some(_) => Err((
            format!("`{key}` is no table"),
            format!("write `[{key}]` on a line, and its keys below"),
        )),
    }
}

fn text(value: &Value) -> Result<String, Problem> {
    let found = value.as_str().map(str::to_owned);
    found.ok_or_else(|| {
        let hint = "put it in quotation marks".to_owned();
        (format!("found `{value}`, expected text"), hint)
    })
}

/// Refuses a key that is not `known`, with a similar one.
fn check_keys<'a>(
    place: &str,
    mut keys: impl Iterator<Item = &'a String>,
    known: &[&str],
) -> Result<(), Problem> {
    match keys.find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let hint = match similar(key, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("expected one of `{}`", known.join("`, `")),
            };
            Err((
                format!("{place} has the unknown key `{}`", printable(key)),
                hint,
            ))
        }
    }
}
