//! `extract card`: descriptions of a finished cache for those who publish it.

mod croissant;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use cache::{CacheMeta, CacheReader, SliceMeta};
use clap::Args;
use common::files::write_whole;
use common::text::{markdown, printable, shown};
use common::{counted, sha256_bytes};
use serde_json::Value;
use ureq::http::Uri;

use super::caches::found;
use super::{Status, print_line};
use crate::dataset::DatasetCard;

/// Arguments of `extract card`.
#[derive(Debug, Args)]
pub struct CardArgs {
    /// Cache: `DATASET/MODEL@SIZE` below --cache, or its folder
    #[arg(value_name = "CACHE")]
    pub of: PathBuf,
    /// Folder of caches
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Folder of the two files [default: that of the cache]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Licence of the images [default: that of the built-in dataset]
    #[arg(long, value_name = "TEXT")]
    pub licence: Option<String>,
    /// Web page of the images [default: that of the built-in dataset]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// What the descriptions say besides `meta.json`.
struct Facts {
    licence: String,
    url: String,
    /// Hash of the samples with their splits, sorted.
    split_sha256: String,
    /// Samples and slices of each split.
    counts: BTreeMap<&'static str, (usize, usize)>,
}

/// Refuses what is not the address of a web page.
fn check_web_page(text: &str) -> anyhow::Result<()> {
    let url = text.parse::<Uri>().ok();
    let is_page = url.is_some_and(|url| {
        let is_of_web = [Some("http"), Some("https")].contains(&url.scheme_str());
        is_of_web && url.host().is_some_and(|host| !host.is_empty())
    });
    anyhow::ensure!(
        is_page,
        "`{}`: not the address of a web page\nhint: give one as `--url`, for instance `https://example.org/images`",
        shown(text)
    );
    Ok(())
}

/// Writes `croissant.json` and `README.md`.
pub(super) fn run(args: &CardArgs) -> anyhow::Result<Status> {
    let reader = CacheReader::open(&found(&args.cache, &args.of))?;
    // Hashes that are published are those of the files.
    reader.verify()?;
    let meta = reader.meta();
    let facts = facts(args, meta, &reader.slices()?)?;
    let out = args.out.clone().unwrap_or_else(|| reader.dir().into());
    if out.to_string_lossy().contains(":/") {
        anyhow::bail!(
            "`{}`: a bucket, into which the two files are not written\nhint: give a folder as `--out`, and upload them",
            shown(&out)
        );
    }
    let croissant = serde_json::to_string_pretty(&croissant::of(meta, &facts)?)?;
    let files = [
        ("croissant.json", croissant + "\n"),
        ("README.md", readme(meta, &facts)),
    ];
    for (name, text) in files {
        let path = out.join(name);
        write_whole(&path, text.as_bytes())
            .with_context(|| format!("`{}`: cannot be written", shown(&path)))?;
        print_line(&shown(&path))?;
    }
    Ok(Status::Done)
}

fn facts(args: &CardArgs, meta: &CacheMeta, slices: &[SliceMeta]) -> anyhow::Result<Facts> {
    let mut cards = DatasetCard::built_in().flatten();
    let card = cards.find(|card| card.name == meta.dataset);
    let of_card = |text: fn(&DatasetCard) -> &String| {
        let text = card.as_ref().map(text).filter(|text| !text.is_empty());
        text.cloned()
    };
    let missing = |option: &str| {
        format!(
            "`{}` is no built-in dataset\nhint: give `{option}`, since a published cache is derived from the images",
            shown(&meta.dataset)
        )
    };
    let licence = args
        .licence
        .clone()
        .or_else(|| of_card(|card| &card.licence));
    let url = args.url.clone().or_else(|| of_card(|card| &card.source));
    url.as_deref().map_or(Ok(()), check_web_page)?;
    let mut samples = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for slice in slices {
        let split = slice.split.map_or("none", cache::Split::name);
        let of_split: &mut (usize, usize) = counts.entry(split).or_default();
        of_split.1 += 1;
        if samples.insert(&*slice.sample, split).is_none() {
            of_split.0 += 1;
        }
    }
    let lines = samples
        .iter()
        .map(|(sample, split)| format!("{sample}\t{split}\n"));
    Ok(Facts {
        licence: licence.with_context(|| missing("--licence"))?,
        url: url.with_context(|| missing("--url"))?,
        split_sha256: sha256_bytes(lines.collect::<String>().as_bytes()),
        counts,
    })
}

fn description(meta: &CacheMeta) -> String {
    format!(
        "Tokens of the frozen backbone {} ({} pixels, {}) for {} of {} of {}",
        meta.model.name,
        meta.image_size,
        counted(meta.layers, "layer"),
        counted(meta.rows, "slice"),
        counted(meta.samples, "sample"),
        meta.dataset
    )
}

/// A README with the header that the Hugging Face hub reads.
fn readme(meta: &CacheMeta, facts: &Facts) -> String {
    // YAML takes a string of JSON, and printable text has no line breaks of Unicode.
    let quoted = |text: &str| printable(&Value::from(text).to_string()).into_owned();
    let title = format!("{} by {}", meta.dataset, meta.model.name);
    let rows = [
        ("images", markdown(&facts.url)),
        ("licence of the images", markdown(&facts.licence)),
        (
            "model",
            format!(
                "{}, sha256 {}",
                markdown(&meta.model.name),
                markdown(&meta.model.sha256)
            ),
        ),
        (
            "computed by",
            markdown(&format!(
                "Slicebank {}, {}, {}",
                meta.tool_version, meta.provider, meta.precision
            )),
        ),
        (
            "split",
            format!(
                "{}, sha256 of the list of samples {}",
                markdown(meta.split.as_deref().unwrap_or("official")),
                facts.split_sha256
            ),
        ),
    ];
    let rows = rows.map(|(name, text)| format!("| {name} | {text} |\n"));
    let counts = facts.counts.iter();
    let counts =
        counts.map(|(split, (samples, slices))| format!("| {split} | {samples} | {slices} |\n"));
    format!(
        "---\nlicense: other\nlicense_name: {licence}\nlicense_link: {url}\npretty_name: {name}\ntags: [slicebank, medical, embeddings]\n---\n\n\
         # {heading}\n\n{text}.\n\n| | |\n|---|---|\n{rows}\n\
         | split | samples | slices |\n|---|---|---|\n{counts}",
        licence = quoted(&facts.licence),
        url = quoted(&facts.url),
        name = quoted(&title),
        heading = markdown(&title),
        text = markdown(&description(meta)),
        rows = rows.concat(),
        counts = counts.collect::<String>(),
    )
}
