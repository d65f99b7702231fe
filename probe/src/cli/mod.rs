//! The command line.

mod compare;
mod effect;
mod few_shot;
mod list;
mod over;
mod predict;
mod probe;
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
use self::list::List;
use self::predict::Predict;
use self::probe::ProbeCommand;
use self::segment::Segment;
use crate::kinds::KINDS;

/// Maximum number of names that a message lists.
const LISTED: usize = 12;

/// Evaluates cached tokens on a CPU
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Probe(ProbeCommand),
    /// Classify after fitting on few examples
    FewShot(FewShot),
    /// Segment by a decoder over patch tokens: a grid is trained, and the decoder that is best on `val` is
    /// chosen
    Segment(Segment),
    /// Apply a saved head to other caches
    Predict(Predict),
    /// Test whether backbones differ on the same cases, by the scores that other commands saved
    Compare(Compare),
    /// List the caches
    #[command(visible_alias = "list")]
    Ls(List),
}

/// Caches to run on.
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
    /// Repeat evaluations that are already recorded
    #[arg(long)]
    force: bool,
    /// Print a table by class for each of several caches
    #[arg(long)]
    per_class: bool,
    /// Threads [default: one per core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Output: tables, or one run record per line
    #[arg(long, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Outcome of a command that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All caches were evaluated.
    Done,
    /// Some caches were skipped, with a warning each.
    Skipped,
    /// All caches were skipped, with a warning each.
    Nothing,
}

/// Runs a command: data go to `out`, messages to `messages`.
///
/// # Errors
///
/// If there is no cache to run on, a run record cannot be written, or printing fails.
pub fn run(cli: Cli, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
    match cli.command {
        Command::Probe(probe) => probe.run(out, messages),
        Command::FewShot(few_shot) => few_shot.run(out, messages),
        Command::Segment(segment) => segment.run(out, messages),
        Command::Predict(predict) => predict.run(out, messages),
        Command::Compare(compare) => compare.run(out, messages),
        Command::Ls(list) => list.run(out),
    }
}

/// Names of all probes: those of their commands, and of heads of `few-shot`.
pub fn probe_names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

impl Output {
    /// Checks that `--per-class` is not given without tables.
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

    /// Similar names, and the caches that exist.
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

    /// Whether the folder `…/DATASET/MODEL@SIZE` is selected.
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

/// Message that `word` is not among the `known`, with a similar one; `None` if it is.
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

/// The first [`LISTED`] names on one line, and the number of the others.
fn listed(names: &[String]) -> String {
    let first = names[..names.len().min(LISTED)].join(", ");
    let first = printable(&first);
    match names.len().saturating_sub(LISTED) {
        0 => first.into_owned(),
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
