//! Origin of imported tokens.

use serde::{Deserialize, Serialize};

/// Origin of tokens that another program computed. Their recipe is not known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Imported {
    /// Format of the files: `npy`, `npz`, `parquet`, `hdf5`, `trident` or `eva`.
    pub format: String,
    /// Number of files, tables of labels included.
    pub files: u64,
    /// SHA-256 over names and hashes of the files, in hex; each file is in the table `sources`.
    pub sha256: String,
    /// Factor by which all numbers were multiplied; `None` if by none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Content of the tables `cls` and `mean`.
    pub tokens: ImportedTokens,
}

/// Content of the tables `cls` and `mean` of an imported cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportedTokens {
    /// The files have one vector for each row, which both tables hold.
    OneVector,
    /// The files have patch tokens only, whose mean both tables hold.
    PatchTokens,
    /// The files have both.
    Both,
}
