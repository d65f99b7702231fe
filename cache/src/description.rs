//! Checks of `meta.json` besides sizes and names: element type, recipe, numbers of rows.

use common::counted;
use serde_json::Value;

use crate::CacheMeta;
use crate::rows::Invalid;
use crate::schema::Table;

/// The element type of all tensors.
const DTYPE: &str = "f16";

/// Keys of `preprocess` that are words.
const WORDS: [&str; 5] = ["slicing", "intensity", "resize", "rescale", "non_finite"];

/// Keys of `preprocess` that are a number per channel.
const CHANNELS: [&str; 2] = ["mean", "std"];

/// Refuses descriptions that the format does not allow.
pub(crate) fn check(meta: &CacheMeta) -> Result<(), Invalid> {
    if meta.dtype != DTYPE {
        let found = format!("`{}`", meta.dtype);
        return Err(Invalid::new("`dtype`", found, format!("`{DTYPE}`")));
    }
    check_recipe(meta)?;
    check_rows(meta)?;
    let known = Table::of(meta);
    let undeclared = Table::ALL.into_iter().find(|table| {
        let mut shards = meta.shards.iter().chain(&meta.pending);
        let mut has_file = |name: &str| shards.any(|s| s.tables.contains_key(name));
        !known.contains(table) && has_file(table.name())
    });
    undeclared.map_or(Ok(()), |table| {
        let found = format!("one of the table `{}`", table.name());
        let expected = "the tables that `tokens`, `has_masks` and `has_pictures` say".to_owned();
        Err(Invalid::new("a shard's file", found, expected))
    })
}

fn check_recipe(meta: &CacheMeta) -> Result<(), Invalid> {
    let value = |key: &str| meta.preprocess.get(key).unwrap_or(&Value::Null);
    let is_size = value("image_size").as_u64() == Some(meta.image_size.into());
    let words = WORDS.map(|key| (key, value(key).is_string(), "a word"));
    let numbers = CHANNELS.map(|key| {
        let of = value(key).as_array();
        let is_each = of.is_some_and(|of| of.len() == 3 && of.iter().all(Value::is_number));
        (key, is_each, "three numbers")
    });
    let size = ("image_size", is_size, "that of `image_size`");
    let mut all = [size].into_iter().chain(words).chain(numbers);
    all.find(|(_, is_right, _)| !is_right)
        .map_or(Ok(()), |(key, _, expected)| {
            let found = format!("{} for `{key}`", value(key));
            Err(Invalid::new("`preprocess`", found, expected.to_owned()))
        })
}

/// Checks that shards hold whole batches, all but the last one `shard_rows` rows, and that each sample of a
/// complete cache has rows or was skipped.
fn check_rows(meta: &CacheMeta) -> Result<(), Invalid> {
    if meta.batch_size == 0 {
        let expected = "at least 1".to_owned();
        return Err(Invalid::new("`batch_size`", "0".to_owned(), expected));
    }
    if meta.shard_rows == 0 || !meta.shard_rows.is_multiple_of(meta.batch_size) {
        let expected = format!("a multiple of `batch_size`, {}", meta.batch_size);
        let found = meta.shard_rows.to_string();
        return Err(Invalid::new("`shard_rows`", found, expected));
    }
    let (last, whole) = meta
        .shards
        .split_last()
        .map_or((0, &[][..]), |(last, whole)| (last.rows, whole));
    let other = whole.iter().map(|shard| shard.rows);
    let mut other = other.filter(|&rows| rows != meta.shard_rows);
    if let Some(rows) = other.next().or((last > meta.shard_rows).then_some(last)) {
        let expected = format!(
            "{}, as `shard_rows` says, or less in the last",
            meta.shard_rows
        );
        return Err(Invalid::new("a shard", counted(rows, "row"), expected));
    }
    check_pending(meta, last)?;
    let most = meta.rows.saturating_add(meta.skipped.len() as u64);
    if meta.complete && meta.rows > 0 && meta.samples > most {
        let expected = format!("at most {most}, the rows and those left out");
        Err(Invalid::new(
            "`samples`",
            meta.samples.to_string(),
            expected,
        ))
    } else {
        Ok(())
    }
}

/// Checks the rows that were saved after the last finished shard, which has `last` rows.
fn check_pending(meta: &CacheMeta, last: u32) -> Result<(), Invalid> {
    if meta.pending.is_empty() {
        return Ok(());
    }
    let is_after_whole = meta.shards.is_empty() || last == meta.shard_rows;
    let is_filled = meta.pending.iter().all(|part| part.rows > 0);
    if !meta.complete
        && is_after_whole
        && is_filled
        && meta.pending_rows() < u64::from(meta.shard_rows)
    {
        return Ok(());
    }
    Err(Invalid::new(
        "`pending`",
        counted(meta.pending_rows(), "row"),
        "fewer rows than a shard has, after whole shards of an unfinished cache",
    ))
}
