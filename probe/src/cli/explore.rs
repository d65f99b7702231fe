//! Commands that look at caches and write pictures.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cache::CacheReader;
use clap::Args;
use common::files::write_whole;
use common::text::{printable, shown};

use super::over::{Progress, among, bar};
use super::{Caches, Form, Format, Outcome, places};
use crate::Error;
use crate::error::FileError;
use crate::progress::Steps;
use crate::record::{self, Appended, RunRecord};
use crate::table::{Grid, markdown};

/// Options of all commands that look at caches.
#[derive(Debug, Args)]
pub(super) struct LookArgs {
    #[command(flatten)]
    pub(super) caches: Caches,
    /// Folder for run records, and for the files that the command writes
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Threads [default: one per core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    #[command(flatten)]
    form: Form,
}

/// What a command shows of a cache.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The setting, and numbers of the whole cache, for people.
    pub(super) lines: Vec<String>,
    /// Tables with their headings.
    pub(super) tables: Vec<(String, Grid)>,
    /// All of it as one table, for CSV.
    pub(super) data: Grid,
}

impl LookArgs {
    /// Looks at each selected cache, which gives a record and what is printed. A second look at the same writes the
    /// same files again, and no second record. A cache that cannot be looked at is skipped with a warning.
    pub(super) fn each(
        &self,
        out: &mut impl Write,
        messages: &mut impl Write,
        look: impl Fn(&CacheReader, &Path, &Steps<'_>) -> Result<(RunRecord, View), Error> + Sync,
    ) -> Result<Outcome> {
        self.form.check()?;
        if cache::is_in_bucket(&self.runs) {
            bail!(
                "`--runs {}`: results are written to a folder, not to a bucket\nhint: give a folder, and copy it when the command has finished",
                shown(&self.runs)
            );
        }
        let pool = rayon::ThreadPoolBuilder::new();
        let pool = pool.num_threads(self.threads.map_or(0, usize::from));
        let pool = pool.build().context("cannot start the threads")?;
        let caches = self.caches.find()?;
        let (mut records, mut data) = (Vec::new(), Grid::default());
        let bar = bar(caches.len());
        for path in &caches {
            bar.set_message(shown(path));
            let found = self.caches.open(path).map_err(Error::from);
            let found = found.and_then(|(reader, told)| {
                let progress = Progress::new(&bar, among(&bar, path));
                let looked = || progress.steps(|steps| look(&reader, &self.runs, steps));
                Ok((pool.install(looked)?, told))
            });
            bar.suspend(|| -> Result<()> {
                match found {
                    Ok(((record, view), told)) => {
                        if let Some(told) = told {
                            writeln!(messages, "{told}")?;
                        }
                        let record = self.keep(record)?;
                        if self.form.format == Format::Csv {
                            data.append(view.data.beside(&[
                                ("dataset", &record.dataset),
                                ("model", &record.model),
                                ("image_size", &record.image_size.to_string()),
                            ]));
                        } else {
                            if self.form.format == Format::Text && !records.is_empty() {
                                writeln!(out)?;
                            }
                            self.print(&record, &view, out)?;
                        }
                        records.push(record);
                    }
                    Err(error) => writeln!(messages, "warning: {error}")?,
                }
                Ok(())
            })?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        if self.form.format == Format::Csv && !records.is_empty() {
            self.form.print(&data, out)?;
        }
        places::tell(&self.runs, &records, messages)?;
        Ok(match records.len() {
            0 => Outcome::Nothing,
            done if done < caches.len() => Outcome::Skipped,
            _ => Outcome::Done,
        })
    }

    fn keep(&self, mut record: RunRecord) -> Result<RunRecord, Error> {
        self.caches.typed.mark(&mut record);
        let probe = record.probe.clone();
        let kept = match record::append(&self.runs, &probe, vec![record.clone()], false)? {
            Appended::Known(kept) | Appended::New(kept) => kept,
        };
        Ok(kept.into_iter().next().unwrap_or(record))
    }

    fn print(&self, record: &RunRecord, view: &View, out: &mut impl Write) -> io::Result<()> {
        if self.form.format == Format::Json {
            return writeln!(out, "{}", record.to_json());
        }
        // Paragraphs of Markdown are apart.
        let is_markdown = self.form.format == Format::Markdown;
        let between = if is_markdown { "\n" } else { "" };
        let cache = format!("{} {}@{}", record.dataset, record.model, record.image_size);
        for line in [&cache].into_iter().chain(&view.lines) {
            writeln!(out, "{}{between}", self.paragraph(line))?;
        }
        for (heading, table) in &view.tables {
            if !is_markdown {
                writeln!(out)?;
            }
            if !heading.is_empty() {
                writeln!(out, "{}{between}", self.paragraph(heading))?;
            }
            self.form.print(table, out)?;
            write!(out, "{between}")?;
        }
        Ok(())
    }

    /// A line of text in the form of the output.
    fn paragraph(&self, line: &str) -> String {
        if self.form.format == Format::Markdown {
            markdown(&printable(line))
        } else {
            printable(line).into_owned()
        }
    }
}

/// Writes a file of text below the folder of records.
pub(super) fn save(path: &Path, text: &str) -> Result<(), Error> {
    write_whole(path, text.as_bytes()).map_err(|error| {
        Error::File(FileError::Output {
            path: path.into(),
            source: error.into(),
        })
    })
}
