//! Running a probe over many caches.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cache::CacheReader;
use common::text::{printable, shown};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Caches, Format, Outcome, Output, places};
use crate::Error;
use crate::evaluate::{Evaluated, Settings};
use crate::progress::Steps;
use crate::record::{self, Appended, Recorded, RunRecord};
use crate::table::{self, Grid};

/// Maximum number of classes that are shown without being asked for.
const CLASSES: usize = 20;

/// Time between lines of progress without a bar.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Results for a cache under one protocol.
enum Found {
    Known(Vec<RunRecord>),
    New(Results),
}

/// Results of an evaluation that are not yet recorded.
pub(super) type Results = Vec<Box<dyn Keep>>;

/// The key of an evaluation.
type Key<'a> = dyn Fn(&CacheReader, &Settings) -> Result<String, Error> + Sync + 'a;

/// An evaluation.
type Evaluate<'a> =
    dyn Fn(&CacheReader, &Settings, &Progress<'_>) -> Result<Results, Error> + Sync + 'a;

/// Called with a record.
type OnRecord<'a> = dyn Fn(&RunRecord) + Sync + 'a;

/// Result of an evaluation.
pub(super) trait Keep: Send {
    /// Writes the files of the result and returns its record; results of one key differ by `number`.
    fn keep(self: Box<Self>, runs: &Path, number: usize) -> Result<RunRecord, Error>;
}

/// Progress of an evaluation: beside the bar on a terminal, elsewhere an occasional line.
pub(super) struct Progress<'a> {
    bar: &'a ProgressBar,
    /// What is evaluated, before each step; blank for a single cache.
    before: String,
    last: Mutex<Instant>,
}

/// A probe over the selected caches, under the selected protocols.
pub(super) struct Job<'a> {
    pub(super) caches: &'a Caches,
    pub(super) output: &'a Output,
    /// Name of the probe, and of its file of records.
    pub(super) probe: &'a str,
    pub(super) settings: Vec<Settings>,
    pub(super) key: Box<Key<'a>>,
    pub(super) evaluate: Box<Evaluate<'a>>,
    /// Called with each record once it is in the file of records.
    pub(super) recorded: Option<Box<OnRecord<'a>>>,
}

/// The table of results, and the lines beneath it.
pub(super) struct Shown {
    pub(super) table: fn(&[RunRecord]) -> Grid,
    pub(super) notes: fn(&[RunRecord]) -> Vec<String>,
}

/// Results of one type as results of any.
pub(super) fn results<K: Keep + 'static>(found: Vec<K>) -> Results {
    let boxed = found.into_iter().map(|one| Box::new(one) as Box<dyn Keep>);
    boxed.collect()
}

impl Job<'_> {
    /// Evaluates, records and prints. Results that are already recorded are only printed; a cache that cannot
    /// be evaluated is skipped with a warning.
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let shown = Shown {
            table: table::summary,
            notes: table::notes,
        };
        self.run_shown(&shown, out, messages)
    }

    /// The same with another table.
    pub(super) fn run_shown(
        &self,
        shown_as: &Shown,
        out: &mut impl Write,
        messages: &mut impl Write,
    ) -> Result<Outcome> {
        self.output.check()?;
        let threads = self.output.threads.map_or(0, usize::from);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().context("cannot start the threads")?;
        let caches = self.caches.find()?;
        let per_class = self.output.per_class || caches.len() == 1;
        let known = record::read(&self.output.runs, self.probe)?;
        for complaint in known.complaints() {
            writeln!(messages, "warning: {complaint}")?;
        }
        let bar = bar(caches.len());
        let (mut all, mut classes) = (Vec::new(), Vec::new());
        let mut outcome = Outcome::Done;
        for path in &caches {
            bar.set_message(format!("{} {}", self.probe, shown(path)));
            match self.cache(path, &known, &pool, &bar) {
                Ok(found) => {
                    let records = bar.suspend(|| self.keep_all(path, found, messages))?;
                    if self.output.form.format == Format::Json {
                        bar.suspend(|| print_json(&records, out))?;
                    }
                    if per_class {
                        classes.extend(table::per_class(&records));
                    }
                    all.extend(records);
                }
                Err(error) => {
                    bar.suspend(|| writeln!(messages, "warning: {error}"))?;
                    outcome = Outcome::Skipped;
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        if all.is_empty() {
            return Ok(Outcome::Nothing);
        }
        self.print(&all, &classes, shown_as, out)?;
        places::tell(&self.output.runs, &all, messages)?;
        Ok(outcome)
    }

    /// Prints tables; records have been printed already.
    fn print(
        &self,
        all: &[RunRecord],
        classes: &[Grid],
        shown: &Shown,
        out: &mut impl Write,
    ) -> Result<()> {
        let form = &self.output.form;
        match form.format {
            Format::Json => {}
            Format::Csv => form.print(&table::values(all), out)?,
            Format::Text | Format::Markdown => {
                for table in classes {
                    if table.rows() > CLASSES && !self.output.per_class {
                        writeln!(out, "(--per-class shows {} classes)", table.rows())?;
                    } else {
                        form.print(table, out)?;
                    }
                    writeln!(out)?;
                }
                form.print(&(shown.table)(all), out)?;
                for note in (shown.notes)(all) {
                    form.print_note(&note, out)?;
                }
            }
        }
        Ok(())
    }

    /// Evaluates and records.
    pub(super) fn evaluate(
        &self,
        reader: &CacheReader,
        settings: &Settings,
        pool: &rayon::ThreadPool,
        progress: &Progress<'_>,
    ) -> Result<Vec<RunRecord>, Error> {
        let found = pool.install(|| (self.evaluate)(reader, settings, progress))?;
        let (Appended::Known(records) | Appended::New(records)) = self.keep(found)?;
        self.tell_recorded(&records);
        Ok(records)
    }

    /// Results for a cache under each protocol.
    fn cache(
        &self,
        path: &Path,
        known: &Recorded,
        pool: &rayon::ThreadPool,
        bar: &ProgressBar,
    ) -> Result<Vec<Found>, Error> {
        let progress = Progress::new(bar, among(bar, path));
        let (reader, told) = self.caches.open(path)?;
        told.iter().for_each(|text| progress.tell(text));
        let found = self.settings.iter().map(|settings| {
            let key = pool.install(|| (self.key)(&reader, settings))?;
            let known = known.of(&key).filter(|_| !self.output.force);
            Ok(match known {
                Some(records) => Found::Known(records.to_vec()),
                None => Found::New(pool.install(|| (self.evaluate)(&reader, settings, &progress))?),
            })
        });
        found.collect()
    }

    /// Writes new results, lists known ones, and prints the warnings of both.
    fn keep_all(
        &self,
        path: &Path,
        found: Vec<Found>,
        messages: &mut impl Write,
    ) -> Result<Vec<RunRecord>> {
        let (mut records, path) = (Vec::new(), shown(path));
        for (found, settings) in found.into_iter().zip(&self.settings) {
            let what = format!("{} {}", self.probe, settings.protocol.name());
            let first = records.len();
            let found = match found {
                Found::Known(before) => Appended::Known(before),
                Found::New(evaluated) => self.keep(evaluated)?,
            };
            match found {
                Appended::Known(before) => {
                    let hint = "is recorded already; --force evaluates it again";
                    writeln!(messages, "`{path}`: {what} {hint}")?;
                    records.extend(before);
                }
                Appended::New(new) => records.extend(new),
            }
            self.tell_recorded(&records[first..]);
            let warnings = records[first..].iter().flat_map(|record| &record.warnings);
            for warning in warnings.collect::<BTreeSet<_>>() {
                let warning = printable(warning);
                writeln!(messages, "warning: `{path}`: {what}: {warning}")?;
            }
        }
        Ok(records)
    }

    fn tell_recorded(&self, records: &[RunRecord]) {
        if let Some(recorded) = &self.recorded {
            records.iter().for_each(recorded);
        }
    }

    /// Writes the results of an evaluation; the records last and together.
    fn keep(&self, evaluated: Results) -> Result<Appended, Error> {
        let runs = &self.output.runs;
        let numbered = evaluated.into_iter().enumerate();
        let records = numbered.map(|(number, evaluated)| evaluated.keep(runs, number));
        let mut records = records.collect::<Result<Vec<_>, _>>()?;
        for record in &mut records {
            self.caches.typed.mark(record);
        }
        record::append(runs, self.probe, records, self.output.force)
    }
}

impl Keep for Evaluated {
    fn keep(self: Box<Self>, runs: &Path, number: usize) -> Result<RunRecord, Error> {
        let Evaluated {
            mut record,
            predictions,
            classes,
            head,
        } = *self;
        let name = record.file_name(number);
        if record.spread.is_none() {
            let file = format!("predictions/{name}.parquet");
            predictions.write(&runs.join(&file), &classes)?;
            record.predictions = Some(file);
            if let Some(head) = head {
                let file = format!("heads/{name}.safetensors");
                head.write(&runs.join(&file))?;
                record.head = Some(file);
            }
        }
        Ok(record)
    }
}

impl Keep for RunRecord {
    fn keep(self: Box<Self>, _: &Path, _: usize) -> Result<RunRecord, Error> {
        Ok(*self)
    }
}

impl<'a> Progress<'a> {
    pub(super) fn new(bar: &'a ProgressBar, before: String) -> Progress<'a> {
        Progress {
            bar,
            before,
            last: Mutex::new(Instant::now()),
        }
    }

    /// Prints a line.
    pub(super) fn tell(&self, text: &str) {
        // A closed standard error loses the message.
        let tell = || drop(writeln!(terminal::messages(), "{text}"));
        self.bar.suspend(tell);
    }

    /// Runs what tells of its steps.
    pub(super) fn steps<T>(&self, run: impl FnOnce(&Steps<'_>) -> T) -> T {
        let show = |share: Option<f64>, text: &str| self.show(share, text);
        run(&Steps::new(&show))
    }

    /// Shows the current step.
    pub(super) fn say(&self, text: &str) {
        self.show(None, text);
    }

    /// Shows the current step, and the share of it that is done.
    fn show(&self, share: Option<f64>, text: &str) {
        let text = format!("{}{text}", self.before);
        if !self.bar.is_hidden() {
            let share = share.map(drawn).unwrap_or_default();
            let text = format!("{share}{}", printable(&text));
            return self.bar.set_message(text);
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= BETWEEN_LINES {
            *last = Instant::now();
            self.tell(&text);
        }
    }
}

/// The path of a cache among several, before the steps of its evaluation.
pub(super) fn among(bar: &ProgressBar, path: &Path) -> String {
    let several = bar.length().map(|_| format!("{}: ", shown(path)));
    several.unwrap_or_default()
}

/// A share as a bar.
fn drawn(share: f64) -> String {
    const LENGTH: usize = 16;
    let done = (share * LENGTH as f64) as usize;
    format!(
        "{}{} ",
        "█".repeat(done.min(LENGTH)),
        "░".repeat(LENGTH - done.min(LENGTH))
    )
}

/// A bar of caches that are done; of a single one, what is done with it.
pub(super) fn bar(caches: usize) -> ProgressBar {
    let bar = match caches {
        0 | 1 => ProgressBar::new_spinner(),
        _ => ProgressBar::new(caches as u64),
    };
    let style = match caches {
        0 | 1 => ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}"),
        _ => ProgressStyle::with_template("{bar:30} {pos}/{len} caches, {elapsed}\n{wide_msg}"),
    };
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn print_json(records: &[RunRecord], out: &mut impl Write) -> std::io::Result<()> {
    let mut lines = records.iter().map(RunRecord::to_json);
    lines.try_for_each(|line| writeln!(out, "{line}"))
}
