//! Fuzz targets: each puts some bytes in place of a file of a small cache and reads all of it.
//!
//! It must return values or an error for any bytes, in bounded time and memory.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use cache::{
    CacheMeta, CacheReader, CacheWriter, Depth, Error, Labels, Parts, SliceMeta, Split, TokenBatch,
    list, verify, write_split,
};
use ndarray::{Array2, Array3};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The targets by name, and the file that each of them replaces.
pub(crate) const TARGETS: &[(&str, &str)] = &[
    ("meta", "meta.json"),
    ("slices", "slices/00000.parquet"),
    ("cls", "cls/00000.parquet"),
    ("patch", "patch/00000.parquet"),
    ("mask", "mask/00000.parquet"),
    ("picture", "picture/00000.parquet"),
    ("split", "splits/other.parquet"),
    ("checksums", "checksums/cls/00000.crc32"),
];

/// Lets the readers contain panics of foreign decoders: libFuzzer's hook would end the process before they do. Others
/// still end it.
#[allow(dead_code, reason = "tests have no such hook")]
pub(crate) fn contain_panics() {
    drop(std::panic::take_hook());
}

const ROWS: usize = 6;

/// A cache that each run changes a file of.
struct Base {
    folder: TempDir,
    meta: Vec<u8>,
}

impl Base {
    fn cache(&self) -> PathBuf {
        self.folder.path().join("data/model@28")
    }
}

/// Puts the bytes in place of the target's file, reads the cache, and puts the file back.
///
/// # Panics
///
/// If there is no such target, or no folder can be made; and if the reader does.
pub(crate) fn run(name: &str, bytes: &[u8]) {
    static BASES: [OnceLock<Mutex<Base>>; 2] = [OnceLock::new(), OnceLock::new()];
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    let (_, file) = *found.expect("the target is listed");
    let with_checksums = name == "checksums";
    let base = BASES[usize::from(with_checksums)].get_or_init(|| Mutex::new(base(with_checksums)));
    let base = base.lock().expect("one run at a time");
    let path = base.cache().join(file);
    let whole = fs::read(&path).expect("the cache has the file");
    fs::write(&path, bytes).expect("a temporary folder can be written to");
    if let Some((table, _)) = file.split_once('/')
        && !["splits", "checksums"].contains(&table)
    {
        let meta = with_size(
            &base.meta,
            table.split('/').next().unwrap_or(table),
            bytes.len(),
        );
        fs::write(base.cache().join("meta.json"), meta).expect("the folder can be written to");
    }
    let _ = black_box(read(&base.cache()).is_ok());
    let _ = black_box(verify(&base.cache(), Depth::Full, 1).is_ok());
    if name == "meta" {
        let listed = list(base.folder.path());
        for listed in listed.iter().flatten() {
            let _ = black_box(listed.json());
        }
        part(base.folder.path(), bytes);
    }
    fs::write(&path, whole).expect("the folder can be written to");
    fs::write(base.cache().join("meta.json"), &base.meta).expect("the folder can be written to");
}

/// Name and file of each target, for the beginning of a search.
#[allow(dead_code, reason = "only the test uses it")]
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let base = base(true);
    let seed = |(name, file): &(&'static str, &str)| {
        (
            *name,
            fs::read(base.cache().join(file)).expect("the cache has the file"),
        )
    };
    TARGETS.iter().map(seed).collect()
}

/// The bytes as the description of a part.
fn part(folder: &Path, bytes: &[u8]) {
    let dir = folder.join("data/parts@28");
    let part = cache::part_dir(&dir, 1, 2);
    fs::create_dir_all(&part).expect("the folder can be written to");
    fs::write(part.join("meta.json"), bytes).expect("the folder can be written to");
    let _ = black_box(Parts::of(&dir).is_ok());
}

fn read(dir: &Path) -> Result<(), Error> {
    let reader = CacheReader::open(dir)?;
    black_box(reader.slices()?);
    let layers: Vec<u32> = (1..=reader.meta().layers).collect();
    for &layer in &layers {
        black_box((reader.cls(layer)?, reader.mean(layer)?));
    }
    for shard in 0..reader.meta().shards.len() {
        black_box(reader.patch(layers[0], shard)?);
        for masks in reader.masks(shard)? {
            black_box(masks?);
        }
        for pictures in reader.pictures(shard)? {
            black_box(pictures?);
        }
    }
    black_box(reader.picture(0)?);
    let patches = reader.patches(&layers)?;
    for group in patches.groups() {
        for row in patches.read(group, |row| row % 2 == 0)? {
            row.copy_to(0, &mut [0.0; 12])?;
        }
    }
    for name in reader.splits()? {
        black_box(reader.slices_with_split(&name)?);
    }
    Ok(())
}

/// A cache with all tables and a named split; without checksums, they would hide what else refuses bytes.
fn base(with_checksums: bool) -> Base {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let dir = folder.path().join("data/model@28");
    let mut writer = CacheWriter::open(&dir, description()).expect("the cache can be made");
    writer.append(&batch()).expect("the rows are valid");
    writer.finish().expect("the cache can be finished");
    let split: Vec<_> = (0..ROWS / 2)
        .map(|k| (format!("s{k}"), Some(Split::Train)))
        .collect();
    write_split(&dir, "other", "none", &split).expect("the split is valid");
    let path = dir.join("meta.json");
    if !with_checksums {
        let mut meta = CacheMeta::read(&dir).expect("it was written");
        let files = meta
            .shards
            .iter_mut()
            .flat_map(|shard| shard.tables.values_mut());
        files.for_each(|file| file.has_checksums = false);
        let text = serde_json::to_vec(&meta).expect("it is JSON");
        fs::write(&path, text).expect("the folder can be written to");
        fs::remove_file(dir.join("checksums/splits/other.crc32")).expect("it is there");
    }
    let meta = fs::read(&path).expect("it was written");
    Base { folder, meta }
}

/// The description with another size of the only file of a table.
fn with_size(meta: &[u8], table: &str, bytes: usize) -> Vec<u8> {
    let mut meta: Value = serde_json::from_slice(meta).expect("it is JSON");
    meta["shards"][0]["tables"][table]["bytes"] = bytes.into();
    serde_json::to_vec(&meta).expect("it is JSON")
}

fn description() -> CacheMeta {
    let description = json!({
        "format_version": cache::FORMAT_VERSION, "tool_version": "fuzz", "dataset": "data",
        "task": "multi-label", "classes": ["a", "b"],
        "has_masks": true, "mask_classes": [{"value": 1, "name": "a"}], "has_placement": true,
        "has_pictures": true, "samples": 3, "samples_sha256": "0", "provider": "cpu",
        "precision": "fp32", "model": {"name": "model", "sha256": "0"}, "image_size": 28,
        "tokens": "all", "layers": 1, "width": 3, "grid": [2, 2], "dtype": "f16",
        "preprocess": {
            "image_size": 28, "slicing": "axial", "intensity": "minmax", "resize": "bicubic-squash",
            "rescale": "bounds", "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "non_finite": "error",
        },
        "batch_size": ROWS, "shard_rows": ROWS, "rows": 0, "shards": [], "skipped": [],
        "complete": false,
    });
    serde_json::from_value(description).expect("it is a description")
}

fn batch() -> TokenBatch {
    let slice = |row: usize| SliceMeta {
        sample: format!("s{}", row / 2),
        image: format!("{row}.png"),
        patient: row.is_multiple_of(2).then(|| format!("p{row}")),
        slice: (row % 2) as u32,
        view: 0,
        split: Some(Split::Test),
        labels: Labels::Multi(vec![Some(1), None]),
        height: 3,
        width: 4,
        spacing_mm: Some([1.0; 3]),
        placement: None,
    };
    let flat = |row: usize, at: usize| (row + at) as f32;
    TokenBatch {
        slices: (0..ROWS).map(slice).collect(),
        cls: vec![Array2::from_shape_fn((ROWS, 3), |(r, d)| flat(r, d))],
        mean: vec![Array2::from_shape_fn((ROWS, 3), |(r, d)| flat(r, d))],
        patch: vec![Array3::from_shape_fn((ROWS, 4, 3), |(r, p, d)| flat(r, p + d)).into()],
        masks: (0..ROWS)
            .map(|row| (row != 1).then(|| Array2::from_elem((3, 4), row as u16)))
            .collect(),
        pictures: (0..ROWS)
            .map(|row| Array2::from_elem((28, 28), row as u8))
            .collect(),
    }
}
