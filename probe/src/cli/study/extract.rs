//! Caches and folds that are missing, and the `extract` commands that make them.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result};
use cache::CacheName;
use common::did_you_mean;
use common::text::printable;
use toml::Table;

use super::cells::{Cell, State};
use super::commands::words_of;
use super::finetune;
use super::jobs::Evaluation;
use crate::Error;
use crate::study::{Folds, StudyFile};

/// Options of `extract` that the study gives itself.
const GIVEN: [&str; 3] = ["model", "name", "cache"];

/// What stands for a folder that is not known.
const UNKNOWN: &str = "DIR";

/// The folder of a dataset's download.
#[derive(Clone, Debug)]
pub(super) struct Root {
    dataset: String,
    dir: String,
}

impl FromStr for Root {
    type Err = String;

    fn from_str(word: &str) -> Result<Root, String> {
        let (dataset, dir) = word
            .split_once('=')
            .filter(|(dataset, dir)| !dataset.is_empty() && !dir.is_empty())
            .ok_or("expected DATASET=DIR")?;
        Ok(Root {
            dataset: dataset.into(),
            dir: dir.into(),
        })
    }
}

/// How missing caches are made.
pub(super) struct Extract {
    cache: PathBuf,
    /// Datasets of the caches.
    cached: BTreeSet<String>,
    /// Options of `extract` by dataset, `root` included.
    options: BTreeMap<String, Table>,
    /// Options of all datasets.
    all: Table,
}

/// A command that makes what cells lack.
pub(super) struct Missing {
    /// `extract`, or a script.
    program: &'static str,
    /// Words after it.
    words: Vec<String>,
    /// Whether a folder is to be filled in.
    lacks_root: bool,
    /// Whether it replaces a split that another rule made.
    pub(super) replaces: bool,
    /// Number of cells.
    pub(super) cells: usize,
}

impl Missing {
    /// The command as one types it.
    pub(super) fn typed(&self) -> String {
        let words = self.words.iter().map(|word| quoted(word));
        let words: Vec<String> = words.collect();
        format!("{} {}", self.program, words.join(" "))
    }

    /// Whether it trains, and does not make a cache or a fold.
    pub(super) fn is_training(&self) -> bool {
        self.program == finetune::SCRIPT
    }
}

impl Extract {
    /// # Errors
    ///
    /// [`Error::Study`] for options that the study gives itself, and values that are no options.
    pub(super) fn new(
        study: &StudyFile,
        cache: &Path,
        caches: &[PathBuf],
        roots: &[Root],
    ) -> Result<Extract, Error> {
        let mut options = study.extract.of.clone();
        let own = study.probes.iter().flat_map(|entry| study.datasets(entry));
        let own: Vec<&String> = own.collect();
        let failed = |(problem, hint): (String, String)| Error::Study {
            file: "extract".into(),
            problem,
            hint,
        };
        for Root { dataset, dir } in roots {
            if !own.contains(&dataset) {
                let problem = format!("`--root {dataset}=…`: the study has no such dataset");
                return Err(failed((problem, "see `datasets` of its file".into())));
            }
            let of = options.entry(dataset.clone()).or_default();
            of.insert("root".into(), dir.clone().into());
        }
        for table in options.values().chain([&study.extract.all]) {
            if let Some(given) = GIVEN.iter().find(|given| table.contains_key(**given)) {
                let problem = format!("`{given}` cannot be given here");
                return Err(failed((problem, "the study gives it itself".into())));
            }
            words_of(table).map_err(failed)?;
        }
        Ok(Extract {
            cache: cache.into(),
            cached: caches
                .iter()
                .filter_map(|path| Some(CacheName::of(path)?.dataset))
                .collect(),
            options,
            all: study.extract.all.clone(),
        })
    }

    /// The commands that make what cells lack, in the order of the cells.
    pub(super) fn missing<'c>(
        &self,
        cells: impl IntoIterator<Item = &'c Cell>,
        evaluations: &[Evaluation<'_>],
    ) -> Vec<Missing> {
        let cells: Vec<&Cell> = cells.into_iter().collect();
        let lacking = cells.iter().filter(|cell| cell.state.lacks_cache());
        let of_adaptation = lacking.filter(|cell| evaluations[cell.evaluation].is_adaptation());
        // A cache is made once, with the tokens that one of its cells needs.
        let with_residual: BTreeSet<String> = of_adaptation.map(|cell| cell.cache()).collect();
        let mut found: Vec<Missing> = Vec::new();
        for cell in cells {
            let replaces = matches!(cell.state, State::OtherFold(_));
            let words = match &cell.state {
                State::NoCache | State::NoTokens => {
                    self.extraction(cell, with_residual.contains(&cell.cache()))
                }
                State::ByScript(path) => self.training(cell, path, &evaluations[cell.evaluation]),
                State::NoFold(folds) | State::OtherFold(folds) => {
                    let fold = evaluations[cell.evaluation].fold.unwrap_or_default();
                    let mut words = self.split(&cell.dataset, *folds, fold);
                    words.extend(replaces.then(|| "--force".to_owned()));
                    words
                }
                _ => continue,
            };
            let program = if cell.state.lacks_training() {
                finetune::SCRIPT
            } else {
                "extract"
            };
            match found.iter_mut().find(|missing| missing.words == words) {
                Some(missing) => missing.cells += 1,
                None => found.push(Missing {
                    program,
                    lacks_root: words.iter().any(|word| word == UNKNOWN),
                    words,
                    replaces,
                    cells: 1,
                }),
            }
        }
        found
    }

    /// Datasets that have neither a cache nor a card, and what to say about each. Cards are those of the program
    /// `extract`; without it, all datasets count as known.
    pub(super) fn unknown<'c>(&self, cells: &'c [Cell]) -> BTreeMap<&'c str, String> {
        let has_card = |dataset: &str| {
            let own = self.options.get(dataset);
            own.is_some_and(|own| own.contains_key("dataset")) || self.all.contains_key("dataset")
        };
        let lacking = cells.iter().filter(|cell| cell.state.lacks_cache());
        let lacking = lacking.map(|cell| cell.dataset.as_str());
        let lacking: BTreeSet<&str> = lacking
            .filter(|dataset| !self.cached.contains(*dataset) && !has_card(dataset))
            .collect();
        let cards = if lacking.is_empty() {
            Vec::new()
        } else {
            cards()
        };
        if cards.is_empty() {
            return BTreeMap::new();
        }
        let is_unknown = |dataset: &&str| !cards.iter().any(|card| card == dataset);
        let names: Vec<String> = self.cached.iter().chain(&cards).cloned().collect();
        let unknown = lacking.into_iter().filter(is_unknown).map(|dataset| {
            let meant = did_you_mean(dataset, &names);
            let name = printable(dataset);
            let text = format!("no cache and no dataset of `extract` is called `{name}`{meant}\nhint: `extract datasets` lists datasets; for your own images, give `dataset` in `[extract.{name}]`");
            (dataset, text)
        });
        unknown.collect()
    }

    /// The words that make the cache of a cell; with the tokens from which blocks are adapted if `is_residual`.
    fn extraction(&self, cell: &Cell, is_residual: bool) -> Vec<String> {
        let mut options = self.all.clone();
        let own = self.options.get(&cell.dataset);
        options.extend(own.cloned().unwrap_or_default());
        if is_residual {
            options.insert("tokens".into(), "residual".into());
        }
        let mut words = vec!["--model".to_owned(), cell.model.clone()];
        let card = options.remove("dataset");
        let card = card.as_ref().and_then(toml::Value::as_str);
        words.extend([
            "--dataset".to_owned(),
            card.unwrap_or(&cell.dataset).to_owned(),
        ]);
        if card.is_some() {
            words.extend(["--name".to_owned(), cell.dataset.clone()]);
        }
        let root = options.remove("root");
        let root = root.as_ref().and_then(toml::Value::as_str);
        words.extend(["--root".to_owned(), root.unwrap_or(UNKNOWN).to_owned()]);
        if !cell.size.is_empty() {
            words.extend(["--image-size".to_owned(), cell.size.clone()]);
        }
        words.extend(words_of(&options).unwrap_or_default());
        words.extend(self.cache_words());
        words
    }

    /// The words by which the script trains a cell on the images of a cache.
    fn training(&self, cell: &Cell, path: &Path, evaluation: &Evaluation<'_>) -> Vec<String> {
        let own = self.options.get(&cell.dataset);
        let of = |name: &str| own.and_then(|own| own.get(name)?.as_str());
        let mut words = vec![path.display().to_string()];
        words.extend([
            "--root".to_owned(),
            of("root").unwrap_or(UNKNOWN).to_owned(),
        ]);
        if let Some(card) = of("dataset") {
            words.extend(["--dataset".to_owned(), card.to_owned()]);
        }
        let settings = &evaluation.job.settings[cell.setting];
        words.push(format!("--protocol={}", settings.protocol.name()));
        words.extend(finetune::words(&evaluation.entry.options).unwrap_or_default());
        let runs = &evaluation.job.output.runs;
        if runs != Path::new("runs") {
            words.push(format!("--runs={}", runs.display()));
        }
        words.extend(evaluation.job.output.force.then(|| "--force".to_owned()));
        words
    }

    fn split(&self, dataset: &str, folds: Folds, fold: u32) -> Vec<String> {
        let mut words: Vec<String> = ["split", "--dataset", dataset, "--rule"]
            .map(str::to_owned)
            .to_vec();
        words.push(folds.rule(fold));
        words.extend(["--name".to_owned(), Folds::name(fold)]);
        words.extend(self.cache_words());
        words
    }

    /// `--cache`, unless it is the default.
    fn cache_words(&self) -> Vec<String> {
        if self.cache == Path::new("embeddings") {
            return Vec::new();
        }
        vec!["--cache".into(), self.cache.display().to_string()]
    }

    /// Runs the commands for what cells lack. Returns whether one of them succeeded.
    pub(super) fn make<'c>(
        &self,
        cells: impl IntoIterator<Item = &'c Cell>,
        evaluations: &[Evaluation<'_>],
        messages: &mut impl Write,
    ) -> Result<bool> {
        let mut made = false;
        for missing in self.missing(cells, evaluations) {
            let typed = missing.typed();
            let typed = printable(&typed);
            if missing.lacks_root {
                // The list of what is missing follows at the end.
                continue;
            }
            writeln!(messages, "$ {typed}")?;
            let (program, hint) = if missing.is_training() {
                (
                    finetune::SCRIPT.into(),
                    "run the study in a checkout of the project, which has this script",
                )
            } else {
                (program(), "install `extract` beside `probe`")
            };
            let run = Command::new(&program)
                .args(&missing.words)
                .stdout(Stdio::from(io::stderr()))
                .status();
            let status = run
                .with_context(|| format!("`{}`: cannot run it\nhint: {hint}", program.display()))?;
            if status.success() {
                made = true;
            } else {
                writeln!(messages, "warning: `{typed}` failed ({status})")?;
            }
        }
        Ok(made)
    }
}

/// The program `extract` beside this one, else that in the search path.
fn program() -> PathBuf {
    let name = format!("extract{}", env::consts::EXE_SUFFIX);
    let beside = env::current_exe().ok();
    let beside = beside.and_then(|own| Some(own.parent()?.join(&name)));
    beside
        .filter(|path| path.is_file())
        .unwrap_or_else(|| name.into())
}

/// Names of the datasets that `extract` knows; none if the program cannot be run.
fn cards() -> Vec<String> {
    let mut command = Command::new(program());
    command.args(["datasets", "--format", "json"]);
    let output = command.stdin(Stdio::null()).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let name = |line: &str| {
        let card: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(card.get("name")?.as_str()?.to_owned())
    };
    text.lines().filter_map(name).collect()
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (word, expected) in [
            ("--split=fold0", "--split=fold0"),
            ("my data", "'my data'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$(x)", "'$(x)'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn a_root_needs_a_dataset_and_a_folder() {
        assert!(
            "amos=data/a=b"
                .parse::<Root>()
                .is_ok_and(|root| root.dir == "data/a=b")
        );
        for word in ["amos", "=data", "amos="] {
            assert!(word.parse::<Root>().is_err(), "{word}");
        }
    }
}
