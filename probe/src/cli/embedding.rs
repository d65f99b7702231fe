//! Options of commands that search among all examples.

use clap::Args;

use crate::examples::{Pool, Unit};
use crate::explore::Embedding;
use crate::kinds::TokenArgs;

#[derive(Debug, Args)]
pub(super) struct EmbeddingArgs {
    #[command(flatten)]
    tokens: TokenArgs,
    /// Unit of examples [default: volume if all slices of each sample have the same labels, else slice]
    #[arg(long)]
    unit: Option<Unit>,
    /// Pooling of the features of slices to those of a volume [default: mean]
    #[arg(long)]
    pool: Option<Pool>,
    /// Name of a split made by `extract split` [default: the split of the extraction]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
}

impl EmbeddingArgs {
    pub(super) fn embedding(&self) -> Embedding {
        Embedding {
            tokens: self.tokens.tokens(),
            unit: self.unit,
            pool: self.pool,
            split: self.split.clone(),
        }
    }
}
