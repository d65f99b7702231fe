//! The evaluations of a study: its commands, ready to evaluate caches.

use std::io::Write;

use anyhow::{Result, anyhow};
use cache::CacheReader;
use toml::Table;

use super::super::over::Job;
use super::commands::{Line, Parsed, Typed, Variant, options_of};
use super::finetune;
use super::keys::as_keys;
use super::label::label;
use crate::Error;
use crate::evaluate::Settings;
use crate::study::Entry;

/// A command that is ready to evaluate caches.
pub(super) struct Evaluation<'a> {
    pub(super) entry: &'a Entry,
    /// Name of the probe for people.
    pub(super) label: String,
    pub(super) fold: Option<u32>,
    pub(super) job: Job<'a>,
    line: Line<'a>,
    variant: &'a Variant,
    /// Whether options of `[options]` are left out that have no effect on some caches.
    pub(super) is_fewer: bool,
}

impl<'a> Evaluation<'a> {
    /// The evaluations of all commands; warnings about options without effect go to `messages`.
    pub(super) fn all(
        parsed: &'a [Parsed<'a>],
        messages: &mut impl Write,
    ) -> Result<Vec<Evaluation<'a>>> {
        let entries: Vec<&Entry> = parsed.iter().map(|parsed| parsed.line.entry).collect();
        let evaluations = parsed.iter().map(|Parsed { line, variant }| {
            // Commands of other folds give the same warnings.
            let mut sink = Vec::new();
            let name = &line.entry.name;
            let job = variant.typed.job(line.entry, &mut sink);
            let job = job.map_err(|error| anyhow!("probe `{name}`: {error}"))?;
            if line.fold.is_none() {
                let text = String::from_utf8_lossy(&sink);
                // What all probes share need not have an effect under each protocol.
                let is_shared = |line: &&str| {
                    let mut shared = variant.shared.iter();
                    shared.any(|option| line.starts_with(&format!("warning: `--{option}` ")))
                };
                for line in text.lines().filter(|line| !is_shared(line)) {
                    let line = line.replace("warning: ", &format!("warning: probe `{name}`: "));
                    writeln!(messages, "{line}")?;
                }
            }
            Ok(Evaluation {
                entry: line.entry,
                label: label(line.entry, &entries),
                fold: line.fold,
                job,
                line: *line,
                variant,
                is_fewer: false,
            })
        });
        evaluations.collect()
    }

    /// The number of the evaluation that leaves out an option of `[options]`, for caches on which it has no effect; it is
    /// made if there is none yet. `None` if the option cannot be left out.
    pub(super) fn without(all: &mut Vec<Evaluation<'a>>, of: usize, option: &str) -> Option<usize> {
        let Evaluation { line, variant, .. } = all[of];
        let variant = variant.without(line, option.trim_start_matches('-'))?;
        let known = all
            .iter()
            .position(|other| std::ptr::eq(other.variant, variant));
        if known.is_some() {
            return known;
        }
        let job = variant.typed.job(line.entry, &mut std::io::sink()).ok()?;
        all.push(Evaluation {
            entry: line.entry,
            label: all[of].label.clone(),
            fold: line.fold,
            job,
            line,
            variant,
            is_fewer: true,
        });
        Some(all.len() - 1)
    }

    /// Options of its command, by their names without `--`.
    pub(super) fn options(&self) -> Table {
        self.line.options(&self.variant.shared)
    }

    /// Whether its command has an option of `[options]`.
    pub(super) fn has_shared(&self, option: &str) -> bool {
        self.variant.shared.contains(option)
    }

    /// Checks that a cache has the splits that a probe needs.
    ///
    /// # Errors
    ///
    /// The error with which its evaluation would end.
    pub(super) fn check_splits(
        &self,
        reader: &CacheReader,
        settings: &Settings,
    ) -> Result<(), Error> {
        match &self.variant.typed {
            Typed::Probe(probe) => probe.check_splits(reader, settings),
            Typed::FewShot(few_shot) => few_shot.check_splits(reader, settings),
            Typed::Segment(segment) => segment.check_splits(reader, settings),
            Typed::Adapt(adapt) => adapt.check_splits(reader, settings),
            Typed::Finetune(_) => finetune::check_splits(reader, settings, self.segments()),
        }
    }

    /// An error as people who write studies read it: with keys of the file for options.
    pub(super) fn told(&self, error: &Error) -> String {
        as_keys(&error.to_string(), &options_of(&self.entry.name))
    }

    /// Whether a script runs it.
    pub(super) fn is_by_script(&self) -> bool {
        self.entry.name == finetune::NAME
    }

    /// Whether it is of masks, and not of labels.
    pub(super) fn segments(&self) -> bool {
        self.entry.name == "segment"
            || self.is_by_script() && finetune::segments(&self.entry.options)
    }

    /// Whether it needs the tokens before the last blocks.
    pub(super) fn is_adaptation(&self) -> bool {
        self.entry.name == "adapt"
    }
}
