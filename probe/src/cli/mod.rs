//! The command line.

mod compare;
mod effect;
mod few_shot;
mod given;
mod knn;
mod linear;
mod logreg;
mod over;
mod predict;
mod segment;
mod settings;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use cache::CacheReader;
use clap::{Args, Parser, Subcommand, ValueEnum};
use common::similar;
use common::text::{printable, shown};

use self::compare::Compare;
use self::few_shot::FewShot;
use self::knn::Knn;
use self::linear::Linear;
use self::logreg::Logreg;
use self::predict::Predict;
use self::segment::Segment;

/// Names that a message lists.
const LISTED: usize = 12;

/// Measures cached tokens on a CPU
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Classify by nearest neighbours: a vote, or ML-kNN for multi-label datasets
    Knn(Knn),
    /// Classify by linear heads, of which a grid is trained and the best on `val` is taken
    Linear(Linear),
    /// Classify by logistic regression, the penalty with the best result on `val`
    Logreg(Logreg),
    /// Classify after fitting on few examples
    FewShot(FewShot),
    /// Segment by a decoder over patch tokens, of which several are trained and the best on `val` is taken
    Segment(Segment),
    /// Apply a saved head to other caches
    Predict(Predict),
    /// Test whether backbones differ on the same cases, from the scores that other commands have kept
    Compare(Compare),
}

/// Which caches to run on.
#[derive(Clone, Debug, Args)]
struct Caches {
    /// Folder of caches
    #[arg(
        long,
        value_name = "DIR",
        env = "SLICEBANK_CACHE",
        default_value = "embeddings"
    )]
    cache: PathBuf,
    /// Only this backbone
    #[arg(long)]
    model: Option<String>,
    /// Only this dataset
    #[arg(long)]
    dataset: Option<String>,
    /// Only this input size in pixels
    #[arg(long)]
    image_size: Option<u32>,
}

#[derive(Debug, Args)]
struct Output {
    /// Folder to append run records to
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Evaluate again what is recorded already
    #[arg(long)]
    force: bool,
    /// Print a table by class for every cache, not only for a single one
    #[arg(long)]
    per_class: bool,
    /// Threads [default: one per core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// What to print: tables, or one run record a line
    #[arg(long, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// How a run ended that could be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done.
    Done,
    /// Some caches were left out, with a warning each.
    Skipped,
    /// All caches were left out, with a warning each.
    Nothing,
}

/// Carries out a command: data goes to `out`, messages to `messages`.
///
/// # Errors
///
/// If there is no cache to run on, a run record cannot be written, or printing fails.
pub fn run(cli: Cli, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
    match cli.command {
        Command::Knn(knn) => knn.run(out, messages),
        Command::Linear(linear) => linear.run(out, messages),
        Command::Logreg(logreg) => logreg.run(out, messages),
        Command::FewShot(few_shot) => few_shot.run(out, messages),
        Command::Segment(segment) => segment.run(out, messages),
        Command::Predict(predict) => predict.run(out, messages),
        Command::Compare(compare) => compare.run(out, messages),
    }
}

impl Output {
    /// Refuses a table where none is printed.
    fn check(&self) -> Result<()> {
        if self.per_class && self.format == Format::Json {
            bail!(
                "`--per-class` has no effect: `--format json` prints records, which have all classes\nhint: leave it out"
            );
        }
        Ok(())
    }
}

impl Caches {
    fn find(&self) -> Result<Vec<PathBuf>> {
        let all = CacheReader::find(&self.cache)?;
        let wanted = all.iter().filter(|path| self.wants(path));
        let wanted: Vec<PathBuf> = wanted.cloned().collect();
        if wanted.is_empty() {
            bail!(
                "`{}`: no cache of {} here\nhint: {}",
                shown(&self.cache),
                self.wanted(),
                self.hint(&all)
            );
        }
        Ok(wanted)
    }

    /// What was meant, and what there is.
    fn hint(&self, all: &[PathBuf]) -> String {
        if all.is_empty() {
            return "run `extract` first, or name another folder with --cache".into();
        }
        let named: Vec<[String; 3]> = all.iter().filter_map(|path| names(path)).collect();
        let size = self.image_size.map(|size| size.to_string());
        let wanted = [
            ("dataset", &self.dataset),
            ("model", &self.model),
            ("image size", &size),
        ];
        let unknown = wanted
            .into_iter()
            .enumerate()
            .filter_map(|(at, (what, word))| {
                unknown(
                    what,
                    word.as_ref()?,
                    named.iter().map(|names| names[at].as_str()),
                )
            });
        let unknown: String = unknown.map(|unknown| unknown + "; ").collect();
        let caches: Vec<String> = named
            .iter()
            .map(|[dataset, model, size]| format!("`{dataset}/{model}@{size}`"))
            .collect();
        format!("{unknown}there is {}", listed(&caches))
    }

    fn wanted(&self) -> String {
        let any = |word: &Option<String>| word.clone().unwrap_or_else(|| "*".into());
        let size = any(&self.image_size.map(|size| size.to_string()));
        let wanted = format!("`{}/{}@{size}`", any(&self.dataset), any(&self.model));
        printable(&wanted).into_owned()
    }

    /// Whether the folder `…/DATASET/MODEL@SIZE` is asked for.
    fn wants(&self, path: &Path) -> bool {
        let Some(found) = names(path) else {
            return false;
        };
        let size = self.image_size.map(|size| size.to_string());
        let wanted = [&self.dataset, &self.model, &size].into_iter();
        wanted
            .zip(&found)
            .all(|(wanted, found)| wanted.as_ref().is_none_or(|wanted| wanted == found))
    }
}

/// Dataset, model and size of the folder `…/DATASET/MODEL@SIZE`.
fn names(path: &Path) -> Option<[String; 3]> {
    let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    let (dataset, folder) = (name(path.parent()?)?, name(path)?);
    let (model, size) = folder.rsplit_once('@').unwrap_or((&folder, ""));
    Some([dataset, model.into(), size.into()])
}

/// Says that `word` is not among the `known`, and which of them may have been meant.
fn unknown<'a>(
    what: &str,
    word: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    if known.clone().any(|known| known == word) {
        return None;
    }
    let meant = similar(word, known);
    let meant = meant.map(|meant| format!(" (did you mean `{}`?)", printable(meant)));
    let word = printable(word);
    Some(format!("no {what} `{word}`{}", meant.unwrap_or_default()))
}

/// The first names of some, on one line, and how many more there are.
fn listed(names: &[String]) -> String {
    let first = names[..names.len().min(LISTED)].join(", ");
    let first = printable(&first);
    match names.len().saturating_sub(LISTED) {
        0 => first.into_owned(),
        more => format!("{first} and {more} more"),
    }
}
