//! `probe trust`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use cache::CacheReader;
use clap::Args;

use super::effect::{self, Idle, NEVER};
use super::over::{Job, Shown, results};
use super::settings::ConfidenceArgs;
use super::{Caches, Outcome, Output};
use crate::kinds::TokenArgs;
use crate::protocol::Protocol;
use crate::trust::{self, BUILT_IN, Questions};
use crate::values::fraction;
use crate::{Error, table};

#[derive(Debug, Args)]
pub(super) struct Trust {
    #[command(flatten)]
    pub(super) caches: Caches,
    /// Metadata to predict: size, spacing, orientation, split, and names of label sets [default: all that the cache
    /// has]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    columns: Vec<String>,
    /// Dataset whose cache of the same backbone is compared for drift, or a cache: `DATASET/MODEL@SIZE`
    #[arg(long, value_name = "DATASET")]
    against: Option<String>,
    /// Cosine from which two samples are near-duplicates [default: found by the usual distance of neighbours]
    ///
    /// By default, a tenth of the median distance, 1 - cosine, of samples of train to the nearest one of another patient.
    #[arg(long, value_name = "COSINE", value_parser = fraction)]
    cosine: Option<f64>,
    /// Random permutations for p-values; 0 for none
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    permutations: u32,
    #[command(flatten)]
    tokens: TokenArgs,
    /// Name of a split made by `extract split` [default: the split of the extraction]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    #[command(flatten)]
    confidence: ConfidenceArgs,
    #[command(flatten)]
    output: Output,
}

impl Trust {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let no_classes = "answers have no table by class";
        let per_class = Idle::new("--per-class", self.output.per_class, no_classes, NEVER);
        let idle = self.confidence.idle().into_iter().chain([per_class]);
        effect::check(idle, &[Protocol::Strict], messages)?;
        let questions = self.questions();
        let job = Job {
            caches: &self.caches,
            output: &self.output,
            probe: trust::NAME,
            settings: vec![questions.settings()],
            key: Box::new(|reader, _| {
                let (sets, other) = (self.sets(reader)?, self.other(reader)?);
                Ok(questions.identity(&of(reader, &sets, &other))?.key)
            }),
            evaluate: Box::new(|reader, _, progress| {
                let (sets, other) = (self.sets(reader)?, self.other(reader)?);
                let say = |what: &str| progress.say(what);
                questions.ask(&of(reader, &sets, &other), &say).map(results)
            }),
            recorded: None,
        };
        let shown = Shown {
            table: table::trust,
            notes: table::trust_notes,
        };
        job.run_shown(&shown, out, messages)
    }

    fn questions(&self) -> Questions {
        Questions {
            tokens: self.tokens.tokens(),
            columns: self.columns.clone(),
            split_name: self.split.clone(),
            cosine: self.cosine,
            permutations: self.permutations as usize,
            confidence: self.confidence.confidence(),
            seed: self.confidence.seed,
        }
    }

    /// The cache with each of the label sets to predict that it has.
    fn sets(&self, reader: &CacheReader) -> Result<Vec<CacheReader>, Error> {
        let is_wanted = |name: &String| self.columns.is_empty() || self.columns.contains(name);
        let is_own = |name: &String| !BUILT_IN.contains(&name.as_str());
        let names = reader.label_sets()?.into_iter();
        let names = names.filter(|name| is_wanted(name) && is_own(name));
        let open = |name: String| self.caches.open_with(reader.dir(), Some(&name));
        Ok(names.map(open).collect::<Result<_, _>>()?)
    }

    /// The cache to compare with; `None` without `--against`, and for that cache itself.
    fn other(&self, reader: &CacheReader) -> Result<Option<CacheReader>, Error> {
        let Some(against) = &self.against else {
            return Ok(None);
        };
        let name = if against.contains('/') {
            PathBuf::from(against)
        } else {
            let meta = reader.meta();
            PathBuf::from(against).join(format!("{}@{}", meta.model.name, meta.image_size))
        };
        let path = if cache::is_cache(&name) {
            name
        } else {
            self.caches.cache.join(name)
        };
        let other = self.caches.open_with(&path, None)?;
        Ok((other.sha256() != reader.sha256()).then_some(other))
    }
}

fn of<'a>(
    reader: &'a CacheReader,
    sets: &'a [CacheReader],
    other: &'a Option<CacheReader>,
) -> trust::Caches<'a> {
    trust::Caches {
        reader,
        sets,
        other: other.as_ref(),
    }
}
