//! The command line.

use std::io::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cache::{CacheReader, Split};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::evaluate::{self, Evaluation, KnnOptions};
use crate::table;

/// Measures cached tokens on a CPU
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Classify by nearest neighbours: a softmax vote, or ML-kNN for multi-label datasets
    Knn(Knn),
}

#[derive(Debug, Args)]
struct Knn {
    #[command(flatten)]
    caches: Caches,
    /// Numbers of neighbours, all answered from one search
    #[arg(long, value_delimiter = ',', default_value = "200", value_parser = neighbours)]
    k: Vec<usize>,
    /// Block whose CLS tokens are used, 1 for the last
    #[arg(long, default_value_t = 1)]
    layer: u32,
    /// Temperature of the softmax vote
    #[arg(long, default_value_t = 0.07, value_parser = temperature)]
    temperature: f64,
    /// Leave a training slice out of its own neighbours (ML-kNN)
    #[arg(long)]
    exclude_self: bool,
    /// Splits to fit on [default: train+val, or train with --eval val]
    #[arg(long)]
    train: Option<Fit>,
    /// Split to evaluate
    #[arg(long, default_value = "test")]
    eval: Eval,
    /// How samples are split: a name that `extract split` gave [default: as they were extracted]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Print AUROC per class for every cache, not only for a single one
    #[arg(long)]
    per_class: bool,
    #[command(flatten)]
    output: Output,
}

/// Which caches to run on.
#[derive(Debug, Args)]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fit {
    Train,
    #[value(name = "train+val")]
    TrainVal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Eval {
    Test,
    Val,
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
    }
}

impl Knn {
    fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let options = self.options()?;
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(self.output.threads.map_or(0, usize::from));
        let pool = pool.build().context("cannot start the threads")?;
        let caches = self.caches.find()?;
        let per_class = self.per_class || caches.len() == 1;
        let (mut all, mut classes) = (Vec::new(), Vec::new());
        let mut outcome = Outcome::Done;
        for path in &caches {
            match pool.install(|| evaluate(path, &options)) {
                Ok((evaluations, names)) => {
                    self.record(&evaluations, out)?;
                    classes.extend(per_class.then(|| table::per_class(&evaluations, &names)));
                    all.extend(evaluations);
                }
                Err(error) => {
                    writeln!(messages, "warning: {error}")?;
                    outcome = Outcome::Skipped;
                }
            }
        }
        if all.is_empty() {
            return Ok(Outcome::Nothing);
        }
        if self.output.format == Format::Text {
            print(out, &all, &classes)?;
        }
        Ok(outcome)
    }

    fn options(&self) -> Result<KnnOptions> {
        let eval = match self.eval {
            Eval::Test => Split::Test,
            Eval::Val => Split::Val,
        };
        let train = match (self.train, self.eval) {
            (Some(Fit::TrainVal), Eval::Val) => {
                bail!("`--train train+val` holds `--eval val`\nhint: give --train train")
            }
            (Some(Fit::TrainVal) | None, Eval::Test) => vec![Split::Train, Split::Val],
            _ => vec![Split::Train],
        };
        Ok(KnnOptions {
            ks: distinct(&self.k),
            layer: self.layer,
            temperature: self.temperature,
            exclude_self: self.exclude_self,
            train,
            eval,
            split_name: self.split.clone(),
        })
    }

    fn record(&self, evaluations: &[Evaluation], out: &mut impl Write) -> Result<()> {
        for evaluation in evaluations {
            evaluation.record.append(&self.output.runs)?;
            if self.output.format == Format::Json {
                writeln!(out, "{}", evaluation.record.to_json())?;
            }
        }
        Ok(())
    }
}

fn evaluate(
    path: &Path,
    options: &KnnOptions,
) -> Result<(Vec<Evaluation>, Vec<String>), crate::Error> {
    let reader = CacheReader::open(path)?;
    Ok((
        evaluate::knn(&reader, options)?,
        reader.meta().classes.clone(),
    ))
}

fn print(out: &mut impl Write, all: &[Evaluation], classes: &[String]) -> Result<()> {
    for table in classes {
        writeln!(out, "{table}\n")?;
    }
    writeln!(out, "{}", table::summary(all))?;
    Ok(())
}

impl Caches {
    fn find(&self) -> Result<Vec<PathBuf>> {
        let mut caches = CacheReader::find(&self.cache)?;
        caches.retain(|path| self.wants(path));
        if caches.is_empty() {
            bail!(
                "`{}`: no cache of {} here\nhint: run `extract` first, or name another folder with --cache",
                self.cache.display(),
                self.wanted()
            );
        }
        Ok(caches)
    }

    fn wanted(&self) -> String {
        let any = |word: &Option<String>| word.clone().unwrap_or_else(|| "*".into());
        let size = any(&self.image_size.map(|size| size.to_string()));
        format!("`{}/{}@{size}`", any(&self.dataset), any(&self.model))
    }

    /// Whether the folder `…/DATASET/MODEL@SIZE` is asked for.
    fn wants(&self, path: &Path) -> bool {
        let name = |path: Option<&Path>| Some(path?.file_name()?.to_string_lossy().into_owned());
        let (Some(dataset), Some(folder)) = (name(path.parent()), name(Some(path))) else {
            return false;
        };
        let (model, size) = folder.rsplit_once('@').unwrap_or((&folder, ""));
        self.dataset
            .as_ref()
            .is_none_or(|wanted| *wanted == dataset)
            && self.model.as_ref().is_none_or(|wanted| wanted == model)
            && self
                .image_size
                .is_none_or(|wanted| wanted.to_string() == size)
    }
}

fn distinct(ks: &[usize]) -> Vec<usize> {
    let mut found = Vec::new();
    ks.iter().for_each(|k| {
        if !found.contains(k) {
            found.push(*k);
        }
    });
    found
}

fn neighbours(word: &str) -> Result<usize, String> {
    const RANGE: RangeInclusive<usize> = 1..=1_000_000;
    let k = word.parse().ok().filter(|k| RANGE.contains(k));
    k.ok_or_else(|| {
        format!(
            "expected a whole number from {} to {}",
            RANGE.start(),
            RANGE.end()
        )
    })
}

fn temperature(word: &str) -> Result<f64, String> {
    let value = word
        .parse()
        .ok()
        .filter(|value: &f64| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| "expected a number above 0".into())
}

#[cfg(test)]
mod tests;
