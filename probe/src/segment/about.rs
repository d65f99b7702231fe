//! The metadata of trained decoders.

use serde::{Deserialize, Serialize};

use crate::origin::Origin;

/// The data and the training of a decoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// `linear` or `unet`.
    pub decoder: String,
    /// The cache that it was trained on.
    pub origin: Origin,
    /// Input height and width of the backbone in pixels, `S`.
    pub image_size: usize,
    /// Names of the classes, background first.
    pub classes: Vec<String>,
    /// The value of each class in label maps.
    pub values: Vec<u16>,
    /// Layers whose patch tokens it takes, in the order of its inputs; 1 is the last block.
    pub layers: Vec<u32>,
    /// Whether tokens first go through [`nn::layer_norm`].
    #[serde(default)]
    pub layer_norm: bool,
    /// Width of a token, `D`.
    pub width: usize,
    /// Rows and columns of the patch grid, `h` and `w`.
    pub grid: [usize; 2],
    /// Number of trained parameters.
    pub parameters: usize,
    /// The initial learning rate.
    pub learning_rate: f32,
    /// Epochs of the training.
    pub epochs: usize,
    /// Pooled Dice coefficient on the slices on which learning rate and epochs were chosen.
    pub val_dice: Option<f64>,
    /// Patients or samples of a few-shot run.
    pub shots: Option<usize>,
}

impl About {
    /// The key of this in the metadata of a decoder's files.
    pub(super) const KEY: &str = "slicebank.decoder";
}
