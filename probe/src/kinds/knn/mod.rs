//! Nearest neighbours.

mod search;

use anyhow::bail;
use cache::{CacheReader, Task as Labels};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::TokenArgs;
use crate::Error;
use crate::evaluate::{Fitted, Probe, Task, fields, no_effect};
use crate::features::Tokens;
#[cfg(feature = "hnsw")]
use crate::probes::hnsw::HnswOptions;
use crate::probes::knn::Vote;
use crate::protocol::Protocol;
use crate::values::{integer, positive};

/// Temperature of the softmax vote in DINOv2's evaluation.
const TEMPERATURE: f64 = 0.07;
/// Candidates kept by a search of `--index hnsw`.
#[cfg(feature = "hnsw")]
const CANDIDATES: usize = 200;

/// Classify by nearest neighbours
///
/// The neighbours vote; multi-label datasets are classified by ML-kNN.
#[derive(Args, Debug)]
pub(super) struct Knn {
    /// Numbers of neighbours, all evaluated from one search [default: 10,20,100,200, or the study's, up to
    /// the number of training examples]
    #[arg(long = "k", value_name = "K", value_delimiter = ',', value_parser = neighbours)]
    ks: Option<Vec<usize>>,
    #[command(flatten)]
    tokens: TokenArgs,
    /// Vote of the neighbours [default: softmax for single-label data, ML-kNN for multi-label data]
    #[arg(long)]
    vote: Option<VoteArg>,
    /// Temperature of --vote softmax [default: 0.07]
    #[arg(long, requires = "vote", value_parser = positive::<f64>)]
    temperature: Option<f64>,
    /// ML-kNN: exclude a training example from its own neighbours [default: true, or false with --protocol
    /// paper]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    exclude_self: Option<bool>,
    /// Search: exact, or approximate by following links, whose recall is measured
    #[arg(long, default_value = "exact")]
    index: IndexArg,
    /// Candidates kept by a search of --index hnsw: more find more neighbours and take longer
    /// [default: 200]
    #[cfg(feature = "hnsw")]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    ef: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum VoteArg {
    Softmax,
    Majority,
    Distance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IndexArg {
    Exact,
    #[cfg(feature = "hnsw")]
    Hnsw,
}

/// Search for neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum IndexKind {
    /// Exhaustive.
    Exact,
    /// Approximate, by following links.
    #[cfg(feature = "hnsw")]
    Hnsw(HnswOptions),
}

fn neighbours(word: &str) -> Result<usize, String> {
    integer(word, &(1..=1_000_000))
}

impl Knn {
    /// DINOv2's vote.
    const SOFTMAX: Vote = Vote::Softmax {
        temperature: TEMPERATURE,
    };

    /// Given numbers of neighbours, each once.
    fn distinct(&self) -> Option<Vec<usize>> {
        let mut found = Vec::new();
        for k in self.ks.as_ref()? {
            if !found.contains(k) {
                found.push(*k);
            }
        }
        Some(found)
    }

    /// The vote; `None` for a softmax vote on single-label tasks and ML-kNN on multi-label ones.
    fn vote(&self) -> Option<Vote> {
        self.vote.map(|vote| match vote {
            VoteArg::Softmax => Vote::Softmax {
                temperature: self.temperature.unwrap_or(TEMPERATURE),
            },
            VoteArg::Majority => Vote::Majority,
            VoteArg::Distance => Vote::Distance,
        })
    }

    fn index(&self) -> IndexKind {
        match self.index {
            IndexArg::Exact => IndexKind::Exact,
            #[cfg(feature = "hnsw")]
            IndexArg::Hnsw => IndexKind::Hnsw(HnswOptions {
                ef: self.ef.map_or(CANDIDATES, |ef| ef as usize),
                ..HnswOptions::default()
            }),
        }
    }

    fn exclude_self(&self, protocol: Protocol) -> bool {
        self.exclude_self.unwrap_or(!protocol.counts_self())
    }

    /// An option without effect, and the option that it needs.
    fn without_effect(&self) -> Option<(&'static str, &'static str)> {
        let is_softmax = self.vote == Some(VoteArg::Softmax);
        if self.temperature.is_some() && !is_softmax {
            return Some(("--temperature", "--vote softmax"));
        }
        if self.exclude_self.is_some() && self.vote.is_some() {
            return Some(("--exclude-self", "ML-kNN, so no --vote"));
        }
        #[cfg(feature = "hnsw")]
        if self.ef.is_some() && self.index == IndexArg::Exact {
            return Some(("--ef", "--index hnsw"));
        }
        None
    }
}

impl Probe for Knn {
    const NAME: &'static str = "knn";
    const EVALUATES_VAL: bool = true;

    fn tokens(&self, _: u32) -> Tokens {
        self.tokens.tokens()
    }

    fn options(
        &self,
        protocol: Protocol,
        reader: &CacheReader,
    ) -> Result<Map<String, Value>, Error> {
        let task = reader.meta().task;
        if self.exclude_self.is_some() && task == Labels::SingleLabel {
            let why = "ML-kNN is for multi-label data, but classes of this dataset are exclusive";
            return Err(no_effect(reader, "--exclude-self", why));
        }
        // Default numbers above that of the training examples are left out.
        let (name, ks) = match self.distinct() {
            Some(ks) => ("ks", ks),
            None => ("ks_up_to_examples", protocol.neighbours().to_vec()),
        };
        let default = match task {
            Labels::MultiLabel => json!("ml-knn"),
            Labels::SingleLabel | Labels::Unlabelled => json!(Knn::SOFTMAX),
        };
        Ok(fields(&json!({
            name: ks,
            "features": self.tokens.features,
            "layer": self.tokens.layer,
            "vote": self.vote().map_or(default, |vote| json!(vote)),
            "exclude_self": self.exclude_self(protocol),
            "index": self.index(),
        })))
    }

    fn check(&self) -> anyhow::Result<()> {
        if let Some((option, needed)) = self.without_effect() {
            bail!("`{option}`: needs {needed}\nhint: leave it out");
        }
        Ok(())
    }

    fn fit(&self, task: &Task<'_>) -> Result<Vec<Fitted>, Error> {
        search::fit(task, self)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn parse(words: &str) -> Result<Knn, clap::Error> {
        let command = Knn::augment_args(Command::new("knn").no_binary_name(true));
        Knn::from_arg_matches(&command.try_get_matches_from(words.split_whitespace())?)
    }

    #[test]
    fn k_is_a_list_or_repeated() {
        let ks = |words| parse(words).unwrap().distinct();
        assert_eq!(ks("--k 10,20 --k 200,10"), Some(vec![10, 20, 200]));
        assert_eq!(ks(""), None);
        assert!(parse("--k 0").is_err());
        assert!(parse("--k 99999999999").is_err());
    }

    #[test]
    fn temperatures_are_positive() {
        assert!(parse("--vote softmax --temperature 0").is_err());
        assert!(parse("--vote softmax --temperature nan").is_err());
        assert!(parse("--temperature 0.1").is_err());
        let vote = parse("--vote softmax --temperature 0.1").unwrap().vote();
        assert_eq!(vote, Some(Vote::Softmax { temperature: 0.1 }));
    }

    #[cfg(feature = "hnsw")]
    #[test]
    fn only_an_approximate_search_has_candidates() {
        let index = |words| parse(words).unwrap().index();
        assert_eq!(index(""), IndexKind::Exact);
        let ef = |words| match index(words) {
            IndexKind::Hnsw(options) => options.ef,
            IndexKind::Exact => 0,
        };
        assert_eq!(ef("--index hnsw"), 200);
        assert_eq!(ef("--index hnsw --ef 50"), 50);
        assert!(parse("--index hnsw --ef 0").is_err());
    }

    #[test]
    fn options_without_effect_are_rejected() {
        for words in [
            "--vote majority --temperature 0.07",
            "--vote distance --exclude-self",
            "--index exact --ef 50",
        ] {
            let text = parse(words).unwrap().check().unwrap_err().to_string();
            assert!(text.contains("needs ") && text.contains("hint:"), "{text}");
        }
    }
}
