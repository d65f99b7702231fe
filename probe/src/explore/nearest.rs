//! The nearest neighbours of some examples.

use std::time::Instant;

use cache::CacheReader;
use image::GrayImage;
use ndarray::{ArrayView2, s};
use serde_json::{Value, json};

use super::Choice;
use super::embedded::{Embedded, Embedding};
use crate::Error;
use crate::evaluate::fields;
use crate::examples::Unit;
use crate::probes::search::Index;
use crate::progress::Steps;
use crate::record::RunRecord;

/// Longest side of a picture on a contact sheet in pixels.
const LONGEST: u32 = 224;

/// Options of [`nearest`].
#[derive(Clone, Debug)]
pub struct NearestOptions {
    /// The queries.
    pub queries: Choice,
    /// Neighbours of each.
    pub k: usize,
    /// Whether examples of the query's patient are left out.
    pub other_patients: bool,
    /// The features.
    pub embedding: Embedding,
}

/// The neighbours of all queries.
#[derive(Clone, Debug)]
pub struct Nearest {
    /// Record of the search.
    pub record: RunRecord,
    /// Each query with its neighbours, nearest first.
    pub queries: Vec<(Shown, Vec<Neighbour>)>,
}

/// An example as it is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// `ID` or `ID:SLICE`.
    pub name: String,
    /// Classes; empty if not known.
    pub label: String,
    /// The patient; empty if not known.
    pub patient: String,
    /// The split; empty if it is in none.
    pub split: &'static str,
    /// The picture, if the cache has pictures.
    pub picture: Option<GrayImage>,
}

/// A neighbour of a query.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// The example.
    pub shown: Shown,
    /// Cosine distance, 0 to 2.
    pub distance: f32,
    /// Whether it is of the query's patient, or of its sample if no patient is known.
    pub same_patient: bool,
}

/// Searches the nearest neighbours of the queries among all other examples of the cache, whatever split they
/// are in, by cosine distance and exhaustively.
///
/// # Errors
///
/// [`ExploreError::NoSuchCase`](crate::error::ExploreError::NoSuchCase), and those of [`Examples::read`](crate::examples::Examples::read).
pub fn nearest(
    reader: &CacheReader,
    options: &NearestOptions,
    steps: &Steps<'_>,
) -> Result<Nearest, Error> {
    let start = Instant::now();
    let mut embedding = options.embedding.clone();
    if options.queries.names_slices(&reader.slices()?) {
        embedding.unit = embedding.unit.or(Some(Unit::Slice));
    }
    steps.say("reading tokens");
    let embedded = Embedded::read(reader, &embedding, false)?;
    let chosen = embedded.chosen(reader, &options.queries)?;
    let features = embedded.normalised();
    let index = Index::new(features.view());
    let search = Search {
        reader,
        embedded: &embedded,
        index: &index,
        features: features.view(),
        options,
    };
    let queries = chosen.iter().map(|&query| search.query(query));
    let queries = queries.collect::<Result<Vec<_>, Error>>()?;
    let record = search.record(&embedding, &queries)?;
    Ok(Nearest {
        record: RunRecord {
            seconds: start.elapsed().as_secs_f64(),
            ..record
        },
        queries,
    })
}

struct Search<'a> {
    reader: &'a CacheReader,
    embedded: &'a Embedded,
    index: &'a Index<'a>,
    /// Rows of length 1.
    features: ArrayView2<'a, f32>,
    options: &'a NearestOptions,
}

impl Search<'_> {
    fn query(&self, query: usize) -> Result<(Shown, Vec<Neighbour>), Error> {
        let cases = &self.embedded.examples.cases;
        let who = cases[query].who();
        let own = cases.iter().filter(|case| case.who() == who).count();
        let wanted = self.options.k + if self.options.other_patients { own } else { 1 };
        let row = self.features.slice(s![query..=query, ..]);
        let found = self.index.neighbours(row, wanted);
        let pairs = found.index.iter().zip(&found.similarity);
        let neighbours = pairs.map(|(&key, &similarity)| (key as usize, similarity));
        let neighbours = neighbours.filter(|&(key, _)| {
            key != query && !(self.options.other_patients && cases[key].who() == who)
        });
        let neighbour = |(key, similarity): (usize, f32)| {
            Ok(Neighbour {
                shown: self.shown(key)?,
                distance: (1.0 - similarity).max(0.0),
                same_patient: cases[key].who() == who,
            })
        };
        let neighbours = neighbours.take(self.options.k).map(neighbour);
        Ok((
            self.shown(query)?,
            neighbours.collect::<Result<_, Error>>()?,
        ))
    }

    fn shown(&self, example: usize) -> Result<Shown, Error> {
        let case = &self.embedded.examples.cases[example];
        Ok(Shown {
            name: self.embedded.names[example].clone(),
            label: self.embedded.label(example),
            patient: case.patient.clone().unwrap_or_default(),
            split: case.split.map_or("", cache::Split::name),
            picture: self.embedded.picture(self.reader, example, LONGEST)?,
        })
    }

    fn record(
        &self,
        embedding: &Embedding,
        queries: &[(Shown, Vec<Neighbour>)],
    ) -> Result<RunRecord, Error> {
        let names: Vec<&String> = queries.iter().map(|(query, _)| &query.name).collect();
        let what = json!({
            "probe": "nearest",
            "queries": names,
            "k": self.options.k,
            "other_patients": self.options.other_patients,
            "features": embedding.tokens,
        });
        let record = self
            .embedded
            .record(self.reader, embedding, fields(&what))?;
        let all = || {
            queries
                .iter()
                .flat_map(|(query, found)| found.iter().map(move |n| (query, n)))
        };
        let labelled = all().filter(|(query, _)| !query.label.is_empty());
        let alike = labelled
            .clone()
            .filter(|(query, n)| query.label == n.shown.label);
        let same = all()
            .filter(|(_, neighbour)| neighbour.same_patient)
            .count();
        let metrics = json!({
            "same_label": share(alike.count(), labelled.count()),
            "same_patient": share(same, all().count()),
            "neighbours": queries.iter().map(|(_, found)| json_of(found)).collect::<Vec<_>>(),
        });
        Ok(RunRecord {
            setting: format!("k={} {}", self.options.k, embedding.name()),
            metrics: fields(&metrics),
            n_train: self.embedded.len(),
            n_test: queries.len(),
            ..record
        })
    }
}

fn share(part: usize, all: usize) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

fn json_of(neighbours: &[Neighbour]) -> Value {
    let one = |neighbour: &Neighbour| {
        json!({
            "case": neighbour.shown.name,
            "distance": neighbour.distance,
            "label": neighbour.shown.label,
            "patient": neighbour.shown.patient,
            "split": neighbour.shown.split,
            "same_patient": neighbour.same_patient,
        })
    };
    neighbours.iter().map(one).collect()
}
