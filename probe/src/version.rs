//! Version of the results of evaluations.

/// Version of the results of evaluations: records of another version are not current. Raise it when
/// equal settings on an equal cache give other results; `tests/versions.rs` fails until then.
pub const EVALUATION_VERSION: u32 = 4;
