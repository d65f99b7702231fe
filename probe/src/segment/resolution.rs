//! The size at which label maps are compared.

/// The size at which label maps are compared, and what is averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The backbone's input, as in the study; the pixels of all slices are counted together.
    Input,
    /// Each slice's own height and width; measures are means over volumes.
    Native,
}
