//! The form in which commands print tables.

use std::io::{self, Write};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use common::text::printable;
use terminal::folded;

use crate::table::{Grid, markdown};

/// Form of the output.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Form {
    /// Output format; `json` prints one object per line
    #[arg(long, default_value = "text")]
    pub(super) format: Format,
    /// Show all columns of tables
    #[arg(long)]
    pub(super) wide: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
    Csv,
    Markdown,
}

impl Form {
    /// Checks that `--wide` is not given for a format that has all columns.
    pub(super) fn check(&self) -> Result<()> {
        if self.wide && self.format != Format::Text {
            bail!(
                "`--wide` has no effect: only `--format text` leaves out columns\nhint: leave it out"
            );
        }
        Ok(())
    }

    /// Prints a table, except as JSON, which has records of its own.
    pub(super) fn print(&self, table: &Grid, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        match self.format {
            Format::Text => writeln!(out, "{}", table.text(self.wide)),
            Format::Csv => writeln!(out, "{}", table.csv()),
            Format::Markdown => writeln!(out, "{}", table.markdown()),
            Format::Json => Ok(()),
        }
    }

    /// Prints a sentence below a table: in lines of a terminal, or as a paragraph of Markdown.
    pub(super) fn print_note(&self, note: &str, out: &mut impl Write) -> io::Result<()> {
        let note = printable(note);
        match self.format {
            Format::Markdown => writeln!(out, "\n{}", markdown(&note)),
            _ => writeln!(out, "{}", folded(&note, 2)),
        }
    }
}
