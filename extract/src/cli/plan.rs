//! `extract plan`: what extractions will take.

mod print;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Args;
use common::counted;
use common::text::printable;

use self::print::show;
use super::args::ExtractArgs;
use super::extract::{dataset_and_recipe, preprocess};
use super::{Status, TableFormat, tell, warn};
use crate::backbone::{Provider, Runtime};
use crate::dataset::{Dataset, Recipe};
use crate::extraction::{Event, Extraction, Forecast};
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
    /// Output: a table, or one JSON object per line
    #[arg(long, default_value = "text")]
    pub format: TableFormat,
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
