//! `probe study`.

mod cells;
mod commands;
mod estimate;
mod extract;
mod finetune;
mod jobs;
mod keys;
mod label;
mod print;
mod run;
mod signals;
mod work;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cache::CacheReader;
use clap::Args;
use terminal::folded;

use self::cells::{Cell, Records, State, cells};
use self::commands::parse;
use self::extract::{Extract, Root};
use self::jobs::Evaluation;
use super::{Form, Format, Outcome, places};
use crate::record::RunRecord;
use crate::study::{BUILT_IN, BuiltIn, StudyFile};

/// Arguments of `probe study`.
#[derive(Debug, Args)]
pub(super) struct Study {
    /// TOML file of a study, or the name of a built-in one
    #[arg(value_name = "FILE", required_unless_present = "list")]
    study: Option<String>,
    /// List the built-in studies
    #[arg(long, conflicts_with = "study")]
    list: bool,
    /// Print the file of the study, as a start for your own
    #[arg(long)]
    print: bool,
    /// Print the cells with their state and the estimated time, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Make missing caches and folds with the program `extract`
    #[arg(long)]
    extract: bool,
    /// Run fine-tuning with the script `scripts/finetune` of a checkout, which needs the images
    #[arg(long)]
    finetune: bool,
    /// Folder of a dataset's download, for `extract`; may be given several times
    #[arg(long, value_name = "DATASET=DIR")]
    root: Vec<Root>,
    /// Folder of caches, or a place in a bucket: `s3://BUCKET/FOLDER`, `gs://…`, `az://…`
    #[arg(
        long,
        value_name = "DIR",
        env = "SLICEBANK_CACHE",
        default_value = "embeddings"
    )]
    cache: PathBuf,
    /// Folder to append run records to
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Repeat evaluations that are already recorded
    #[arg(long)]
    force: bool,
    /// Threads [default: one per core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    #[command(flatten)]
    form: Form,
}

impl Study {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        self.form.check()?;
        let Some(name) = &self.study else {
            for study in BUILT_IN {
                let title = StudyFile::parse(study.name, study.text)?.title;
                let line = format!("{}: {title}", study.name);
                writeln!(out, "{}", folded(&line, 2))?;
            }
            return Ok(Outcome::Done);
        };
        let built_in = BuiltIn::find(name).filter(|_| !Path::new(name).is_file());
        let study = match built_in {
            Some(built_in) => StudyFile::parse(built_in.name, built_in.text)?,
            None => StudyFile::read(Path::new(name))?,
        };
        if self.print {
            let text =
                built_in.map_or_else(|| std::fs::read_to_string(name), |of| Ok(of.text.into()));
            write!(out, "{}", text?)?;
            return Ok(Outcome::Done);
        }
        let parsed = parse(name, &study, self)?;
        let mut evaluations = Evaluation::all(&parsed, messages)?;
        self.evaluate(&study, &mut evaluations, out, messages)
    }

    fn evaluate(
        &self,
        study: &StudyFile,
        evaluations: &mut Vec<Evaluation<'_>>,
        out: &mut impl Write,
        messages: &mut impl Write,
    ) -> Result<Outcome> {
        for evaluation in &*evaluations {
            evaluation.job.output.check()?;
        }
        let caches = self.caches()?;
        let extract = Extract::new(study, &self.cache, &caches, &self.root)?;
        let mut records = Records::read(&self.runs, evaluations, messages)?;
        let mut all = cells(study, evaluations, &caches, &records, self.force);
        estimate::estimate(&mut all, evaluations, &records);
        if self.dry_run {
            tell_of_options(study, &all, evaluations, messages)?;
            print::plan(&all, evaluations, &extract, &self.form, (out, messages))?;
            return Ok(Outcome::Done);
        }
        if self.extract {
            // Folds are made of caches, so these come first.
            for is_meant in [State::lacks_cache, State::lacks_fold] {
                let lacking = all.iter().filter(|cell| is_meant(&cell.state));
                if extract.make(lacking, evaluations, messages)? {
                    all = cells(study, evaluations, &self.caches()?, &records, self.force);
                }
            }
            estimate::estimate(&mut all, evaluations, &records);
        }
        if self.finetune {
            let lacking = all.iter().filter(|cell| cell.state.lacks_training());
            if extract.make(lacking, evaluations, messages)? {
                records = Records::read(&self.runs, evaluations, &mut std::io::sink())?;
                all = cells(study, evaluations, &self.caches()?, &records, false);
                estimate::estimate(&mut all, evaluations, &records);
            }
        }
        let threads = self.threads.map_or(0, usize::from);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().context("cannot start the threads")?;
        tell_of_options(study, &all, evaluations, messages)?;
        run::run(&mut all, evaluations, &pool, messages)?;
        let pooled = run::pool_folds(study, &all, evaluations, &self.runs, self.force, messages)?;
        if self.form.format == Format::Json {
            print::json(&all, &pooled, out)?;
        } else {
            print::results(&all, evaluations, &pooled, &self.form, out)?;
        }
        let found = all.iter().flat_map(Cell::records).cloned();
        let found: Vec<RunRecord> = found
            .chain(pooled.into_iter().map(|of| of.record))
            .collect();
        if !found.is_empty() {
            places::tell(&self.runs, &found, messages)?;
        }
        print::rest(&all, evaluations, &extract, messages)?;
        Ok(outcome(&all))
    }

    fn caches(&self) -> Result<Vec<PathBuf>> {
        if !cache::is_in_bucket(&self.cache) && !self.cache.is_dir() {
            return Ok(Vec::new());
        }
        Ok(CacheReader::find(&self.cache)?)
    }
}

/// Tells of `[options]` that have no effect on any cache.
fn tell_of_options(
    study: &StudyFile,
    all: &[Cell],
    evaluations: &[Evaluation<'_>],
    messages: &mut impl Write,
) -> Result<()> {
    for option in study.options.keys() {
        let has = |cell: &Cell| evaluations[cell.evaluation].has_shared(option);
        if !all.is_empty() && !all.iter().any(has) {
            let text = "has no effect on any cache of the study\nhint: leave it out";
            writeln!(messages, "warning: `options.{option}` {text}")?;
        }
    }
    Ok(())
}

fn outcome(all: &[Cell]) -> Outcome {
    let done = all
        .iter()
        .filter(|cell| matches!(cell.state, State::Done(_)));
    match done.count() {
        0 => Outcome::Nothing,
        done if done == all.len() => Outcome::Done,
        _ => Outcome::Skipped,
    }
}
