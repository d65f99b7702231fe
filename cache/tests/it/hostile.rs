//! Damaged and hostile caches.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{
    ArrayRef, BinaryArray, FixedSizeBinaryArray, Int8Array, Int32Array, StringArray, UInt16Array,
    UInt32Array,
};
use cache::{CacheMeta, CacheReader, CacheWriter, Error, Labels, SliceMeta, Task, Tokens};
use tempfile::TempDir;

use crate::made::{batch, forge, meta, plain, without_checksums, write};

/// Most bytes that any of these tests may ask for at once.
const MOST: usize = 64 << 20;

/// Remembers the largest piece of memory that was asked for.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Watched = Watched;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Reads everything that there is.
fn read(dir: &Path) -> Result<(), Error> {
    let reader = CacheReader::open(dir)?;
    reader.slices()?;
    let layers: Vec<u32> = (1..=reader.meta().layers).collect();
    for &layer in &layers {
        reader.cls(layer)?;
        reader.mean(layer)?;
    }
    for shard in 0..reader.meta().shards.len() {
        for &layer in &layers {
            reader.patch(layer, shard)?;
        }
        for masks in reader.masks(shard)? {
            masks?;
        }
        for pictures in reader.pictures(shard)? {
            pictures?;
        }
    }
    reader.picture(0)?;
    let patches = reader.patches(&layers)?;
    for group in patches.groups() {
        patches.read(group, |row| row % 2 == 0)?;
    }
    Ok(())
}

fn everything() -> (TempDir, CacheMeta) {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(Task::MultiLabel, Tokens::All, true, 8);
    write(dir.path(), &meta, &[5]);
    without_checksums(dir.path());
    (dir, meta)
}

#[test]
fn no_flipped_bit_makes_a_reader_panic_or_take_much_memory() {
    let (dir, _) = everything();
    read(dir.path()).unwrap();
    let mut random = 1_u64;
    for table in ["slices", "cls", "mean", "patch", "mask", "picture"] {
        let path = dir.path().join(table).join("00000.parquet");
        let whole = fs::read(&path).unwrap();
        let footer = u32::from_le_bytes(whole[whole.len() - 8..][..4].try_into().unwrap());
        let first_of_footer = whole.len() - 8 - footer as usize;
        // As many bytes of the footer and of the rest as there is time for.
        let of_footer = (first_of_footer..whole.len()).step_by(1 + footer as usize / 250);
        let of_rest = (4..first_of_footer).step_by(1 + first_of_footer / 100);
        for place in of_footer.chain(of_rest) {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (random >> 61);
            fs::write(&path, bytes).unwrap();
            let found = catch_unwind(|| drop(read(dir.path())));
            assert!(found.is_ok(), "panicked: byte {place} of `{table}`");
            let largest = LARGEST.load(Ordering::Relaxed);
            assert!(largest < MOST, "{largest} bytes: byte {place} of `{table}`");
        }
        fs::write(&path, whole).unwrap();
    }
    read(dir.path()).unwrap();
}

/// Opens a cache after a change to one table, and expects the words in what it says.
#[track_caller]
fn refused(task: Task, table: &str, change: (&str, ArrayRef), words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(task, Tokens::All, true, 8);
    write(dir.path(), &meta, &[4]);
    forge(dir.path(), table, &[change]);
    let text = read(dir.path()).unwrap_err().to_string();
    let file = format!("{table}/00000.parquet");
    for word in words.iter().copied().chain([file.as_str(), "hint: "]) {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
}

#[test]
fn values_that_no_cache_may_hold_are_refused_with_their_row() {
    let slices = |task, name, column: ArrayRef, words: &[&str]| {
        refused(task, "slices", (name, column), words);
    };
    let text = |values: [&str; 4]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let u32s = |values: [u32; 4]| -> ArrayRef { Arc::new(UInt32Array::from(values.to_vec())) };
    let (single, multi) = (Task::SingleLabel, Task::MultiLabel);
    let split = text(["train", "train", "Train", "val"]);
    slices(
        single,
        "split",
        split,
        &["split is Train in row 2", "`train`, `val`"],
    );
    let split = text(["train", "train", "test", "val"]);
    slices(
        single,
        "split",
        split,
        &["`test` of the sample `sample 0` in row 2", "`train` as"],
    );
    for label in [-1, 2, i32::MIN] {
        let labels = Arc::new(Int32Array::from(vec![0, label, 1, 0]));
        slices(
            single,
            "label",
            labels,
            &["label is", "in row 1", "one of 2 classes"],
        );
    }
    let states = Arc::new(Int8Array::from(vec![1, 0, -1, 7]));
    slices(
        multi,
        "label_heart",
        states,
        &["label is 7 in row 3", "-1, 0, 1 or null"],
    );
    let views = Arc::new(UInt16Array::from(vec![0, 65_535, 0, 0]));
    slices(single, "view", views, &["view is 65535 in row 1", "0 to 0"]);
    let twice = u32s([0, 1, 1, 0]);
    slices(
        single,
        "slice",
        twice,
        &["a second one of view 0 of slice 1", "`sample 0`", "row 2"],
    );
    slices(
        single,
        "height",
        u32s([2, 0, 2, 2]),
        &["size of a slice is 0 x 4 in row 1"],
    );
    slices(
        single,
        "width",
        u32s([4, 4, 4, u32::MAX]),
        &["size of a slice", "in row 3"],
    );
    let long = "x".repeat(1 << 20);
    let long = text(["a", "b", &long, "c"]);
    slices(
        single,
        "sample",
        long,
        &["name of a sample is 1048576 bytes in row 2"],
    );
    let bytes =
        |values: [Option<&[u8]>; 4]| -> ArrayRef { Arc::new(BinaryArray::from(values.to_vec())) };
    let masks = bytes([Some(&[0; 16]), None, Some(&[0; 17]), None]);
    refused(
        single,
        "mask",
        ("mask", masks),
        &["size of a mask is wrong in row 2"],
    );
    let masks = bytes([Some(&[0; 16]), None, Some(&[]), None]);
    refused(
        single,
        "mask",
        ("mask", masks),
        &["size of a mask is wrong in row 2"],
    );
}

#[test]
fn rows_that_no_cache_may_hold_are_not_written() {
    let mut meta = meta(Task::SingleLabel, Tokens::Cls, true, 8);
    meta.preprocess["views"] = serde_json::json!({"count": 2});
    let written = |change: &dyn Fn(&mut SliceMeta)| {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = CacheWriter::open(dir.path(), meta.clone()).unwrap();
        let mut batch = batch(&meta, 2, 2);
        change(&mut batch.slices[1]);
        writer.append(&batch).map_err(|error| error.to_string())
    };
    let refused = |change: &dyn Fn(&mut SliceMeta), word: &str| {
        let text = written(change).unwrap_err();
        assert!(text.contains(word) && text.contains("row 1"), "{text}");
    };
    written(&|slice| slice.view = 2).unwrap();
    refused(&|slice| slice.view = 3, "view is 3, expected 0 to 2");
    refused(
        &|slice| slice.labels = Labels::Single(Some(2)),
        "one of 2 classes",
    );
    refused(&|slice| slice.sample = "x".repeat(9000), "name of a sample");
    refused(
        &|slice| slice.spacing_mm = Some([1.0, f32::NAN, 1.0]),
        "spacing",
    );
    let text = written(&|slice| slice.height = 9).unwrap_err();
    assert!(text.contains("size of a mask"), "{text}");
}

#[test]
fn small_files_that_claim_much_are_refused_before_anything_is_allocated() {
    let dir = tempfile::tempdir().unwrap();
    let rows = 1 << 13;
    write(
        dir.path(),
        &CacheMeta {
            shard_rows: rows,
            width: 64,
            ..plain()
        },
        &[rows as usize],
    );
    // Equal values, of which a dictionary needs one: files far smaller than their tokens.
    let equal = vec![[0_u8; 128]; rows as usize];
    let equal = FixedSizeBinaryArray::try_from_iter(equal.iter()).unwrap();
    forge(dir.path(), "cls", &[("cls_1", Arc::new(equal))]);
    let cls = dir.path().join("cls/00000.parquet");
    assert!(fs::metadata(&cls).unwrap().len() < 100_000);
    let text = CacheReader::open(dir.path()).unwrap_err().to_string();
    assert!(
        text.contains("at least 1048576, as tokens are not compressed"),
        "{text}"
    );

    // A mask of a slice of 2 by 4 pixels that decompresses to 16 MiB, more than any dictionary.
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &meta(Task::Unlabelled, Tokens::Cls, true, 8),
        &[1],
    );
    let large = vec![0_u8; 1 << 24];
    let large: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&large[..])]));
    forge(dir.path(), "mask", &[("mask", large)]);
    let path = dir.path().join("mask/00000.parquet");
    assert!(fs::metadata(path).unwrap().len() < 10_000);
    let reader = CacheReader::open(dir.path()).unwrap();
    let text = reader
        .masks(0)
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err()
        .to_string();
    assert!(text.contains("no page of a table at byte"), "{text}");
}

#[test]
#[cfg(unix)]
fn a_link_that_leads_out_of_the_cache_is_refused_and_one_to_the_cache_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, elsewhere) = (dir.path().join("cache"), dir.path().join("elsewhere"));
    write(&cache, &plain(), &[2]);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&cache, &link).unwrap();
    CacheReader::open(&link).unwrap();
    let shard = cache.join("cls/00000.parquet");
    fs::rename(&shard, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &shard).unwrap();
    let text = CacheReader::open(&cache).unwrap_err().to_string();
    assert!(
        text.contains("a link that leads out of the cache"),
        "{text}"
    );
}
