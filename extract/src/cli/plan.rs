//! `extract plan`: what extractions will take.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use cache::Tokens;
use clap::Args;
use common::counted;
use common::disk::size;
use common::text::printable;
use serde_json::{Value, json};

use super::args::ExtractArgs;
use super::extract::{dataset_and_recipe, preprocess};
use super::{Format, Status, grid, print_line, tell, warn};
use crate::backbone::{Provider, Runtime};
use crate::dataset::{Dataset, Recipe};
use crate::extraction::{Burst, Event, Extraction, Forecast};
use crate::project;
use crate::split::SplitRule;

/// Arguments of `extract plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Options of the extractions
    #[command(flatten)]
    pub extract: ExtractArgs,
    /// Batches to measure, after one to warm up; 0 to load no model
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(..=1000))]
    pub batches: u32,
    /// Show all columns of the table
    #[arg(long)]
    pub wide: bool,
}

/// A dataset and a model, and what they take or why that is not known.
struct Pair {
    dataset: String,
    model: String,
    forecast: Result<Forecast, String>,
}

/// Prints a line for each pair of a dataset and a model; ends with 1 if one cannot be extracted.
pub(super) fn run(args: &PlanArgs) -> anyhow::Result<Status> {
    let of = &args.extract;
    of.backbone.forbid_tf32()?;
    let home = project::find()?;
    let runtime = Runtime::load(&home, of.backbone.choice().provider != Some(Provider::Cpu))?;
    let place = Place {
        home: &home,
        runtime: &runtime,
        batches: args.batches,
    };
    let models = list(of.backbone.model.as_deref().unwrap_or_default());
    let datasets = list(of.dataset.dataset.as_deref().unwrap_or_default());
    let roots = roots(of.dataset.root.as_deref(), &datasets)?;
    let mut pairs = Vec::new();
    for (name, root) in datasets.iter().zip(roots) {
        let mut one = of.clone();
        one.dataset.dataset = Some(name.clone());
        one.dataset.root = root;
        let opened = dataset_and_recipe(&one);
        for model in &models {
            if of.backbone.onnx.is_none() {
                one.backbone.model = Some(model.clone());
            }
            let forecast = opened
                .as_ref()
                .map_err(ToString::to_string)
                .and_then(|opened| place.forecast(&one, opened).map_err(|e| e.to_string()));
            pairs.push(Pair {
                dataset: opened
                    .as_ref()
                    .map_or(name.clone(), |(d, ..)| d.name.clone()),
                model: if model.is_empty() { "--onnx" } else { model }.to_owned(),
                forecast,
            });
        }
    }
    show(&pairs, args)?;
    Ok(if pairs.iter().all(|pair| pair.forecast.is_ok()) {
        Status::Done
    } else {
        Status::Skipped
    })
}

/// What all pairs share.
struct Place<'a> {
    home: &'a Path,
    runtime: &'a Runtime,
    batches: u32,
}

impl Place<'_> {
    fn forecast(
        &self,
        args: &ExtractArgs,
        (dataset, recipe, rule): &(Dataset, Recipe, SplitRule),
    ) -> anyhow::Result<Forecast> {
        let card = args.backbone.card(self.home)?;
        let backbone = args.backbone.choice();
        let recipe = preprocess(args, dataset, recipe, &card, backbone.image_size(&card));
        let extraction = Extraction {
            runtime: self.runtime,
            home: self.home,
            card: &card,
            backbone: &backbone,
            dataset,
            rule,
            recipe: &recipe,
            caches: &args.cache,
            staging: &args.dataset.layout.staging,
            settings: args.settings()?,
            stop: &AtomicBool::new(false),
        };
        let mut report = |event| match event {
            Event::Message(text) => tell(&text),
            Event::Detail(text) if args.verbose => tell(&text),
            Event::Warning(text) => warn(&[text]),
            Event::Detail(_) | Event::Locking(_) | Event::Writing(_) | Event::Progress(_) => {}
        };
        Ok(extraction.forecast(self.batches, &mut report)?)
    }
}

/// The words between commas; one blank word for a blank text, which stands for a model by its file.
fn list(text: &str) -> Vec<String> {
    text.split(',').map(|word| word.trim().to_owned()).collect()
}

/// A folder for each dataset: those between commas; or of one folder the subfolders with the datasets' names,
/// if they exist, else the folder itself.
fn roots(given: Option<&Path>, datasets: &[String]) -> anyhow::Result<Vec<Option<PathBuf>>> {
    let Some(given) = given else {
        return Ok(vec![None; datasets.len()]);
    };
    let text = given.to_string_lossy();
    let parts: Vec<PathBuf> = text.split(',').map(PathBuf::from).collect();
    if datasets.len() > 1 && parts.len() == datasets.len() {
        return Ok(parts.into_iter().map(Some).collect());
    }
    if parts.len() > 1 && !given.exists() {
        anyhow::bail!(
            "`--root {}`: {} for {}\nhint: give a folder for each dataset, or one folder that holds all",
            printable(&text),
            counted(parts.len(), "folder"),
            counted(datasets.len(), "dataset")
        );
    }
    let of = |name: &String| {
        let own = given.join(name);
        Some(if datasets.len() > 1 && own.is_dir() {
            own
        } else {
            given.into()
        })
    };
    Ok(datasets.iter().map(of).collect())
}

/// Columns with the ranks by which they may be left out.
const COLUMNS: [(&str, u8); 16] = [
    ("dataset", 0),
    ("model", 0),
    ("tokens", 2),
    ("device", 6),
    ("slices", 0),
    ("cls", 7),
    ("mean", 8),
    ("patch", 5),
    ("residual", 5),
    ("mask", 9),
    ("picture", 10),
    ("all", 0),
    ("free", 4),
    ("slices/s", 1),
    ("hours", 0),
    ("memory", 3),
];

/// Number of the first column that is aligned to the right.
const FIRST_NUMBER: usize = 4;

fn show(pairs: &[Pair], args: &PlanArgs) -> anyhow::Result<()> {
    if args.extract.format == Format::Json {
        return pairs
            .iter()
            .try_for_each(|pair| Ok(print_line(&json(pair).to_string())?));
    }
    let known = pairs
        .iter()
        .filter_map(|pair| Some((pair, pair.forecast.as_ref().ok()?)));
    let known: Vec<_> = known.collect();
    let rows = known
        .iter()
        .map(|(pair, forecast)| cells(pair, forecast))
        .collect();
    if !known.is_empty() {
        print_line(&grid(COLUMNS.into_iter(), rows, FIRST_NUMBER).text(args.wide))?;
    }
    for note in notes(pairs) {
        print_line(&note)?;
    }
    if known.is_empty() {
        return Ok(());
    }
    let forecasts = || known.iter().map(|(_, forecast)| forecast);
    let bytes: u64 = forecasts()
        .map(|f| f.bytes().saturating_sub(f.there.0))
        .sum();
    let hours: Option<f64> = forecasts().map(|forecast| forecast.hours()).sum();
    let hours = hours.map_or("unknown hours".to_owned(), |hours| {
        format!("{} h", rounded(hours))
    });
    let free = forecasts().find_map(|forecast| forecast.free);
    let mut all = format!("to write: {} in {hours}", size(bytes));
    if let Some(free) = free {
        all += &format!("; {} free", size(free));
        if free < bytes {
            all += ", which is too little";
        }
    }
    Ok(print_line(&all)?)
}

fn cells(pair: &Pair, forecast: &Forecast) -> Vec<String> {
    let of = |table: &str| {
        let found = forecast.tables.iter().find(|(name, _)| *name == table);
        found.map_or("-".to_owned(), |(_, bytes)| size(*bytes))
    };
    let burst = forecast.burst.as_ref().ok();
    let known = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        pair.dataset.clone(),
        pair.model.clone(),
        tokens(forecast).to_owned(),
        known(burst.map(|burst| burst.device.clone())),
        forecast.slices.rows.to_string(),
        of("cls"),
        of("mean"),
        of("patch"),
        of("residual"),
        of("mask"),
        of("picture"),
        size(forecast.bytes()),
        known(forecast.free.map(size)),
        known(burst.map(|burst| rounded(1.0 / burst.seconds))),
        known(forecast.hours().map(rounded)),
        known(burst.and_then(|burst| burst.memory).map(size)),
    ]
}

fn tokens(forecast: &Forecast) -> &'static str {
    match forecast.tokens {
        Tokens::Cls => "cls",
        Tokens::All => "all",
        Tokens::Residual => "residual",
    }
}

/// Three digits.
fn rounded(number: f64) -> String {
    let digits = match number {
        n if n < 0.0995 => 3,
        n if n < 9.95 => 2,
        n if n < 99.5 => 1,
        _ => 0,
    };
    format!("{number:.digits$}")
}

/// How slices were counted and batches measured, and what failed.
fn notes(pairs: &[Pair]) -> Vec<String> {
    let mut notes = Vec::new();
    for pair in pairs {
        let (dataset, model) = (printable(&pair.dataset), printable(&pair.model));
        match &pair.forecast {
            Err(error) => notes.push(format!(
                "{dataset}, {model}: {}",
                error.replace('\n', "\n  ")
            )),
            Ok(forecast) => {
                let note = format!("{dataset}: slices {}", forecast.slices.how);
                if !notes.contains(&note) {
                    notes.push(note);
                }
                notes.push(match &forecast.burst {
                    Err(reason) => format!("{dataset}, {model}: not measured: {reason}"),
                    Ok(Burst { batch_size, embedding, reading, .. }) => format!(
                        "{dataset}, {model}: batches of {batch_size}, per slice {embedding:.4} s in the backbone and {reading:.4} s of one thread to read and prepare",
                    ),
                });
                if forecast.there.1 > 0 {
                    let (bytes, rows) =
                        (size(forecast.there.0), counted(forecast.there.1, "slice"));
                    notes.push(format!(
                        "{dataset}, {model}: {rows}, {bytes}, are in the cache already"
                    ));
                }
            }
        }
    }
    notes
}

fn json(pair: &Pair) -> Value {
    let forecast = match &pair.forecast {
        Ok(forecast) => forecast,
        Err(error) => {
            return json!({"dataset": pair.dataset, "model": pair.model, "error": error});
        }
    };
    let tables: serde_json::Map<_, _> = forecast
        .tables
        .iter()
        .map(|(table, bytes)| ((*table).to_owned(), json!(bytes)))
        .collect();
    let burst = forecast.burst.as_ref();
    json!({
        "dataset": pair.dataset,
        "model": pair.model,
        "tokens": tokens(forecast),
        "slices": forecast.slices.rows,
        "slices_found": forecast.slices.how,
        "tables": tables,
        "bytes": forecast.bytes(),
        "bytes_there": forecast.there.0,
        "slices_there": forecast.there.1,
        "bytes_free": forecast.free,
        "device": burst.ok().map(|burst| &burst.device),
        "batch_size": burst.ok().map(|burst| burst.batch_size),
        "slices_per_second": burst.ok().map(|burst| 1.0 / burst.seconds),
        "hours": forecast.hours(),
        "peak_memory_bytes": burst.ok().and_then(|burst| burst.memory),
        "not_measured": burst.err(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dataset_gets_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        let names = ["a".to_owned(), "b".to_owned()];
        let found = roots(Some(folder.path()), &names).unwrap();
        let expected = [folder.path().join("a"), folder.path().to_path_buf()];
        assert_eq!(found, expected.map(Some));
        let found = roots(Some(Path::new("x,y")), &names).unwrap();
        assert_eq!(found, ["x", "y"].map(|name| Some(PathBuf::from(name))));
        let error = roots(Some(Path::new("x,y,z")), &names).unwrap_err();
        assert!(
            error.to_string().contains("3 folders for 2 datasets"),
            "{error}"
        );
    }
}
