//! Maps of embeddings in two dimensions.

mod colour;
mod figure;
mod table;

use std::path::PathBuf;
use std::time::Instant;

use cache::CacheReader;
use ndarray::{Array2, ArrayView2};
use serde_json::json;

use self::colour::Column;
use super::embedded::{Embedded, Embedding};
use crate::Error;
use crate::error::ExploreError;
use crate::evaluate::fields;
use crate::metadata::Metadata;
use crate::probes::pca::Moments;
use crate::probes::search::{Index, Neighbours};
use crate::probes::tsne::{most_perplexity, tsne};
use crate::progress::Steps;
use crate::record::RunRecord;

/// Perplexity of t-SNE, if there are enough examples.
const PERPLEXITY: usize = 30;
/// Neighbours that the table of a map lists for each example.
const LISTED: usize = 15;
/// Columns that give colours, if none are named.
const COLOURS: [&str; 3] = ["label", "split", "patient"];
/// Fewest examples that give a map.
const FEWEST: usize = 4;

/// The way to two dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// t-SNE over the exact nearest neighbours, from the first two principal components on.
    Tsne {
        /// Perplexity; 30, or a third of the other examples if they are fewer, if `None`.
        perplexity: Option<usize>,
    },
    /// The first two principal components.
    Pca,
}

impl Method {
    /// Name in records.
    fn name(self) -> &'static str {
        match self {
            Method::Tsne { .. } => "tsne",
            Method::Pca => "pca",
        }
    }
}

/// Options of [`map`].
#[derive(Clone, Debug)]
pub struct MapOptions {
    /// The features.
    pub embedding: Embedding,
    /// The way to two dimensions.
    pub method: Method,
    /// Columns that give colours: `label`, `split`, `patient`, `sample`, or those of `metadata`. If empty, those of
    /// `label`, `split` and `patient` in which examples differ.
    pub colours: Vec<String>,
    /// A table with further columns.
    pub metadata: Option<PathBuf>,
}

/// A map.
#[derive(Debug)]
pub struct Mapped {
    /// Record of the map.
    pub record: RunRecord,
    embedded: Embedded,
    /// `[N, 2]`.
    places: Array2<f32>,
    /// The [`LISTED`] nearest of each example.
    neighbours: Neighbours,
    colours: Vec<Column>,
}

/// Computes a map of all examples, whatever split they are in, from their features scaled to length 1.
///
/// # Errors
///
/// [`ExploreError::TooFewForMap`] if there are too few examples for the perplexity, [`ExploreError::NoSuchColumn`],
/// [`ExploreError::Metadata`], and those of [`Examples::read`](crate::examples::Examples::read).
pub fn map(reader: &CacheReader, options: &MapOptions, steps: &Steps<'_>) -> Result<Mapped, Error> {
    let start = Instant::now();
    let metadata = options
        .metadata
        .as_deref()
        .map(Metadata::read)
        .transpose()?;
    steps.say("reading tokens");
    let embedded = Embedded::read(reader, &options.embedding, false)?;
    let colours = colours(reader, &embedded, metadata.as_ref(), &options.colours)?;
    let features = embedded.normalised();
    let perplexity = perplexity(reader, options.method, embedded.len())?;
    let wanted = perplexity.map_or(LISTED, |perplexity| (3 * perplexity).max(LISTED));
    steps.say(&format!(
        "nearest neighbours of {} examples",
        embedded.len()
    ));
    let index = Index::new(features.view());
    // One more, since each example is its own neighbour.
    let found = index
        .neighbours(features.view(), wanted + 1)
        .without_self(0);
    steps.say("principal components");
    let (first, shares) = components(features.view());
    steps.say(options.method.name());
    let places = match perplexity {
        Some(perplexity) => tsne(&first_of(&found, 3 * perplexity), &first, perplexity),
        None => first.mapv(|value| value as f32),
    };
    let neighbours = first_of(&found, LISTED);
    let metrics = json!({
        "neighbours_kept": kept(places.view(), &neighbours),
        "explained_variance_ratio": shares,
    });
    let what = json!({
        "probe": "map",
        "method": options.method.name(),
        "perplexity": perplexity,
        "colours": colours.iter().map(|column| &column.name).collect::<Vec<_>>(),
        "metadata_sha256": metadata.as_ref().map(Metadata::sha256),
        "features": options.embedding.tokens,
    });
    let setting = match perplexity {
        Some(perplexity) => format!("t-SNE perplexity={perplexity}"),
        None => "PCA".into(),
    };
    let record = embedded.record(reader, &options.embedding, fields(&what))?;
    Ok(Mapped {
        record: RunRecord {
            setting: format!("{setting} {}", options.embedding.name()),
            metrics: fields(&metrics),
            n_test: embedded.len(),
            seconds: start.elapsed().as_secs_f64(),
            ..record
        },
        embedded,
        places,
        neighbours,
        colours,
    })
}

fn colours(
    reader: &CacheReader,
    embedded: &Embedded,
    metadata: Option<&Metadata>,
    names: &[String],
) -> Result<Vec<Column>, Error> {
    let column = |name: &str| Column::of(reader, embedded, metadata, name);
    if !names.is_empty() {
        return names.iter().map(|name| column(name)).collect();
    }
    let mut columns = COLOURS
        .map(column)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    if columns.iter().any(|column| !column.is_constant()) {
        columns.retain(|column| !column.is_constant());
    } else {
        columns.truncate(1);
    }
    Ok(columns)
}

/// The perplexity of t-SNE; `None` for principal components.
fn perplexity(
    reader: &CacheReader,
    method: Method,
    examples: usize,
) -> Result<Option<usize>, Error> {
    let most = most_perplexity(examples);
    let too_few = |wanted| {
        Error::Explore(ExploreError::TooFewForMap {
            path: reader.dir().into(),
            examples,
            wanted,
            most,
        })
    };
    match method {
        _ if examples < FEWEST => Err(too_few(1)),
        Method::Pca => Ok(None),
        Method::Tsne {
            perplexity: Some(wanted),
        } if wanted > most => Err(too_few(wanted)),
        Method::Tsne { perplexity } => Ok(Some(perplexity.unwrap_or(PERPLEXITY.min(most)))),
    }
}

/// The first two principal components `[N, 2]`, and their shares in the variance.
fn components(features: ArrayView2<'_, f32>) -> (Array2<f64>, Vec<f64>) {
    let mut moments = Moments::new(features.ncols());
    let rows = || {
        features
            .outer_iter()
            .map(|row| row.to_slice().unwrap_or_default())
    };
    for first in (0..features.nrows()).step_by(1024) {
        moments.add(rows().skip(first).take(1024));
    }
    let found = moments.components(2);
    let mut places = Array2::zeros((features.nrows(), 2));
    for (mut place, row) in places.outer_iter_mut().zip(rows()) {
        for (value, score) in place.iter_mut().zip(found.scores(row)) {
            *value = score;
        }
    }
    (places, found.shares())
}

fn first_of(found: &Neighbours, count: usize) -> Neighbours {
    let count = count.min(found.index.ncols());
    Neighbours {
        index: found.index.slice(ndarray::s![.., ..count]).to_owned(),
        similarity: found.similarity.slice(ndarray::s![.., ..count]).to_owned(),
    }
}

/// Share of the neighbours that are among as many nearest points of the map: of all examples, or of a thousand at
/// equal distances.
fn kept(places: ArrayView2<'_, f32>, neighbours: &Neighbours) -> f64 {
    let (count, k) = neighbours.index.dim();
    let checked = common::draw::equidistant(count, 1000);
    let mut kept = 0;
    for &point in &checked {
        let distance = |other: usize| {
            let [x, y] = [0, 1].map(|axis| places[[point, axis]] - places[[other, axis]]);
            x * x + y * y
        };
        let mut others: Vec<(f32, usize)> = (0..count)
            .filter(|&other| other != point)
            .map(|other| (distance(other), other))
            .collect();
        let by_distance =
            |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if others.len() > k {
            others.select_nth_unstable_by(k, by_distance);
        }
        let near = &others[..k];
        let known = neighbours.index.row(point);
        let is_near = |key: &&u32| near.iter().any(|&(_, other)| other == **key as usize);
        kept += known.iter().filter(is_near).count();
    }
    kept as f64 / (checked.len() * k).max(1) as f64
}
