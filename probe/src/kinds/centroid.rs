//! The nearest centroid, a head of `few-shot`.

use cache::CacheReader;
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use super::TokenArgs;
use crate::Error;
use crate::evaluate::{Fitted, Probe, Task, fields};
use crate::features::Tokens;
use crate::probes::centroid;
use crate::protocol::Protocol;
use crate::scores::Scores;

/// Classify by the nearest class mean
#[derive(Args, Debug, Serialize)]
pub(super) struct Centroid {
    #[command(flatten)]
    #[serde(flatten)]
    tokens: TokenArgs,
}

impl Probe for Centroid {
    const NAME: &'static str = "centroid";
    const IS_COMMAND: bool = false;
    const CHOOSES: bool = false;

    fn tokens(&self, _: u32) -> Tokens {
        self.tokens.tokens()
    }

    fn options(&self, _: Protocol, _: &CacheReader) -> Result<Map<String, Value>, Error> {
        Ok(fields(self))
    }

    fn fit(&self, task: &Task<'_>) -> Result<Vec<Fitted>, Error> {
        let (examples, parts) = (task.examples, &task.parts);
        let train = examples.normalised(&parts.fit);
        let test = examples.normalised(&parts.test);
        let truth = examples.truth(&parts.fit);
        let mut params = fields(&self.tokens);
        params.insert("temperature".into(), centroid::TEMPERATURE.into());
        let scores = centroid::scores(train.view(), &truth, task.classes(), test.view());
        Ok(vec![Fitted {
            setting: Self::NAME.into(),
            params,
            scores: Scores::probabilities(scores),
            thresholds: None,
            n_train: parts.fit.len(),
            choice: None,
            warnings: Vec::new(),
            head: None,
        }])
    }
}
