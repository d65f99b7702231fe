//! Retrieval: how often similar examples are of the same class.

use std::collections::BTreeMap;
use std::time::Instant;

use cache::{CacheReader, Split};
use ndarray::Axis;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::embedded::Embedding;
use super::{record, settings};
use crate::Error;
use crate::error::ExploreError;
use crate::error::MeasureError;
use crate::evaluate::fields;
use crate::examples::{Clusters, Examples, Unit, join};
use crate::metrics::bootstrap::{Bootstrap, few_units};
use crate::metrics::confidence::Level;
use crate::metrics::measures::Confidence;
use crate::metrics::retrieval::{Answer, Answers, Number, answer, macro_mean, mean};
use crate::metrics::weights::Weights;
use crate::probes::search::rankings;
use crate::progress::Steps;
use crate::record::RunRecord;

/// What the examples are searched among, in the record, if each is a query.
pub const ALL_OTHERS: &str = "all others";

/// Queries that are ranked together.
const TILE: usize = 16;

/// Examples that are queries, and those that are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Queries {
    /// Those of `test`, searched for in `train` and `val`.
    Test,
    /// Those of `val`, searched for in `train`.
    Val,
    /// Each one, searched for in all others.
    All,
}

/// Options of [`retrieve`].
#[derive(Clone, Debug)]
pub struct RetrieveOptions {
    /// The features.
    pub embedding: Embedding,
    /// Queries, and examples that are searched.
    pub queries: Queries,
    /// Numbers of first examples.
    pub ks: Vec<usize>,
    /// Intervals, if any.
    pub confidence: Option<Confidence>,
}

/// Measures retrieval: for each query, all searched examples of other patients are ranked by cosine similarity.
///
/// For exclusive classes, an example is relevant if it is of the query's class. Else it is relevant if both have
/// a class in common; and for the measures of one class, whose queries are the examples that have it, if it has
/// that class, and examples of which this is not known are left out. A query without a relevant example is not
/// counted. Micro is the mean over queries, macro the mean over classes of the means over the queries of each.
///
/// # Errors
///
/// [`Error::Unlabelled`], [`Error::EmptySplit`], [`ExploreError::NothingRelevant`], and those of [`Examples::read`].
pub fn retrieve(
    reader: &CacheReader,
    options: &RetrieveOptions,
    steps: &Steps<'_>,
) -> Result<RunRecord, Error> {
    let start = Instant::now();
    steps.say("reading tokens");
    let examples = Examples::read(reader, &options.embedding.selection(true))?;
    let search = Search::new(&examples, options)?;
    let found = search.answers(steps);
    if found.all.is_empty() {
        return Err(Error::Explore(ExploreError::NothingRelevant {
            path: reader.dir().into(),
        }));
    }
    steps.say("intervals");
    let record = search.record(reader, &found)?;
    Ok(RunRecord {
        seconds: start.elapsed().as_secs_f64(),
        ..record
    })
}

struct Search<'a> {
    examples: &'a Examples,
    options: &'a RetrieveOptions,
    queries: Vec<usize>,
    searched: Vec<usize>,
    /// The patient of each example by number, or its sample if no patient is known.
    who: Vec<u32>,
}

/// Measures of all queries that have a relevant example.
struct Found {
    all: Answers,
    /// For each class, the queries that have it.
    classes: Vec<Answers>,
}

impl<'a> Search<'a> {
    fn new(examples: &'a Examples, options: &'a RetrieveOptions) -> Result<Search<'a>, Error> {
        let everything = || (0..examples.cases.len()).collect::<Vec<_>>();
        let (queries, searched) = match options.queries {
            Queries::Test => (
                examples.part(&[Split::Test])?,
                examples.part(&[Split::Train, Split::Val])?,
            ),
            Queries::Val => (
                examples.part(&[Split::Val])?,
                examples.part(&[Split::Train])?,
            ),
            Queries::All => (everything(), everything()),
        };
        let mut numbers = BTreeMap::new();
        let who = examples.cases.iter().map(|case| {
            let next = numbers.len() as u32;
            *numbers.entry(case.who()).or_insert(next)
        });
        Ok(Search {
            who: who.collect(),
            examples,
            options,
            queries,
            searched,
        })
    }

    /// Whether an example has a class; `None` if this is not known.
    fn has(&self, example: usize, class: usize) -> Option<bool> {
        self.examples
            .targets
            .is(self.examples.rows[example][0], class)
    }

    /// The classes of each example as bits, `[N, words]`.
    fn bits(&self) -> Vec<Vec<u64>> {
        let classes = self.examples.classes.len();
        let bits = |example: usize| {
            let mut words = vec![0; classes.div_ceil(64)];
            for class in (0..classes).filter(|&class| self.has(example, class) == Some(true)) {
                words[class / 64] |= 1 << (class % 64);
            }
            words
        };
        (0..self.examples.cases.len()).map(bits).collect()
    }

    fn answers(&self, steps: &Steps<'_>) -> Found {
        let keys = self.examples.normalised(&self.searched);
        let queries = self.examples.normalised(&self.queries);
        let bits = self.bits();
        let count = steps.count("ranking", self.queries.len(), "queries");
        let tiles = queries
            .axis_chunks_iter(Axis(0), TILE)
            .into_par_iter()
            .enumerate();
        let of_tile = |(tile, rows): (usize, ndarray::ArrayView2<'_, f32>)| {
            let ranked = rankings(keys.view(), rows).into_iter().zip(TILE * tile..);
            let answers: Vec<_> = ranked
                .map(|(order, query)| self.of_query(query, &order, &bits))
                .collect();
            count.add(answers.len());
            answers
        };
        let answers: Vec<Vec<_>> = tiles.map(of_tile).collect();
        let mut found = Found {
            all: Vec::new(),
            classes: vec![Vec::new(); self.examples.classes.len()],
        };
        for (query, (all, of_classes)) in answers.into_iter().flatten().enumerate() {
            found.all.extend(all.map(|answer| (query, answer)));
            for (class, answer) in of_classes {
                found.classes[class].push((query, answer));
            }
        }
        found
    }

    /// Measures of a query, and of each class that it has. `order` are places in `searched`, nearest first.
    fn of_query(
        &self,
        query: usize,
        order: &[u32],
        bits: &[Vec<u64>],
    ) -> (Option<Answer>, Vec<(usize, Answer)>) {
        let query = self.queries[query];
        let others: Vec<usize> = order
            .iter()
            .map(|&place| self.searched[place as usize])
            .filter(|&example| self.who[example] != self.who[query])
            .collect();
        let ranked = |is_relevant: &dyn Fn(usize) -> Option<bool>| {
            let (mut ranks, mut rank) = (Vec::new(), 0);
            for is_relevant in others.iter().filter_map(|&example| is_relevant(example)) {
                if is_relevant {
                    ranks.push(rank);
                }
                rank += 1;
            }
            answer(&ranks, rank, &self.options.ks)
        };
        let share = |example: usize| {
            let mut pairs = bits[query].iter().zip(&bits[example]);
            Some(pairs.any(|(a, b)| a & b != 0))
        };
        let classes =
            (0..self.examples.classes.len()).filter(|&c| self.has(query, c) == Some(true));
        let of_class = |class: usize| Some((class, ranked(&|example| self.has(example, class))?));
        (ranked(&share), classes.filter_map(of_class).collect())
    }

    fn record(&self, reader: &CacheReader, found: &Found) -> Result<RunRecord, Error> {
        let options = self.options;
        let unit = self.examples.unit;
        let what = json!({
            "probe": "retrieve",
            "queries": options.queries,
            "ks": options.ks,
            "features": options.embedding.tokens,
        });
        let pool = options.embedding.pool.filter(|_| unit == Unit::Volume);
        let mut settings = settings(unit, pool, options.confidence);
        settings.split_name.clone_from(&options.embedding.split);
        let (eval, fit): (Split, &[Split]) = match options.queries {
            Queries::Val => (Split::Val, &[Split::Train]),
            _ => (Split::Test, &[Split::Train, Split::Val]),
        };
        if options.queries != Queries::All {
            (settings.eval, settings.fit) = (eval, fit.to_vec());
        }
        let mut record = record(reader, &settings, fields(&what))?;
        if options.queries != Queries::All {
            record.split = eval.name().into();
        }
        // No example is searched for in itself.
        let searched = self.searched.len() - usize::from(options.queries == Queries::All);
        let among = match options.queries {
            Queries::All => ALL_OTHERS.to_owned(),
            _ => join(fit),
        };
        let params = json!({
            "unit": unit.name(),
            "among": among,
            "queries_without_relevant": self.queries.len() - found.all.len(),
            "ks": options.ks,
            "features": options.embedding.tokens,
        });
        let measured = Measured {
            found,
            search: self,
        };
        let cases = self.examples.cases(&self.queries);
        let clusters = Clusters::of(&cases);
        let few = options
            .confidence
            .and_then(|_| few_units(&clusters.names, clusters.word));
        Ok(RunRecord {
            probe: "retrieve".into(),
            warnings: few.into_iter().collect(),
            setting: options.embedding.name(),
            params: fields(&params),
            metrics: measured.values(),
            ci: measured.intervals()?,
            n_train: searched,
            n_test: found.all.len(),
            ..record
        })
    }
}

/// Numbers of a record from the measures of the queries.
struct Measured<'a> {
    found: &'a Found,
    search: &'a Search<'a>,
}

impl Measured<'_> {
    /// Classes that have a query.
    fn classes(&self) -> Vec<Answers> {
        let classes = self
            .found
            .classes
            .iter()
            .filter(|answers| !answers.is_empty());
        classes.cloned().collect()
    }

    /// Calls `visit` with the name and the number of each measure.
    fn each(&self, mut visit: impl FnMut(&str, Number<'_>)) {
        visit("map", &|answer| answer.average_precision);
        visit("chance", &|answer| answer.chance);
        for (at, k) in self.search.options.ks.iter().enumerate() {
            visit(&format!("precision_at_{k}"), &|answer| answer.precision[at]);
            visit(&format!("recall_at_{k}"), &|answer| answer.recall[at]);
            visit(&format!("hit_at_{k}"), &|answer| answer.hit[at]);
        }
    }

    fn values(&self) -> Map<String, Value> {
        let (once, classes) = (Weights::once(self.search.queries.len()), self.classes());
        let mut values = Map::new();
        self.each(|name, number| {
            let micro = mean(&self.found.all, &once, number);
            let macro_ = macro_mean(&classes, &once, number);
            values.insert(format!("{name}_macro"), json!(macro_));
            values.insert(format!("{name}_micro"), json!(micro));
        });
        let names = &self.search.examples.classes;
        let of_class = |number: Number<'_>| {
            let pairs = names.iter().zip(&self.found.classes);
            let pairs = pairs.map(|(name, of)| (name.clone(), json!(mean(of, &once, number))));
            Value::Object(pairs.collect())
        };
        let queries = names.iter().zip(&self.found.classes);
        let queries = queries.map(|(name, of)| (name.clone(), of.len().into()));
        values.insert(
            "map_per_class".into(),
            of_class(&|answer| answer.average_precision),
        );
        values.insert("chance_per_class".into(), of_class(&|answer| answer.chance));
        values.insert("queries_per_class".into(), Value::Object(queries.collect()));
        values
    }

    /// Intervals over the patients of the queries; none of a single patient.
    fn intervals(&self) -> Result<Option<Map<String, Value>>, Error> {
        let Some(confidence) = self.search.options.confidence else {
            return Ok(None);
        };
        let level = Level::new(confidence.level)?;
        let cases = self.search.examples.cases(&self.search.queries);
        let clusters = Clusters::of(&cases);
        let made = Bootstrap::new(&clusters.names, confidence.draws, confidence.seed);
        let bootstrap = match made {
            Err(Error::Measure(MeasureError::TooFewPatients { .. })) => return Ok(None),
            made => made?,
        };
        let classes = self.classes();
        let mut ci = Map::from_iter([
            ("level".to_owned(), json!(confidence.level)),
            (
                "method".to_owned(),
                json!(format!("bootstrap of {}s", clusters.word)),
            ),
            ("draws".to_owned(), json!(confidence.draws)),
            ("seed".to_owned(), json!(confidence.seed)),
        ]);
        self.each(|name, number| {
            let micro = bootstrap.interval(level, |weights| mean(&self.found.all, weights, number));
            let macro_ = bootstrap.interval(level, |weights| macro_mean(&classes, weights, number));
            for (kind, sampled) in [("macro", macro_), ("micro", micro)] {
                let bounds = sampled.interval.map(|of| json!([of.low, of.high]));
                ci.extend(bounds.map(|bounds| (format!("{name}_{kind}"), bounds)));
            }
        });
        Ok(Some(ci))
    }
}
