//! `extract split`: another split of caches that are finished.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use cache::{CacheReader, SliceMeta, Split, write_split};
use clap::Args;
use common::text::{printable, shown};
use serde_json::json;

use super::args::{LayoutArgs, hide_ids, open_dataset};
use super::{Format, Status, eprint_line, print_line, table, tell};
use crate::Error;
use crate::dataset::Dataset;
use crate::inspect::SPLITS;
use crate::split::{self, Member, SplitRule};

/// What `extract split` is told.
#[derive(Debug, Args)]
pub struct SplitArgs {
    /// The dataset: its name in the cache, or `all`
    #[arg(long)]
    pub dataset: String,
    /// How its samples are split: `random:0.7:0.1:0.2:SEED`,
    /// `kfold:5:0:SEED`, `systematic:test=70,val=50`, `folds:0`, `official`,
    /// `official:val=0.1:SEED`, `file:PATH`, `none`
    #[arg(long, verbatim_doc_comment)]
    pub rule: SplitRule,
    /// The split's name; one of that name is replaced if the rule is the same
    #[arg(long)]
    pub name: String,
    /// Replace a split of that name that another rule made
    #[arg(long)]
    pub force: bool,
    /// Where caches lie
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Only caches of this backbone
    #[arg(long)]
    pub model: Option<String>,
    /// The download, to see official splits and folds that the cache does
    /// not keep; `--dataset` is then its name or TOML file
    #[arg(long, verbatim_doc_comment, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// The dataset's name in the cache, where `extract --name` gave it another
    #[arg(long, value_name = "NAME", requires = "root")]
    pub cache_name: Option<String>,
    /// Columns of a manifest that each hold one class, as when extracting
    #[arg(long, value_delimiter = ',', requires = "root")]
    pub label_columns: Vec<String>,
    /// The folder of a manifest's images and masks, as when extracting
    #[arg(long, value_name = "DIR", requires = "root")]
    pub image_root: Option<PathBuf>,
    /// The channel of volumes with several, as when extracting
    #[arg(long, requires = "root")]
    pub channel: Option<String>,
    /// Keep identifiers, as when extracting
    #[arg(long, requires = "root")]
    pub keep_ids: bool,
    /// Mask paths, as when extracting
    #[arg(long, requires = "root", conflicts_with = "keep_ids")]
    pub mask_paths: bool,
    /// Let a patient be in two splits
    #[arg(long)]
    pub allow_patient_overlap: bool,
    /// How the numbers are printed
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// What was written to a cache.
struct Written {
    dir: PathBuf,
    dataset: String,
    splits: Vec<(String, Option<Split>)>,
    counts: [Count; 4],
    warnings: Vec<String>,
}

/// What is in one split of a cache.
#[derive(Default)]
struct Count {
    samples: usize,
    slices: usize,
    patients: usize,
}

/// Writes the split to every cache that is asked for; those that cannot have it are left out.
pub(super) fn run(args: &SplitArgs) -> anyhow::Result<Status> {
    let layout = LayoutArgs {
        label_columns: args.label_columns.clone(),
        image_root: args.image_root.clone(),
        channel: args.channel.clone(),
        lenient: true,
        keep_ids: args.keep_ids,
        mask_paths: args.mask_paths,
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
    let (mut written, mut failed): (Vec<Written>, Vec<Error>) = (Vec::new(), Vec::new());
    for dir in caches(args, dataset)? {
        match split_cache(args, &dir, opened.as_ref()) {
            Ok(done) => written.push(done),
            Err(error) => failed.push(error),
        }
    }
    if written.is_empty() && failed.len() == 1 {
        anyhow::bail!(failed.remove(0));
    }
    for error in &failed {
        eprint_line(&format!("warning: {error}"));
    }
    if written.is_empty() {
        anyhow::bail!("no cache was split\nhint: the warnings above say why");
    }
    warn(&written);
    print(args, &written)?;
    Ok(if failed.is_empty() {
        Status::Done
    } else {
        Status::Skipped
    })
}

/// The folders `…/DATASET/MODEL@SIZE` that are asked for.
fn caches(args: &SplitArgs, dataset: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut caches = CacheReader::find(&args.cache)?;
    caches.retain(|dir| {
        let folder = name(dir);
        let model = folder.rsplit_once('@').map_or(&*folder, |(model, _)| model);
        let is_of_dataset = dataset == "all" || dir.parent().is_some_and(|d| name(d) == dataset);
        is_of_dataset && args.model.as_ref().is_none_or(|wanted| wanted == model)
    });
    if caches.is_empty() {
        let model = args.model.as_deref().unwrap_or("*");
        anyhow::bail!(
            "`{}`: no cache of `{}/{model}@*` here\nhint: run `extract --model … --dataset …` first, or name another folder with --cache; with --root, `--cache-name` is the name that `extract --name` gave",
            shown(&args.cache),
            printable(dataset)
        );
    }
    Ok(caches)
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn split_cache(args: &SplitArgs, dir: &Path, opened: Option<&Dataset>) -> Result<Written, Error> {
    let reader = CacheReader::open(dir)?;
    if !args.force {
        check_name(args, &reader)?;
    }
    let slices = reader.slices()?;
    let members = members(&args.rule, &reader, &slices, opened)?;
    let skipped = reader.meta().skipped.iter();
    let skipped: Vec<&str> = skipped.map(|skipped| skipped.sample.as_str()).collect();
    let splits = split::assign(&args.rule, &members, &skipped)?;
    let overlaps = split::overlaps(&members, &splits);
    let overlap = split::check_overlaps(&overlaps, args.allow_patient_overlap)?;
    let odd = split::warnings(&args.rule, &members, &splits);
    let counts = count(&members, &splits, &slices);
    let samples = members.into_iter().map(|member| member.sample);
    let splits: Vec<_> = samples.zip(splits).collect();
    write_split(dir, &args.name, &args.rule.to_string(), &splits)?;
    Ok(Written {
        dir: dir.to_path_buf(),
        dataset: reader.meta().dataset.clone(),
        splits,
        counts,
        warnings: overlap.into_iter().chain(odd).collect(),
    })
}

/// Refuses the name of a split that another rule made; one that cannot be read is replaced.
fn check_name(args: &SplitArgs, reader: &CacheReader) -> Result<(), Error> {
    let rule = args.rule.to_string();
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

/// The samples of a cache, with the official splits and folds that the rule needs.
fn members(
    rule: &SplitRule,
    reader: &CacheReader,
    slices: &[SliceMeta],
    opened: Option<&Dataset>,
) -> Result<Vec<Member>, Error> {
    let mut members = Member::of_slices(slices);
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
        return Ok(members);
    }
    let needs_official = matches!(
        rule,
        SplitRule::Official | SplitRule::OfficialLast(_) | SplitRule::OfficialPart { .. }
    );
    match reader.meta().split.as_deref() {
        // Before that key there were official splits only.
        None | Some("official") => {}
        // There was no val, and all of it was train.
        Some(made) if made.starts_with("official:val=") => {
            let val = members
                .iter_mut()
                .filter(|m| m.official == Some(Split::Val));
            val.for_each(|member| member.official = Some(Split::Train));
        }
        Some(made) if needs_official => return Err(not_official(rule, reader, made)),
        Some(_) => {}
    }
    Ok(members)
}

fn not_official(rule: &SplitRule, reader: &CacheReader, made: &str) -> Error {
    Error::Unsplittable {
        rule: rule.to_string(),
        found: format!(
            "`{}`, which was split by `{made}` when extracted",
            reader.dir().display()
        ),
        expected: "a cache that keeps the official splits".to_owned(),
        hint: "show the download: `--dataset CARD --root DIR`".to_owned(),
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
        expected: "only samples that the download has".to_owned(),
        hint: "see whether `--root` is the folder that the cache was made from".to_owned(),
    }
}

fn count(members: &[Member], splits: &[Option<Split>], slices: &[SliceMeta]) -> [Count; 4] {
    let pairs = members.iter().zip(splits);
    let of: HashMap<&str, Option<Split>> = pairs.clone().map(|(m, s)| (&*m.sample, *s)).collect();
    SPLITS.map(|wanted| {
        let inside = pairs.clone().filter(|(_, split)| **split == wanted);
        let patients: HashSet<&String> = inside
            .clone()
            .filter_map(|(m, _)| m.patient.as_ref())
            .collect();
        let slices = slices.iter().filter(|slice| slice.view == 0);
        Count {
            samples: inside.count(),
            slices: slices
                .filter(|slice| of.get(&*slice.sample) == Some(&wanted))
                .count(),
            patients: patients.len(),
        }
    })
}

/// Says each warning once, and which caches of a dataset came to be split in different ways.
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
                "warning: `{}` and `{}` have other samples, and so other splits",
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
