//! Names and layers of decoders.

use nn::Kind;

/// The name of a decoder in records, files and on the command line.
pub(super) fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Linear => "linear",
        Kind::UNet => "unet",
    }
}

/// The decoder of a name.
pub(super) fn of_name(word: &str) -> Option<Kind> {
    [Kind::Linear, Kind::UNet]
        .into_iter()
        .find(|&kind| name(kind) == word)
}

/// The layers whose patch tokens a decoder takes, oldest first; 1 is the last block.
pub(super) fn layers(kind: Kind) -> Vec<u32> {
    (1..=kind.layers() as u32).rev().collect()
}
