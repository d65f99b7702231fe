//! `extract verify`: checks caches, and the files that they were extracted from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;

use cache::{CacheMeta, CacheReader, Depth, Fault, Listed, NamedSet, Verified};
use clap::Args;
use common::counted;
use common::text::{argument, printable, shown};
use serde_json::json;

use super::caches::found;
use super::repair::{RepairArgs, damaged, repair};
use super::{Format, Status, print_line, tell};
use crate::Error;
use crate::sources::{self, Compared};

/// Arguments of `extract verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Caches: `DATASET/MODEL@SIZE` below --cache, or their folders [default:
    /// all below --cache]
    #[arg(value_name = "CACHE")]
    pub of: Vec<PathBuf>,
    /// Folder of caches
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Check sizes, metadata, schemas and the rows of `slices` only
    #[arg(long)]
    pub quick: bool,
    /// Also compare the content of every source file with that of the extraction
    #[arg(long, requires = "root")]
    pub sources: bool,
    /// Folder of the dataset that the caches were extracted from
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Number of threads [default: number of CPU cores]
    #[arg(long)]
    pub threads: Option<usize>,
    /// Output: text, or one JSON object per line
    #[arg(long, default_value = "text")]
    pub format: Format,
    /// Repair of damaged shards
    #[command(flatten)]
    pub again: RepairArgs,
}

/// Verifies caches; prints a line for each fault.
pub(super) fn run(args: &VerifyArgs) -> anyhow::Result<Status> {
    let dirs = if args.of.is_empty() {
        CacheReader::find(&args.cache)?
    } else {
        args.of.iter().map(|of| found(&args.cache, of)).collect()
    };
    if dirs.is_empty() {
        anyhow::bail!(
            "no caches in `{}`\nhint: `--cache` names the folder that `extract` writes to",
            shown(&args.cache)
        );
    }
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.unwrap_or_else(cores);
    let mut status = Status::Done;
    for dir in dirs {
        let depth = if args.quick {
            Depth::Quick
        } else {
            Depth::Full
        };
        let mut found = cache::verify(&dir, depth, threads)?;
        let shards = damaged(&found.faults);
        if args.again.repair && !shards.is_empty() {
            print_line(&lines(&found.faults).join("\n"))?;
            repair(&args.again, &dir, (args.root.as_deref(), threads), &shards)?;
            found = cache::verify(&dir, Depth::Full, threads)?;
        }
        let mut faults = lines(&found.faults);
        let compared = match &args.root {
            Some(root) if args.sources => compare_sources(&dir, root, &mut faults)?,
            _ => None,
        };
        if !faults.is_empty() {
            status = Status::Skipped;
        }
        let has_links = found.faults.iter().any(is_link);
        let can_repair = !damaged(&found.faults).is_empty() && !has_links && !args.again.repair;
        let cache = Listed::of(dir);
        print(args, &cache, (&found, &faults), compared.as_ref())?;
        // The errors of links and parts say what to do: such caches cannot be repaired.
        let is_part = matches!(&cache.meta, Ok(meta) if meta.part.is_some());
        if can_repair && cache.is_complete() && !is_part {
            let path = argument(&cache.dir);
            tell(&format!(
                "hint: `extract verify {path} --repair --root DIR` extracts damaged shards again"
            ));
        }
        for line in hints(&found.faults, &cache)
            .iter()
            .chain(&notes(&found, &cache))
        {
            tell(line);
        }
    }
    Ok(status)
}

/// What to do about faults that are not of shards.
fn hints(faults: &[Fault], cache: &Listed) -> Vec<String> {
    let path = argument(&cache.dir);
    let of = cache.dir.parent();
    let root = of.and_then(Path::parent).map(argument).unwrap_or_default();
    let dataset = of.and_then(Path::file_name).map(Path::new);
    let dataset = dataset.map(argument).unwrap_or_default();
    let sets: BTreeSet<&NamedSet> = faults.iter().filter_map(|of| of.set.as_ref()).collect();
    let sets = sets.into_iter().map(|set| match set {
        NamedSet::Split(split) => format!(
            "hint: make the split again, `extract split --cache {root} --dataset {dataset} --name {split} --rule RULE --force`, or delete `splits/{split}.parquet` and `checksums/splits/{split}.crc32`"
        ),
        NamedSet::Labels(labels) => format!(
            "hint: make the labels again, `extract relabel {path} --name {labels} --labels TABLE --force`, or delete the folders `labels/{labels}` and `checksums/labels/{labels}`"
        ),
    });
    let mut hints: Vec<String> = sets.collect();
    if faults.iter().any(is_link) {
        hints.push(
            "hint: delete links; what you moved elsewhere belongs in their places".to_owned(),
        );
    }
    let mut errors = faults.iter().map(|of| &of.error);
    if errors.any(|error| matches!(error, cache::Error::History { .. })) {
        hints.push("hint: delete `history.json`: only `extract show` reads it".to_owned());
    }
    hints
}

fn is_link(fault: &Fault) -> bool {
    matches!(fault.error, cache::Error::Link { .. })
}

/// What is no fault: files that no description names, and processes that `.lock` names.
fn notes(found: &Verified, cache: &Listed) -> Vec<String> {
    let path = argument(&cache.dir);
    let mut notes = Vec::new();
    match &found.holder {
        Some(holder) if holder.has_ended() => notes.push(format!(
            "note: `.lock` names {holder}, which has ended; `extract gc {path}` removes the name"
        )),
        Some(holder) => notes.push(format!(
            "note: `.lock` names {holder}: while it writes, files that no description names are not listed"
        )),
        None => {}
    }
    if let Some((first, _)) = found.unnamed.first() {
        let files = counted(found.unnamed.len(), "file");
        let bytes: u64 = found.unnamed.iter().map(|(_, bytes)| bytes).sum();
        let first = first.strip_prefix(&cache.dir).unwrap_or(first);
        notes.push(format!(
            "note: {files}, {bytes} bytes, that no description names, for instance `{}`; `extract gc {path}` removes them",
            shown(first)
        ));
    }
    notes
}

fn lines(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

/// Compares the files below `root` with the records of a cache; `None` if it has none that can be read.
fn compare_sources(
    dir: &Path,
    root: &Path,
    faults: &mut Vec<String>,
) -> anyhow::Result<Option<Compared>> {
    anyhow::ensure!(
        root.is_dir(),
        "`{}`: no such folder\nhint: `--root` names the folder of the dataset",
        shown(root)
    );
    let Ok(meta) = CacheMeta::read(dir) else {
        return Ok(None);
    };
    if meta
        .shards
        .iter()
        .all(|shard| shard.sources_sha256.is_none())
    {
        let path = shown(dir);
        faults.push(format!(
            "`{path}`: no source files are recorded, since an earlier version extracted it"
        ));
        return Ok(None);
    }
    match sources::compare_all(dir, &meta, root) {
        Ok(mut compared) => {
            faults.append(&mut compared.faults);
            Ok(Some(compared))
        }
        // The cache's own faults name it.
        Err(Error::Cache(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn print(
    args: &VerifyArgs,
    cache: &Listed,
    (found, faults): (&Verified, &[String]),
    compared: Option<&Compared>,
) -> anyhow::Result<()> {
    if args.format == Format::Json {
        let mut line = json!({
            "path": cache.dir.to_string_lossy(),
            "depth": if args.quick { "quick" } else { "full" },
            "faults": faults,
        });
        if !found.unnamed.is_empty() {
            let unnamed = found.unnamed.iter().map(|(path, _)| path.to_string_lossy());
            line["unnamed"] = unnamed.collect();
        }
        if let Some(compared) = compared {
            line["source_files"] = compared.files.into();
            line["source_folder"] = compared.folder.to_string_lossy().into();
        }
        print_line(&line.to_string())?;
    } else if faults.is_empty() {
        let summary = summary(cache, compared);
        print_line(&format!("{}: {summary}", printable(&cache.name())))?;
    } else {
        print_line(&faults.join("\n"))?;
        if let Some(compared) = compared {
            let folder = shown(&compared.folder);
            tell(&format!("source files were looked for in `{folder}`"));
        }
    }
    Ok(())
}

fn summary(cache: &Listed, compared: Option<&Compared>) -> String {
    let Ok(meta) = &cache.meta else {
        return String::new();
    };
    let (shards, slices) = (
        counted(meta.shards.len(), "shard"),
        counted(meta.rows, "slice"),
    );
    let megabytes = meta.bytes() as f64 / 1e6;
    let files = compared.map(|compared| {
        let files = counted(compared.files, "source file");
        format!(", {files} in `{}`", shown(&compared.folder))
    });
    let files = files.unwrap_or_default();
    format!("no fault in {slices}, {shards}, {megabytes:.1} MB{files}")
}
