//! `extract merge`: joins parts of caches.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::thread;

use clap::Args;
use common::counted;
use common::text::shown;

use super::args::STAGING;
use super::caches::found;
use super::{Status, print_line, tell_of_lock};

/// Arguments of `extract merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// Caches: `DATASET/MODEL@SIZE` below --cache, or their folders
    #[arg(value_name = "CACHE", required = true)]
    pub of: Vec<PathBuf>,
    /// Folder of caches
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Folder in which parts in a bucket are joined
    #[arg(long, value_name = "DIR", env = "SLICEBANK_STAGING", default_value = STAGING)]
    pub staging: PathBuf,
    /// Number of threads that verify [default: number of CPU cores]
    #[arg(long)]
    pub threads: Option<usize>,
}

/// Joins the parts of each cache and prints what it holds.
pub(super) fn run(args: &MergeArgs) -> anyhow::Result<Status> {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    for of in &args.of {
        let dir = found(&args.cache, of);
        tell_of_lock(&dir);
        let threads = args.threads.unwrap_or_else(cores);
        let meta = if cache::is_in_bucket(&dir) {
            cache::merge_in_bucket(&dir, &args.staging, threads, &AtomicBool::new(false))?
        } else {
            cache::merge(&dir, threads)?
        };
        print_line(&format!(
            "{}: {} of {}, {:.1} MB",
            shown(&dir),
            counted(meta.rows, "slice"),
            counted(meta.samples, "sample"),
            meta.bytes() as f64 / 1e6
        ))?;
    }
    Ok(Status::Done)
}
