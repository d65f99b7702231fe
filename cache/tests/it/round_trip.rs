//! Reading gives what was written, also after a run was stopped.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use cache::{
    CacheMeta, CacheReader, CacheWriter, Depth, Labels, PatchDtype, Position, Skipped, Task, Tokens,
};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use proptest::prelude::*;

use crate::made::{assert_holds, batch, files, meta, picture, plain, slice, small, write};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_is_read(
        batches in prop::collection::vec(1_usize..6, 1..6),
        shard_rows in 1_u32..9,
        task in prop::sample::select(vec![Task::Unlabelled, Task::SingleLabel, Task::MultiLabel]),
        tokens in prop::sample::select(vec![Tokens::Cls, Tokens::All, Tokens::Residual]),
        has_masks: bool,
        has_placement: bool,
        has_pictures: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let meta = CacheMeta {
            has_placement,
            has_pictures,
            ..meta(task, tokens, has_masks, shard_rows)
        };
        write(dir.path(), &meta, &batches);
        assert_holds(dir.path(), &meta, batches.iter().sum());
    }

    #[test]
    fn a_stopped_writer_goes_on_to_the_same_bytes(stop in 0_usize..20, shard_rows in 1_u32..9) {
        let (whole, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let meta = meta(Task::MultiLabel, Tokens::All, true, shard_rows);
        write(whole.path(), &meta, &[1; 20]);

        let mut writer = CacheWriter::open(stopped.path(), meta.clone()).unwrap();
        (0..stop).for_each(|row| writer.append(&batch(&meta, row, 1)).unwrap());
        drop(writer);
        let mut writer = CacheWriter::open(stopped.path(), meta.clone()).unwrap();
        let done = stop - stop % shard_rows as usize;
        prop_assert_eq!(writer.meta().rows, done as u64);
        let last = done.checked_sub(1).map(|row| slice(&meta, row));
        let position = last.map(|s| Position { sample: s.sample, slice: s.slice, view: s.view });
        prop_assert_eq!(writer.position().unwrap(), position);
        (done..20).for_each(|row| writer.append(&batch(&meta, row, 1)).unwrap());
        writer.finish().unwrap();
        prop_assert!(files(whole.path()) == files(stopped.path()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Saves and stops at any rows leave no trace in the finished cache.
    #[test]
    fn rows_saved_within_a_shard_end_in_the_same_bytes(
        steps in prop::collection::vec((1_usize..8, any::<bool>(), any::<bool>()), 1..8),
        batch_size in 1_u32..4,
        shard_batches in 1_u32..5,
    ) {
        let (whole, saved) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let meta = CacheMeta {
            batch_size,
            ..meta(Task::MultiLabel, Tokens::All, true, batch_size * shard_batches)
        };
        let rows = |batches: usize| batches * batch_size as usize;
        let all = rows(steps.iter().map(|step| step.0).sum());
        write(whole.path(), &meta, &vec![batch_size as usize; all / batch_size as usize]);

        let mut writer = CacheWriter::open(saved.path(), meta.clone()).unwrap();
        let mut row = 0;
        for (batches, is_saved, is_stopped) in steps {
            for _ in 0..batches {
                writer.append(&batch(&meta, row, rows(1))).unwrap();
                row += rows(1);
            }
            if is_saved {
                writer.save().unwrap();
                prop_assert_eq!(writer.meta().saved_rows(), row as u64);
            }
            if is_stopped {
                drop(writer);
                writer = CacheWriter::open(saved.path(), meta.clone()).unwrap();
                prop_assert!(writer.damage().is_none());
                if is_saved {
                    prop_assert_eq!(writer.meta().saved_rows(), row as u64);
                }
                row = writer.meta().saved_rows() as usize;
                let last = row.checked_sub(1).map(|row| slice(&meta, row));
                let position = last.map(|s| Position { sample: s.sample, slice: s.slice, view: s.view });
                prop_assert_eq!(writer.position().unwrap(), position);
            }
        }
        while row < all {
            writer.append(&batch(&meta, row, rows(1))).unwrap();
            row += rows(1);
        }
        writer.finish().unwrap();
        prop_assert!(files(whole.path()) == files(saved.path()));
        prop_assert!(!saved.path().join("pending").exists());
    }
}

#[test]
fn damaged_rows_between_shards_are_dropped_and_told() {
    let meta = meta(Task::SingleLabel, Tokens::All, false, 8);
    for file in [
        "slices/00001.parquet",
        "patch/00001.parquet",
        "checksums/cls/00001.crc32",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = CacheWriter::open(dir.path(), meta.clone()).unwrap();
        for row in 0..3 {
            writer.append(&batch(&meta, row, 1)).unwrap();
            writer.save().unwrap();
        }
        drop(writer);
        let path = dir.path().join("pending").join(file);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        let faults = cache::verify(dir.path(), Depth::Full, 1).unwrap().faults;
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(
            faults.iter().any(|fault| fault.contains(file)),
            "{faults:?}"
        );
        let mut writer = CacheWriter::open(dir.path(), meta.clone()).unwrap();
        let damage = writer.damage().unwrap().to_string();
        assert!(damage.contains(file), "{damage}");
        assert_eq!(writer.meta().saved_rows(), 1);
        for row in 1..10 {
            writer.append(&batch(&meta, row, 1)).unwrap();
        }
        writer.finish().unwrap();
        assert_holds(dir.path(), &meta, 10);
    }
}

#[test]
fn patch_tokens_in_eight_bits_are_read_as_those_in_sixteen() {
    let (plain, small) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let f16 = CacheMeta {
        width: 64,
        ..meta(Task::MultiLabel, Tokens::All, true, 4)
    };
    let int8 = CacheMeta {
        patch_dtype: PatchDtype::Int8,
        ..f16.clone()
    };
    write(plain.path(), &f16, &[3, 6]);
    // Saved within a shard, and stopped.
    let mut writer = CacheWriter::open(small.path(), int8.clone()).unwrap();
    writer.append(&batch(&int8, 0, 3)).unwrap();
    writer.save().unwrap();
    drop(writer);
    let mut writer = CacheWriter::open(small.path(), int8.clone()).unwrap();
    writer.append(&batch(&int8, 3, 6)).unwrap();
    writer.finish().unwrap();
    let [plain, small] = [&plain, &small].map(|dir| CacheReader::open(dir.path()).unwrap());
    small.verify().unwrap();
    let patches = |reader: &CacheReader| reader.meta().shards[0].tables["patch"].bytes;
    assert!(patches(&small) < patches(&plain) * 2 / 3);
    assert_eq!(small.cls(1).unwrap(), plain.cls(1).unwrap());
    let rows = small.patches(&[1]).unwrap();
    let rows = rows
        .groups()
        .iter()
        .flat_map(|group| rows.read(group, |_| true).unwrap());
    let rows: Vec<_> = rows.collect();
    for shard in 0..small.meta().shards.len() {
        let [found, expected] = [&small, &plain].map(|reader| reader.patch(1, shard).unwrap());
        let greatest = expected
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        assert!(
            (&found - &expected)
                .iter()
                .all(|off| off.abs() <= greatest / 250.0)
        );
        for (row, tokens) in rows.iter().skip(4 * shard).zip(found.outer_iter()) {
            let mut copied = vec![0.0; tokens.len()];
            row.copy_to(0, &mut copied).unwrap();
            assert!(tokens.iter().eq(&copied));
        }
    }
    // Another type is another cache.
    let error = CacheWriter::open(small.dir(), f16)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("`patch_dtype`"), "{error}");
}

#[test]
fn a_picture_is_found_in_any_shard_and_row_group() {
    let dir = tempfile::tempdir().unwrap();
    // Four of these pictures fit in a row group.
    let meta = CacheMeta {
        has_pictures: true,
        image_size: 1024,
        preprocess: tests::recipe(1024),
        shard_rows: 5,
        ..plain()
    };
    write(dir.path(), &meta, &[3, 4]);
    let reader = CacheReader::open(dir.path()).unwrap();
    for row in [0, 3, 4, 5, 6] {
        assert!(reader.picture(row).unwrap() == picture(&meta, row), "{row}");
    }
    let error = reader.picture(7).unwrap_err().to_string();
    assert!(error.contains("no row 7, there are 7"), "{error}");
    assert_holds(dir.path(), &meta, 7);
}

#[test]
fn a_cache_without_placements_and_pictures_does_not_speak_of_them() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &plain(), &[2]);
    let text = fs::read_to_string(dir.path().join("meta.json")).unwrap();
    assert!(!text.contains("has_p"), "{text}");
    let reader = CacheReader::open(dir.path()).unwrap();
    for error in [reader.pictures(0).err(), reader.picture(0).err()] {
        let error = error.unwrap().to_string();
        assert!(error.contains("no `picture` table"), "{error}");
    }
}

#[test]
fn a_file_of_the_user_s_own_is_left_alone() {
    let (dir, meta) = small();
    let [notes, part] = ["cls/notes.txt", "cls/00007.parquet.part"].map(|f| dir.path().join(f));
    fs::write(&notes, "mine").unwrap();
    fs::write(&part, "left by a stop").unwrap();
    CacheWriter::open(dir.path(), meta).unwrap();
    assert!(notes.exists() && !part.exists());
}

#[test]
fn a_skipped_sample_is_noted_once_and_forgotten_when_it_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(Task::SingleLabel, Tokens::Cls, false, 2);
    let mut writer = CacheWriter::open(dir.path(), meta.clone()).unwrap();
    for sample in ["sample 0", "other", "other"] {
        let (sample, reason) = (sample.to_string(), "damaged".to_string());
        writer.skip(Skipped { sample, reason });
    }
    writer.append(&batch(&meta, 0, 1)).unwrap();
    let skipped = writer.finish().unwrap().skipped;
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].sample, "other");
}

#[test]
fn caches_are_found_two_folders_down() {
    let (root, meta) = (tempfile::tempdir().unwrap(), small().1);
    for name in ["b/m@28", "a/m@28"] {
        write(&root.path().join(name), &meta, &[1]);
    }
    fs::create_dir_all(root.path().join("c/empty")).unwrap();
    let found = CacheReader::find(root.path()).unwrap();
    assert_eq!(
        found,
        [root.path().join("a/m@28"), root.path().join("b/m@28")]
    );
}

/// Patch tokens are written without Arrow; the file is the one that Arrow's writer makes.
#[test]
fn patches_are_written_as_arrow_writes_them() {
    let dir = tempfile::tempdir().unwrap();
    // Two rows fill a group, and the last group has one.
    let meta = CacheMeta {
        tokens: Tokens::All,
        layers: 2,
        width: 1 << 16,
        grid: [2, 2],
        shard_rows: 5,
        ..plain()
    };
    write(dir.path(), &meta, &[1, 3, 1]);
    let path = dir.path().join("patch/00000.parquet");
    let found = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    let properties = WriterProperties::builder()
        .set_created_by("slicebank".into())
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_write_batch_size(1)
        .set_data_page_row_count_limit(1)
        .set_max_row_group_row_count(Some(2))
        .build();
    let mut expected = Vec::new();
    let schema = Arc::clone(found.schema());
    let mut writer = ArrowWriter::try_new(&mut expected, schema, Some(properties)).unwrap();
    for rows in found.build().unwrap() {
        writer.write(&rows.unwrap()).unwrap();
    }
    writer.close().unwrap();
    assert!(fs::read(&path).unwrap() == expected);
}

/// A cache of format version 1, as `extract` wrote it from three images: it opens for ever.
#[test]
fn version_1_is_read() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let reader = CacheReader::open(&golden).unwrap();
    reader.verify().unwrap();
    let meta = reader.meta();
    assert_eq!((meta.rows, meta.layers, meta.width), (3, 2, 32));
    let slices = reader.slices().unwrap();
    assert_eq!(slices[2].image, "3.png");
    assert!(slices.iter().all(|slice| slice.placement.is_none()));
    assert!(!meta.has_placement && !meta.has_pictures);
    assert_eq!(slices[1].labels, Labels::Multi(vec![Some(1), Some(0)]));
    assert_eq!(reader.patch(1, 0).unwrap().dim(), (2, 16, 32));
    let masks = reader.masks(0).unwrap().next().unwrap().unwrap();
    assert_eq!(masks[1].as_ref().unwrap()[[2, 3]], 1);
    let norm = reader.cls(1).unwrap().mapv(|v| v * v).sum();
    assert!((norm - NORM_V1).abs() < 1e-3, "{norm}");
}

const NORM_V1: f32 = 112.5392;

#[test]
fn a_finished_cache_keeps_no_file_that_a_kill_left_between_shards() {
    let meta = meta(Task::SingleLabel, Tokens::Cls, false, 8);
    let dir = tempfile::tempdir().unwrap();
    let mut writer = CacheWriter::open(dir.path(), meta.clone()).unwrap();
    writer.append(&batch(&meta, 0, 2)).unwrap();
    writer.save().unwrap();
    drop(writer);
    let left = "pending/checksums/slices/.slicebank-1-00001.crc32";
    fs::write(dir.path().join(left), b"half").unwrap();
    let mut writer = CacheWriter::open(dir.path(), meta.clone()).unwrap();
    writer.append(&batch(&meta, 2, 8)).unwrap();
    writer.finish().unwrap();
    assert_holds(dir.path(), &meta, 10);
    assert!(!dir.path().join("pending").exists());
}
