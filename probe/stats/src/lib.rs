//! Rank statistics and curves over results.
