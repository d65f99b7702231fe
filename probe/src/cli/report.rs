//! `probe report`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use common::counted;
use common::files::write_whole;
use common::text::{printable_lines, shown};

use super::Outcome;
use crate::report::{FIRST_STEPS, Report as Made, Study};

#[derive(Debug, Args)]
pub(super) struct Report {
    /// File to write; its ending chooses the format: html, md, csv or tex
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Format, whatever the ending
    ///
    /// A file of CSV has the table of all results. A path without an ending is a folder with a file per table.
    #[arg(long, value_name = "FORMAT")]
    format: Option<ReportFormat>,
    /// Folder of run records
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Folder of caches, for pictures of cases in the page [default: embeddings, if there is such a folder]
    #[arg(long, value_name = "DIR", env = "SLICEBANK_CACHE")]
    cache: Option<PathBuf>,
    /// Bootstrap draws of patients for tests and ranks
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    bootstrap: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    Html,
    Markdown,
    Csv,
    Latex,
}

impl Report {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let format = self.format()?;
        for (option, path) in [("--out", &self.out), ("--runs", &self.runs)] {
            if cache::is_in_bucket(path) {
                bail!(
                    "`{option} {}`: expected a path on this machine, not a bucket",
                    shown(path)
                );
            }
        }
        let caches = self.caches()?;
        let study = Study::read(&self.runs)?;
        let mut report = Made::of(&study, self.bootstrap as usize);
        // A file of CSV has the results alone.
        let is_csv_file = format == ReportFormat::Csv && self.out.extension().is_some();
        if !is_csv_file {
            report.draw((format == ReportFormat::Html).then_some(caches));
        }
        for complaint in report.complaints() {
            writeln!(messages, "warning: {}", printable_lines(complaint))?;
        }
        if study.records.is_empty() {
            writeln!(
                messages,
                "warning: `{}`: there are no run records\nhint: name another folder with --runs, or begin with these commands:",
                shown(&self.runs)
            )?;
            for command in FIRST_STEPS.lines() {
                writeln!(messages, "  {command}")?;
            }
        }
        self.write(&report, format)?;
        let records = counted(study.records.len(), "record");
        writeln!(out, "report of {records}: {}", shown(&self.out))?;
        if report.complaints().is_empty() {
            Ok(Outcome::Done)
        } else {
            Ok(Outcome::Skipped)
        }
    }

    /// The folder of caches, for the pictures of the page.
    fn caches(&self) -> Result<&Path> {
        let Some(cache) = &self.cache else {
            return Ok(Path::new("embeddings"));
        };
        if cache::is_in_bucket(cache) {
            bail!(
                "`--cache {}`: expected a folder on this machine, not a bucket\nhint: without --cache, the page has no pictures of cases",
                shown(cache)
            );
        }
        if !cache.is_dir() {
            bail!(
                "`{}`: there is no such folder\nhint: name that of the caches with --cache; without it, the page has no pictures of cases",
                shown(cache)
            );
        }
        Ok(cache)
    }

    fn write(&self, report: &Made<'_>, format: ReportFormat) -> Result<()> {
        match format {
            ReportFormat::Html => write(&self.out, &report.html()),
            ReportFormat::Markdown => write(&self.out, &report.markdown()),
            ReportFormat::Latex => write(&self.out, &report.latex()),
            ReportFormat::Csv if self.out.extension().is_some() => {
                write(&self.out, &report.csv_of_results())
            }
            ReportFormat::Csv => {
                // A header, if there are no records.
                write(&self.out.join("results.csv"), &report.csv_of_results())?;
                for (name, table) in report.csv() {
                    write(&self.out.join(format!("{name}.csv")), &table)?;
                }
                Ok(())
            }
        }
    }

    fn format(&self) -> Result<ReportFormat> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let ending = self.out.extension().and_then(|ending| ending.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("html" | "htm") => Ok(ReportFormat::Html),
            Some("md" | "markdown") => Ok(ReportFormat::Markdown),
            Some("csv") => Ok(ReportFormat::Csv),
            Some("tex") => Ok(ReportFormat::Latex),
            _ => bail!(
                "`--out {}`: the ending names no format\nhint: use .html, .md, .csv or .tex, or give --format",
                shown(&self.out)
            ),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    write_whole(path, text.as_bytes())
        .map_err(|error| anyhow::anyhow!("`{}`: cannot write it: {error}", shown(path)))
}
