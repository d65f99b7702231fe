//! Learning curves: `--curve` of `probe few-shot` and `probe segment`.

use std::io::{self, Write};

use anyhow::{Result, bail};
use clap::Args;
use common::counted;
use common::text::printable;
use serde_json::Value;
use terminal::folded;

use super::over::Job;
use super::places;
use super::settings::{DRAWS, LEVEL};
use super::{Format, Outcome};
use crate::control::Control;
use crate::evaluate::Settings;
use crate::learning_curve::{NAME, Wanted, measure_of};
use crate::metrics::measures::Confidence;
use crate::record::{self, Appended, RunRecord};
use crate::table;
use crate::values::fraction;

/// Options of learning curves.
#[derive(Debug, Args)]
pub(super) struct CurveArgs {
    /// Fit a learning curve to the results
    ///
    /// A power law with intervals, recorded in `RUNS/curve.jsonl`. It needs four numbers of shots.
    #[arg(long)]
    curve: bool,
    /// Macro AUROCs, or of decoders Dice coefficients, for which the curve tells the patients needed [default: 0.9]
    #[arg(long, value_name = "VALUE", value_delimiter = ',', value_parser = fraction, requires = "curve")]
    target: Option<Vec<f64>>,
}

impl CurveArgs {
    /// Runs a job and, if it is asked for, fits a curve to the results.
    pub(super) fn run_after(
        &self,
        job: &Job<'_>,
        out: &mut impl Write,
        messages: &mut impl Write,
    ) -> Result<Outcome> {
        if self.curve {
            Self::check(job)?;
        }
        let is_csv = self.curve && job.output.form.format == Format::Csv;
        // One table has the results and their curves.
        let outcome = if is_csv {
            job.run(&mut io::sink(), messages)?
        } else {
            job.run(out, messages)?
        };
        if self.curve && outcome != Outcome::Nothing {
            self.run(job, out, messages)?;
        }
        Ok(outcome)
    }

    /// Checks that the results have a learning curve.
    fn check(job: &Job<'_>) -> Result<()> {
        let is_shuffled =
            |settings: &Settings| matches!(settings.control, Some(Control::ShuffledLabels { .. }));
        if job.settings.iter().any(is_shuffled) {
            bail!(
                "`--curve`: nothing is learnt from shuffled labels, so that there is no learning curve\nhint: leave out --curve or --control"
            );
        }
        Ok(())
    }

    /// Fits, records and prints a curve for each cache and protocol of a job that has run.
    fn run(&self, job: &Job<'_>, out: &mut impl Write, messages: &mut impl Write) -> Result<()> {
        let runs = &job.output.runs;
        let targets = self.target.as_deref().unwrap_or(&[0.9]);
        let (results, known) = (record::read(runs, job.probe)?, record::read(runs, NAME)?);
        let mut all = Vec::new();
        for path in job.caches.find()? {
            // The job has told of caches that cannot be opened or evaluated.
            let Ok((reader, _)) = job.caches.open(&path) else {
                continue;
            };
            for settings in &job.settings {
                let Ok(key) = (job.key)(&reader, settings) else {
                    continue;
                };
                let Some(results) = results.of(&key) else {
                    continue;
                };
                let confidence = Confidence {
                    draws: DRAWS as usize,
                    level: LEVEL,
                    seed: settings.seed,
                };
                let wanted = Wanted {
                    targets,
                    confidence,
                };
                let before = known.of(&wanted.key(&key)).filter(|_| !job.output.force);
                let record = match before {
                    Some(records) => records[0].clone(),
                    None => {
                        let mut new = wanted.record(results);
                        job.caches.typed.mark(&mut new);
                        let (Appended::New(records) | Appended::Known(records)) =
                            record::append(runs, NAME, vec![new], job.output.force)?;
                        records[0].clone()
                    }
                };
                print(&record, job, out, messages)?;
                all.push((results.to_vec(), record));
            }
        }
        let form = &job.output.form;
        if form.format == Format::Csv {
            form.print(&table::curve_values(&all), out)?;
        }
        let curves: Vec<RunRecord> = all.into_iter().map(|(_, curve)| curve).collect();
        Ok(places::tell(runs, &curves, messages)?)
    }
}

fn print(
    record: &RunRecord,
    job: &Job<'_>,
    out: &mut impl Write,
    messages: &mut impl Write,
) -> Result<()> {
    let form = &job.output.form;
    if form.format == Format::Json {
        return Ok(writeln!(out, "{}", record.to_json())?);
    }
    let between = if form.format == Format::Markdown {
        "\n"
    } else {
        ""
    };
    let title = format!(
        "{}, {}@{}, {} {}",
        record.dataset, record.model, record.image_size, record.setting, record.protocol
    );
    let title = printable(&title);
    if let Some(refused) = text(&record.params, "refused") {
        writeln!(messages, "warning: {title}: no learning curve: {refused}")?;
        return Ok(());
    }
    if form.format == Format::Csv {
        return Ok(());
    }
    let curve = |name: &str| number(&record.params["curve"], name);
    let measure = measure_of(record);
    writeln!(
        out,
        "\n{title}: 1 - {measure} = {:.4} + {:.4} n^-{:.3}{between}",
        curve("floor"),
        curve("scale"),
        curve("exponent")
    )?;
    form.print(&table::curve(record), out)?;
    let targets = record.params.get("targets").and_then(Value::as_array);
    for target in targets.into_iter().flatten() {
        writeln!(out, "{between}{}", folded(&needed(record, target), 2))?;
    }
    Ok(())
}

/// The line of a target.
fn needed(record: &RunRecord, target: &Value) -> String {
    let unit = text(&record.params, "unit").unwrap_or("patient");
    let what = format!("{} {}", measure_of(record), number(target, "target"));
    if let Some(refused) = target.get("refused").and_then(Value::as_str) {
        return format!("{what}: {refused}");
    }
    let patients = number(target, "patients").ceil() as usize;
    let low = number(target, "low").ceil();
    let high = match target.get("high").and_then(Value::as_f64) {
        Some(high) => format!("{}", high.ceil()),
        None => "not known".into(),
    };
    let beyond = match target.get("extrapolated") {
        Some(Value::Bool(true)) => ", more than were measured",
        _ => "",
    };
    format!(
        "{what}: {} [{low}, {high}]{beyond}",
        counted(patients, unit)
    )
}

fn number(of: &Value, name: &str) -> f64 {
    of.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

fn text<'a>(params: &'a serde_json::Map<String, Value>, name: &str) -> Option<&'a str> {
    params.get(name)?.as_str()
}
