//! `extract pixels`: the pixels that the backbone saw.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::bail;
use cache::CacheReader;
use clap::Args;
use common::counted;
use common::files::Partial;
use common::text::shown;

use super::again::{Again, recipe};
use super::args::LayoutArgs;
use super::caches::found;
use super::{Status, tell};
use crate::Error;
use crate::interchange::npy_header;
use crate::pipeline::prepare_again;
use crate::split::SplitRule;

/// Bytes that are written at a time.
const BLOCK: usize = 1 << 20;

/// Arguments of `extract pixels`.
#[derive(Debug, Args)]
pub struct PixelsArgs {
    /// Cache: `DATASET/MODEL@SIZE` below --cache, or its folder
    #[arg(value_name = "CACHE")]
    pub of: PathBuf,
    /// Folder of the dataset that the cache was extracted from
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
    /// File, `.npy`; `-` for standard output
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Rows of the cache: `0-9,20` [default: all]
    #[arg(long, value_name = "ROWS", value_delimiter = ',', value_parser = rows)]
    pub rows: Vec<RangeInclusive<u64>>,
    /// Dataset: a name from `extract datasets`, or a TOML file [default: that of the cache]
    #[arg(long)]
    pub dataset: Option<String>,
    /// Split rule of the extraction, if it was a table: `file:PATH`
    #[arg(long, value_name = "RULE")]
    pub split: Option<SplitRule>,
    /// `--limit` of the extraction
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// `--seed` of the extraction
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Number of threads [default: number of CPU cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Folder of caches
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Options of the dataset's layout, as for the extraction
    #[command(flatten)]
    pub layout: LayoutArgs,
}

fn rows(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err("expected a row, or the first and the last of a range: `0-9`".to_owned()),
    }
}

/// Writes the pixels of a cache's rows, f32 `[N, 3, S, S]`.
pub(super) fn run(args: &PixelsArgs) -> anyhow::Result<Status> {
    let dir = found(&args.cache, &args.of);
    let reader = CacheReader::open(&dir)?;
    let meta = reader.meta();
    if meta.imported.is_some() {
        bail!(
            "`{}`: its tokens were imported, so there is no recipe for their pixels\nhint: extract the dataset with a model of `extract models`",
            shown(&dir)
        );
    }
    if let Some(end) = args.rows.iter().map(RangeInclusive::end).max()
        && *end >= meta.rows
    {
        bail!(
            "`--rows`: row {end} of `{}`, which has {}\nhint: rows are numbered from 0 to {}",
            shown(&dir),
            counted(meta.rows as usize, "row"),
            meta.rows.saturating_sub(1)
        );
    }
    let wants =
        |row: u64| args.rows.is_empty() || args.rows.iter().any(|range| range.contains(&row));
    let count = (0..meta.rows).filter(|&row| wants(row)).count();
    let again = Again {
        dataset: args.dataset.as_deref(),
        split: args.split.as_ref(),
        limit: args.limit,
        seed: args.seed,
        layout: &args.layout,
    };
    let (dataset, _) = again.dataset(&dir, meta, &args.root)?;
    let recipe = recipe(&dir, meta)?;
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.map_or_else(cores, usize::from);
    let side = meta.image_size as usize;
    let header = npy_header("<f4", &[count, 3, side, side]);
    let write = |out: &mut dyn Write, path: &Path| -> Result<(), Error> {
        out.write_all(&header).map_err(Error::io(path))?;
        prepare_again(
            &reader,
            &dataset,
            &recipe,
            (&wants, threads),
            &mut |slice| {
                let bytes: Vec<u8> = slice.pixels.iter().flat_map(|v| v.to_le_bytes()).collect();
                out.write_all(&bytes).map_err(Error::io(path))
            },
        )?;
        out.flush().map_err(Error::io(path))
    };
    if args.out == Path::new("-") {
        let stdout = io::stdout().lock();
        write(
            &mut BufWriter::with_capacity(BLOCK, stdout),
            Path::new("standard output"),
        )?;
        return Ok(Status::Done);
    }
    let partial = Partial::create(&args.out).map_err(Error::io(&args.out))?;
    let file = File::create(partial.path()).map_err(Error::io(&args.out))?;
    write(&mut BufWriter::with_capacity(BLOCK, file), &args.out)?;
    partial.persist().map_err(Error::io(&args.out))?;
    tell(&format!(
        "{}: pixels of {}, {:.1} MB",
        shown(&args.out),
        counted(count, "slice"),
        (count * 3 * side * side * size_of::<f32>()) as f64 / 1e6
    ));
    Ok(Status::Done)
}
