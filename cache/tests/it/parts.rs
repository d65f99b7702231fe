//! Parts of a cache, and joining them.

use std::fs;
use std::path::Path;

use cache::{
    CacheMeta, CacheReader, CacheWriter, Error, Listed, Locked, Part, Skipped, Task, Tokens, list,
    merge, part_dir,
};
use proptest::prelude::*;

use crate::made::{assert_holds, batch, files, meta, write};

/// Samples of the dataset, with three rows each.
const SAMPLES: u64 = 8;

/// The cache of one part: samples `first..end`, which are appended in batches of `rows`.
fn write_part(dir: &Path, whole: &CacheMeta, part: Part, end: u64) {
    let run = part_meta(whole, part, end);
    let dir = part_dir(dir, part.index, part.of);
    let mut writer = CacheWriter::open(&dir, run).unwrap();
    let rows = part.first_sample as usize * 3..end as usize * 3;
    for first in rows.clone().step_by(whole.batch_size as usize) {
        let count = (rows.end - first).min(whole.batch_size as usize);
        writer.append(&batch(whole, first, count)).unwrap();
    }
    writer.finish().unwrap();
}

fn part_meta(whole: &CacheMeta, part: Part, end: u64) -> CacheMeta {
    CacheMeta {
        part: Some(part),
        samples: end - part.first_sample,
        ..whole.clone()
    }
}

/// All parts that end at these samples.
fn write_parts(dir: &Path, whole: &CacheMeta, ends: &[u64]) {
    let starts = [0].into_iter().chain(ends.iter().copied());
    for (index, (first_sample, &end)) in (1..).zip(starts.zip(ends)) {
        let part = Part {
            index,
            of: ends.len() as u32,
            first_sample,
            samples: SAMPLES,
        };
        write_part(dir, whole, part, end);
    }
}

fn whole(tokens: Tokens, has_masks: bool, batch_size: u32, batches: u32) -> CacheMeta {
    CacheMeta {
        samples: SAMPLES,
        batch_size,
        ..meta(Task::SingleLabel, tokens, has_masks, batch_size * batches)
    }
}

fn refused(dir: &Path) -> String {
    merge(dir, 1).unwrap_err().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn joined_parts_are_the_files_of_one_run(
        cuts in prop::collection::btree_set(1..SAMPLES, 0..6),
        tokens in prop::sample::select(vec![Tokens::Cls, Tokens::All, Tokens::Residual]),
        has_masks: bool,
        batch_size in 1_u32..6,
        batches in 1_u32..4,
    ) {
        let (one, joined) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let whole = whole(tokens, has_masks, batch_size, batches);
        let rows = SAMPLES as usize * 3;
        let sizes = (0..rows).step_by(batch_size as usize);
        let sizes: Vec<_> = sizes.map(|first| (rows - first).min(batch_size as usize)).collect();
        write(one.path(), &whole, &sizes);
        let ends: Vec<u64> = cuts.into_iter().chain([SAMPLES]).collect();
        write_parts(joined.path(), &whole, &ends);
        merge(joined.path(), 2).unwrap();
        assert_holds(joined.path(), &whole, rows);
        assert!(files(one.path()) == files(joined.path()));
        prop_assert!(!joined.path().join("parts").exists());
        // Again: nothing is left to do.
        prop_assert_eq!(merge(joined.path(), 1).unwrap().rows, rows as u64);
    }
}

#[test]
fn a_merge_that_was_stopped_goes_on() {
    let (one, joined) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = whole(Tokens::All, true, 2, 1);
    write(one.path(), &whole, &[2; 12]);
    write_parts(joined.path(), &whole, &[3, 4, SAMPLES]);
    // Five rows of the whole were written, four of them in finished shards.
    let mut writer = CacheWriter::open(joined.path(), whole.clone()).unwrap();
    for first in [0, 2] {
        writer.append(&batch(&whole, first, 2)).unwrap();
    }
    writer.append(&batch(&whole, 4, 1)).unwrap();
    drop(writer);
    let error = CacheReader::open(joined.path()).unwrap_err();
    assert!(matches!(error, Error::Parts { .. }), "{error}");
    merge(joined.path(), 1).unwrap();
    assert!(files(one.path()) == files(joined.path()));
}

#[test]
fn a_whole_of_which_parts_are_left_is_verified_before_they_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole(Tokens::Cls, false, 4, 1);
    write_parts(dir.path(), &whole, &[2, SAMPLES]);
    write(dir.path(), &whole, &[4; 6]);
    let shard = dir.path().join("cls/00002.parquet");
    let sound = fs::read(&shard).unwrap();
    let mut damaged = sound.clone();
    damaged[100] ^= 1;
    fs::write(&shard, damaged).unwrap();
    assert!(refused(dir.path()).contains("cls/00002.parquet"));
    assert!(part_dir(dir.path(), 1, 2).is_dir());
    fs::write(&shard, sound).unwrap();
    merge(dir.path(), 1).unwrap();
    assert!(!dir.path().join("parts").exists());
}

#[test]
fn files_beside_the_parts_are_not_deleted_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole(Tokens::Cls, false, 4, 1);
    write_parts(dir.path(), &whole, &[2, SAMPLES]);
    let notes = dir.path().join("parts/notes/thesis.doc");
    fs::create_dir_all(notes.parent().unwrap()).unwrap();
    fs::write(&notes, "precious").unwrap();
    merge(dir.path(), 1).unwrap();
    assert_eq!(fs::read(&notes).unwrap(), b"precious");
    assert!(!part_dir(dir.path(), 1, 2).exists());
    let listed = Listed::of(dir.path().to_path_buf());
    assert_eq!(listed.cells()[4], "complete");
}

#[test]
fn a_cache_without_parts_is_not_joined() {
    let dir = tempfile::tempdir().unwrap();
    assert!(refused(dir.path()).contains("no cache here"));
    let whole = whole(Tokens::Cls, false, 2, 1);
    let mut writer = CacheWriter::open(dir.path(), whole.clone()).unwrap();
    writer.append(&batch(&whole, 0, 2)).unwrap();
    drop(writer);
    let text = refused(dir.path());
    assert!(text.contains("not finished (2 slices so far)"), "{text}");
}

#[test]
fn parts_without_a_readable_sample_are_joined_with_what_they_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole(Tokens::Cls, false, 4, 1);
    let part = |index, first_sample| Part {
        index,
        of: 3,
        first_sample,
        samples: SAMPLES,
    };
    write_part(dir.path(), &whole, part(1, 0), 2);
    let run = part_meta(&whole, part(2, 2), 4);
    let mut writer = CacheWriter::open(&part_dir(dir.path(), 2, 3), run).unwrap();
    let skipped = ["sample 2", "sample 3"].map(|sample| Skipped {
        sample: sample.into(),
        reason: "damaged".into(),
    });
    skipped
        .iter()
        .for_each(|skipped| writer.skip(skipped.clone()));
    writer.finish().unwrap();
    write_part(dir.path(), &whole, part(3, 4), SAMPLES);
    let joined = merge(dir.path(), 1).unwrap();
    assert_eq!(joined.skipped, skipped);
    assert_eq!(joined.rows, 18);
    let slices = CacheReader::open(dir.path()).unwrap().slices().unwrap();
    assert_eq!(slices[6].sample, "sample 4");
}

#[test]
fn parts_without_any_slice_are_not_joined() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole(Tokens::Cls, false, 4, 1);
    for (index, first_sample, end) in [(1, 0, 4), (2, 4, SAMPLES)] {
        let part = Part {
            index,
            of: 2,
            first_sample,
            samples: SAMPLES,
        };
        let run = part_meta(&whole, part, end);
        let writer = CacheWriter::open(&part_dir(dir.path(), index, 2), run).unwrap();
        writer.finish().unwrap();
    }
    let text = refused(dir.path());
    assert!(text.contains("none of 8 samples could be read"), "{text}");
    assert!(!dir.path().join("meta.json").exists());
}

#[test]
fn missing_parts_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("data/model@28");
    let whole = whole(Tokens::Cls, false, 4, 1);
    write_parts(&cache, &whole, &[1, 2, 3, SAMPLES]);
    let open = || CacheReader::open(&cache).unwrap_err().to_string();
    assert!(open().contains("4 of 4 parts are done, but not joined\nhint: run `extract merge"));
    fs::remove_dir_all(part_dir(&cache, 3, 4)).unwrap();
    assert!(
        open().contains("3 of 4 parts are done; missing: 3\nhint:"),
        "{}",
        open()
    );
    assert!(refused(&cache).contains("missing: 3"));
    fs::remove_dir_all(part_dir(&cache, 2, 4)).unwrap();
    let listed = list(dir.path()).unwrap();
    let cells = listed[0].cells();
    assert_eq!(cells[4], "2 of 4 parts, missing: 2-3");
    assert_eq!(cells[6], "18");
    assert_eq!(listed[0].json()["missing_parts"], serde_json::json!([2, 3]));
    // All of them are locked while they are deleted.
    let writer = CacheWriter::open(
        &part_dir(&cache, 1, 4),
        CacheMeta::read(&part_dir(&cache, 1, 4)).unwrap(),
    );
    assert!(matches!(Locked::of(&cache), Err(Error::Locked { .. })));
    drop(writer);
    Locked::of(&cache).unwrap().delete().unwrap();
    assert!(list(dir.path()).unwrap().is_empty());
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let with = |change: &dyn Fn(&mut CacheMeta, &mut Part)| {
        let dir = tempfile::tempdir().unwrap();
        let whole = whole(Tokens::Cls, false, 4, 1);
        write_parts(dir.path(), &whole, &[4, SAMPLES]);
        let second = part_dir(dir.path(), 2, 2);
        fs::remove_dir_all(second).unwrap();
        let mut part = Part {
            index: 2,
            of: 2,
            first_sample: 4,
            samples: SAMPLES,
        };
        let mut whole = whole.clone();
        change(&mut whole, &mut part);
        write_part(dir.path(), &whole, part, SAMPLES);
        refused(dir.path())
    };
    let text = with(&|whole, _| whole.preprocess["intensity"] = "voi".into());
    assert!(
        text.contains("2-of-2") && text.contains("preprocess.intensity"),
        "{text}"
    );
    let text = with(&|whole, _| whole.model.sha256 = "f".repeat(64));
    assert!(text.contains("model.sha256"), "{text}");
    let text = with(&|whole, _| whole.samples_sha256 = "other".into());
    assert!(text.contains("other samples"), "{text}");
    let text = with(&|_, part| part.first_sample = 5);
    assert!(text.contains("part.first_sample"), "{text}");
    let text = with(&|_, part| part.of = 3);
    assert!(text.contains("`part`") && text.contains("2 of 3"), "{text}");
}
