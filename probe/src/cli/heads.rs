//! Heads named on the command line: by file, by run, or the latest.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, bail};
use common::similar;
use common::text::{printable, shown};

use super::caches::listed;
use crate::record::{self, RunRecord};

/// The word for the head that was recorded last.
const LATEST: &str = "latest";

/// The way to scores of a backbone that `scripts/finetune` has trained, or an earlier version of `probe adapt`.
const BY_RECORD: &str = "its record names the scores of `test` as `predictions`; `probe linear` and `probe adapt` save heads";

/// A head or decoder: a file, the name of the run that saved it or a beginning of the name, or `latest`.
#[derive(Clone, Debug)]
pub(super) struct HeadArg(String);

impl FromStr for HeadArg {
    type Err = std::convert::Infallible;

    fn from_str(word: &str) -> Result<HeadArg, Self::Err> {
        Ok(HeadArg(word.to_owned()))
    }
}

impl HeadArg {
    /// The file of the head, if need be by the records in `runs`; then the name of its run goes to `messages`.
    pub(super) fn file(&self, runs: &Path, messages: &mut impl Write) -> Result<PathBuf> {
        let (word, file) = (&self.0, Path::new(&self.0));
        let is_path = word.contains(['/', '\\']) || word.ends_with(".safetensors");
        if is_path || file.exists() {
            if holds_blocks(file) {
                bail!(
                    "`{}` belongs to trained blocks of a backbone, with which `probe adapt` saves another head\nhint: give the name of the run; what `scripts/finetune` trains is not applied",
                    shown(file)
                );
            }
            return Ok(file.into());
        }
        if !runs.is_dir() {
            bail!(
                "`{}`: no such file, and no folder `{}` with runs of this name\nhint: give the folder of the run records with --runs",
                printable(word),
                shown(runs)
            );
        }
        let (records, _) = record::read_all(runs)?;
        let (with, without): (Vec<_>, Vec<_>) = records.iter().partition(|record| {
            record
                .head
                .as_ref()
                .is_some_and(|head| runs.join(head).is_file())
        });
        let found = if word == LATEST {
            with.iter().copied().max_by_key(|record| time_of(record))
        } else {
            named(&with, word)?
        };
        let found = found.and_then(|record| Some((record, record.head.as_ref()?)));
        match found {
            Some((record, head)) => {
                let (name, setting) = (printable(&record.name), printable(&record.setting));
                writeln!(messages, "head        {name} ({setting})")?;
                Ok(runs.join(head))
            }
            None => Err(missing(word, runs, &with, &without)),
        }
    }
}

/// Whether a file or folder is of the trained blocks that `probe adapt` and `scripts/finetune` save with their head.
fn holds_blocks(file: &Path) -> bool {
    let folder = if file.is_dir() {
        Some(file)
    } else {
        file.parent()
    };
    let has = |name: &str| folder.is_some_and(|folder| folder.join(name).is_file());
    has("head.safetensors") && (has("adapter_model.safetensors") || has("model.safetensors"))
}

/// The record of this name or with a name that begins so; the chosen one of several of an evaluation.
///
/// # Errors
///
/// If it may be one of several.
fn named<'a>(records: &[&'a RunRecord], word: &str) -> Result<Option<&'a RunRecord>> {
    let tests: [fn(&RunRecord, &str) -> bool; 3] = [
        |record, word| record.name == word,
        |record, word| record.run() == word,
        |record, word| record.name.starts_with(word),
    ];
    let matching = |is: &fn(&RunRecord, &str) -> bool| -> Vec<&'a RunRecord> {
        let records = records.iter().copied();
        records.filter(|record| is(record, word)).collect()
    };
    let mut matching = tests.iter().map(matching);
    let found = matching.find(|found| !found.is_empty()).unwrap_or_default();
    let is_one_run = found.iter().all(|record| record.key == found[0].key);
    if found.len() > 1 && is_one_run {
        let chosen = found.iter().filter(|record| record.chosen == Some(true));
        if let [chosen] = chosen.collect::<Vec<_>>()[..] {
            return Ok(Some(chosen));
        }
    }
    if found.len() > 1 {
        let names: Vec<String> = found
            .iter()
            .map(|record| format!("`{}`", record.name))
            .collect();
        bail!(
            "`{}` is the beginning of {} runs with a head\nhint: give more of the name: {}",
            printable(word),
            found.len(),
            listed(&names)
        );
    }
    Ok(found.first().copied())
}

/// The error that no run of this name has a head.
fn missing(word: &str, runs: &Path, with: &[&RunRecord], without: &[&RunRecord]) -> anyhow::Error {
    let headless = without.iter().find(|record| record.name.starts_with(word));
    if let Some(record) = headless.filter(|record| record.params.contains_key("adapter")) {
        let name = printable(&record.name);
        return anyhow::anyhow!(
            "`{name}` trained the backbone and saved no head for `probe predict`\nhint: {BY_RECORD}"
        );
    }
    let what = match headless {
        Some(record) => format!("the run `{}` has no head", printable(&record.name)),
        None if word == LATEST => "no run has a head".to_owned(),
        None => "no run with a head has this name, nor is there such a file".to_owned(),
    };
    let names = with.iter().map(|record| record.name.as_str());
    let hint = match similar(word, names) {
        _ if with.is_empty() => {
            "`probe linear`, `probe logreg`, `probe ridge`, `probe adapt` and `probe segment` save heads"
                .to_owned()
        }
        Some(meant) => format!("did you mean `{}`?", printable(meant)),
        None => {
            let names: Vec<String> = with
                .iter()
                .map(|record| format!("`{}`", record.name))
                .collect();
            format!("there is {}", listed(&names))
        }
    };
    let word = printable(word);
    anyhow::anyhow!("`{word}`: {what} in `{}`\nhint: {hint}", shown(runs))
}

/// When the evaluation ended, as text that sorts by time, and whether the result is not one of those passed over.
fn time_of(record: &RunRecord) -> (&str, bool) {
    // A fraction of a second may follow.
    let time = record.time.trim_end_matches('Z');
    (time, record.chosen != Some(false))
}
