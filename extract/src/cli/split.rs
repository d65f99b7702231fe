//! `extract split`: adds splits to finished caches.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use cache::{CacheReader, Split, write_split};
use clap::Args;
use serde_json::json;

use super::args::{LayoutArgs, STAGING, hide_ids, open_dataset};
use super::caches::{for_each, of_dataset};
use super::{Format, Status, print_line, table, tell, tell_of_lock};
use crate::Error;
use crate::dataset::Dataset;
use crate::inspect::SPLITS;
use crate::split::{self, Member, SplitRule};

/// Arguments of `extract split`.
#[derive(Debug, Args)]
pub struct SplitArgs {
    /// Dataset: its name in the cache, or `all`
    #[arg(long)]
    pub dataset: String,
    /// Split rule: `random:0.7:0.1:0.2:SEED`,
    /// `kfold:5:0:SEED`, `systematic:test=70,val=50`, `folds:0`, `official`,
    /// `official:val=0.1:SEED`, `file:PATH`, `none`
    #[arg(long, verbatim_doc_comment)]
    pub rule: SplitRule,
    /// Name of the split; a split of that name and the same rule is replaced
    #[arg(long)]
    pub name: String,
    /// Also replace a split of that name with another rule
    #[arg(long)]
    pub force: bool,
    /// Folder of caches
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Only caches of this backbone
    #[arg(long)]
    pub model: Option<String>,
    /// Folder of the download, for official splits and folds that the cache
    /// does not contain; `--dataset` is then its name or TOML file
    #[arg(long, verbatim_doc_comment, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Name of the dataset in the cache, if it was extracted with `--name`
    #[arg(long, value_name = "NAME", requires = "root")]
    pub cache_name: Option<String>,
    /// Columns of a manifest with one class each, as for the extraction
    #[arg(long, value_delimiter = ',', requires = "root")]
    pub label_columns: Vec<String>,
    /// Folder of a manifest's images and masks, as for the extraction
    #[arg(long, value_name = "DIR", requires = "root")]
    pub image_root: Option<PathBuf>,
    /// Channel of volumes with several channels, as for the extraction
    #[arg(long, requires = "root")]
    pub channel: Option<String>,
    /// Keep identifiers, as for the extraction
    #[arg(long, requires = "root")]
    pub keep_ids: bool,
    /// Replace paths by hashes, as for the extraction
    #[arg(long, requires = "root", conflicts_with = "keep_ids")]
    pub mask_paths: bool,
    /// Allow a patient in several splits
    #[arg(long)]
    pub allow_patient_overlap: bool,
    /// Folder for copies of what lies in a bucket: `--root`
    #[arg(long, value_name = "DIR", env = "SLICEBANK_STAGING", default_value = STAGING)]
    pub staging: PathBuf,
    /// Output: a table, or one JSON object per line
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// A split that was written to a cache.
struct Written {
    dir: PathBuf,
    dataset: String,
    splits: Vec<(String, Option<Split>)>,
    counts: [Count; 4],
    warnings: Vec<String>,
}

/// Size of one part of a split.
#[derive(Default)]
struct Count {
    samples: usize,
    slices: usize,
    patients: usize,
}

/// Writes the split to every selected cache; skips those for which it fails, with a warning.
pub(super) fn run(args: &SplitArgs) -> anyhow::Result<Status> {
    let layout = LayoutArgs {
        label_columns: args.label_columns.clone(),
        image_root: args.image_root.clone(),
        channel: args.channel.clone(),
        lenient: true,
        keep_ids: args.keep_ids,
        mask_paths: args.mask_paths,
        staging: args.staging.clone(),
        ..LayoutArgs::default()
    };
    let root = args.root.as_deref();
    let opened = root.map(|root| open_dataset(&args.dataset, Some(root), &layout));
    let mut opened = opened.transpose()?.map(|(_, dataset)| dataset);
    if let Some(dataset) = &mut opened {
        hide_ids(&layout, dataset)?;
    }
    let dataset = opened.as_ref().map_or(&args.dataset, |opened| &opened.name);
    let dataset = args.cache_name.as_ref().unwrap_or(dataset);
    let caches = of_dataset(&args.cache, dataset, args.model.as_deref())?;
    let (written, status) = for_each(caches, "split", |dir| {
        split_cache(args, dir, opened.as_ref())
    })?;
    warn(&written);
    print(args, &written)?;
    Ok(status)
}

fn split_cache(args: &SplitArgs, dir: &Path, opened: Option<&Dataset>) -> Result<Written, Error> {
    let reader = CacheReader::open(dir)?;
    if !args.force {
        check_name(args, &reader)?;
    }
    let (members, slices) = members(&args.rule, &reader, opened)?;
    let skipped = reader.meta().skipped.iter();
    let skipped: Vec<&str> = skipped.map(|skipped| skipped.sample.as_str()).collect();
    let splits = split::assign(&args.rule, &members, &skipped)?;
    let overlaps = split::overlaps(&members, &splits);
    let hint = "split by patient, for instance with `--rule random:0.7:0.1:0.2`";
    let overlap = split::check_overlaps(&overlaps, args.allow_patient_overlap, hint)?;
    let odd = split::warnings(&args.rule, &members, &splits);
    let counts = count(&members, &splits, &slices);
    let samples = members.into_iter().map(|member| member.sample);
    let splits: Vec<_> = samples.zip(splits).collect();
    tell_of_lock(dir);
    write_split(dir, &args.name, &args.rule.recorded(), &splits)?;
    Ok(Written {
        dir: dir.to_path_buf(),
        dataset: reader.meta().dataset.clone(),
        splits,
        counts,
        warnings: overlap.into_iter().chain(odd).collect(),
    })
}

/// Refuses the name of a split with another rule; an unreadable split is replaced.
fn check_name(args: &SplitArgs, reader: &CacheReader) -> Result<(), Error> {
    let rule = args.rule.recorded();
    match reader.named_split(&args.name) {
        Ok(split) if split.rule != rule => Err(Error::Unsplittable {
            found: format!(
                "the split `{}` of `{}`, made by `{}`",
                args.name,
                reader.dir().display(),
                split.rule
            ),
            expected: "a new name, or one of the same rule".to_owned(),
            hint: "give another `--name`, or `--force` to replace it".to_owned(),
            rule,
        }),
        _ => Ok(()),
    }
}

/// The samples of a cache, with their official splits and folds, and the number of slices of each.
fn members(
    rule: &SplitRule,
    reader: &CacheReader,
    opened: Option<&Dataset>,
) -> Result<(Vec<Member>, Vec<usize>), Error> {
    let (mut members, counts) = Member::of_cache(reader)?;
    if let Some(dataset) = opened {
        let samples = dataset
            .samples
            .iter()
            .map(|sample| (sample.id.as_str(), sample));
        let samples: HashMap<_, _> = samples.collect();
        for member in &mut members {
            let sample = samples.get(member.sample.as_str());
            let sample = sample.ok_or_else(|| not_in_download(rule, reader, member))?;
            (member.official, member.fold) = (sample.split, sample.fold);
        }
        return Ok((members, counts));
    }
    let needs_official = matches!(
        rule,
        SplitRule::Official | SplitRule::OfficialLast(_) | SplitRule::OfficialPart { .. }
    );
    match reader.meta().split.as_deref() {
        // Caches without this key have official splits.
        None | Some("official") => {}
        // The official split had no val; all of it was train.
        Some(made) if made.starts_with("official:val=") => {
            let val = members
                .iter_mut()
                .filter(|m| m.official == Some(Split::Val));
            val.for_each(|member| member.official = Some(Split::Train));
        }
        Some(made) if needs_official => return Err(not_official(rule, reader, made)),
        Some(_) => {}
    }
    Ok((members, counts))
}

fn not_official(rule: &SplitRule, reader: &CacheReader, made: &str) -> Error {
    Error::Unsplittable {
        rule: rule.to_string(),
        found: format!(
            "`{}`, which was split by `{made}` when extracted",
            reader.dir().display()
        ),
        expected: "a cache with the official splits".to_owned(),
        hint: "give the download: `--dataset CARD --root DIR`".to_owned(),
    }
}

fn not_in_download(rule: &SplitRule, reader: &CacheReader, member: &Member) -> Error {
    Error::Unsplittable {
        rule: rule.to_string(),
        found: format!(
            "the sample `{}` in `{}`",
            member.sample,
            reader.dir().display()
        ),
        expected: "only samples of the download".to_owned(),
        hint: "check that `--root` is the folder that the cache was extracted from".to_owned(),
    }
}

/// The size of each part of a split; `slices` are the numbers of slices of `members`.
fn count(members: &[Member], splits: &[Option<Split>], slices: &[usize]) -> [Count; 4] {
    let pairs = members.iter().zip(splits);
    SPLITS.map(|wanted| {
        let inside = pairs.clone().filter(|(_, split)| **split == wanted);
        let patients: HashSet<&String> = inside
            .clone()
            .filter_map(|(m, _)| m.patient.as_ref())
            .collect();
        let slices = slices.iter().zip(splits);
        Count {
            samples: inside.count(),
            slices: slices
                .filter(|(_, split)| **split == wanted)
                .map(|(count, _)| count)
                .sum(),
            patients: patients.len(),
        }
    })
}

/// Prints each warning once, and a warning for caches of one dataset whose splits differ.
fn warn(written: &[Written]) {
    let mut said = HashSet::new();
    let mut first: HashMap<&str, &Written> = HashMap::new();
    for cache in written {
        for warning in cache
            .warnings
            .iter()
            .filter(|warning| said.insert(*warning))
        {
            tell(&format!("warning: {}: {warning}", cache.dataset));
        }
        let other = *first.entry(&cache.dataset).or_insert(cache);
        if other.splits != cache.splits {
            tell(&format!(
                "warning: `{}` and `{}` have different samples, and so different splits",
                other.dir.display(),
                cache.dir.display()
            ));
        }
    }
}

fn print(args: &SplitArgs, written: &[Written]) -> anyhow::Result<()> {
    let split_name = |split: Option<Split>| split.map_or("none", Split::name);
    if args.format == Format::Json {
        for cache in written {
            let mut line = json!({
                "cache": cache.dir,
                "dataset": cache.dataset,
                "name": args.name,
                "rule": args.rule,
            });
            for (split, count) in SPLITS.iter().zip(&cache.counts) {
                let Count {
                    samples,
                    slices,
                    patients,
                } = count;
                line[split_name(*split)] =
                    json!({"samples": samples, "slices": slices, "patients": patients});
            }
            print_line(&line.to_string())?;
        }
        return Ok(());
    }
    let rows = written.iter().flat_map(|cache| {
        let used = SPLITS
            .iter()
            .zip(&cache.counts)
            .filter(|(_, count)| count.samples > 0);
        used.map(|(split, count)| {
            let numbers = [count.samples, count.slices, count.patients];
            let mut row = vec![
                cache.dir.display().to_string(),
                split_name(*split).to_owned(),
            ];
            row.extend(numbers.map(|number| number.to_string()));
            row
        })
    });
    let header = ["cache", "split", "samples", "slices", "patients"];
    print_line(&table(&header, rows.collect(), 2))?;
    Ok(())
}
