//! Time of patch tokens from ONNX Runtime to the writer, and of writing them:
//! `cargo bench --workspace --bench tokens -- ONNX CARD FOLDER SLICES`, which `scripts/dev/run bench_tokens.py`
//! calls with a graph that gives ready tokens. Prints slices/s through `embed`, and the bytes/s of
//! writing a cache, of a plain write of the same bytes, and of hashing them, as JSON.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use cache::{CacheMeta, CacheWriter, SliceMeta, TokenBatch, Tokens};
use common::sha256_bytes;
use extract::backbone::{Backbone, BackboneOptions, Device, Runtime, SliceBatch};
use extract::export;
use ndarray::Array4;
use onnx_models::ModelCard;

const THREADS: usize = 2;
const BATCH: usize = 8;
/// Rows of a shard: as `extract` has it of tokens of this size.
const SHARD_ROWS: u32 = 104;

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let [onnx, card, folder, slices] = &words[..] else {
        println!("usage: tokens ONNX CARD FOLDER SLICES");
        return;
    };
    let (folder, slices) = (Path::new(folder), slices.parse().unwrap());
    let mut backbone = backbone(Path::new(onnx), Path::new(card));
    let (embedded, batch) = embed(&mut backbone, slices);
    // By turns: whatever comes second finds the disk busy.
    let plain_before = write_plain(folder, &batch, slices);
    let written = write_cache(folder, &backbone, &batch, slices);
    let plain = (plain_before + write_plain(folder, &batch, slices)) / 2.0;
    let hashed = {
        let bytes = bytes(&batch);
        let start = Instant::now();
        std::hint::black_box(sha256_bytes(&bytes));
        bytes.len() as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    println!(
        "{}",
        serde_json::json!({"embedded": embedded, "written": written, "plain": plain, "hashed": hashed})
    );
}

fn backbone(onnx: &Path, card: &Path) -> Backbone {
    let home = extract::project::find().unwrap();
    let card = ModelCard::read_file(card).unwrap();
    let exported = export::exported(&card, onnx).unwrap();
    let options = BackboneOptions {
        image_size: card.image_size,
        layers: card.layers,
        tokens: Tokens::All,
        threads: THREADS,
        batch_size: BATCH as u32,
        halved: false,
        run_limit: Duration::ZERO,
        device: Device::REFERENCE,
    };
    let runtime = Runtime::load(&home, false).unwrap();
    Backbone::load(&runtime, &card, &exported, options).unwrap()
}

/// Slices/s, and the last batch.
fn embed(backbone: &mut Backbone, slices: usize) -> (f64, TokenBatch) {
    let side = backbone.options().image_size as usize;
    let mut run = || {
        let batch = SliceBatch {
            pixels: Array4::zeros((BATCH, 3, side, side)),
            slices: (0..BATCH).map(slice).collect(),
            masks: Vec::new(),
            pictures: Vec::new(),
        };
        backbone.embed(batch).unwrap()
    };
    let mut last = run();
    let start = Instant::now();
    for _ in 0..slices.div_ceil(BATCH) {
        last = run();
    }
    let done = slices.next_multiple_of(BATCH) as f64;
    (done / start.elapsed().as_secs_f64(), last)
}

/// Bytes/s of a cache of `slices` slices.
fn write_cache(folder: &Path, backbone: &Backbone, batch: &TokenBatch, slices: usize) -> f64 {
    let dir = folder.join("cache");
    let mut writer = CacheWriter::open(&dir, meta(backbone, slices)).unwrap();
    let start = Instant::now();
    for first in (0..slices).step_by(BATCH) {
        let slices = (first..first + BATCH).map(slice).collect();
        let batch = TokenBatch {
            slices,
            ..batch.clone()
        };
        writer.append(&batch).unwrap();
    }
    let meta = writer.finish().unwrap();
    let rate = meta.bytes() as f64 / start.elapsed().as_secs_f64() / 1e9;
    fs::remove_dir_all(&dir).unwrap();
    rate
}

/// Bytes/s of plain files of the size of shards.
fn write_plain(folder: &Path, batch: &TokenBatch, slices: usize) -> f64 {
    let bytes = bytes(batch);
    let path = folder.join("plain");
    let start = Instant::now();
    let (mut left, mut written) = (slices.div_ceil(BATCH), 0);
    while left > 0 {
        let batches = left.min(SHARD_ROWS as usize / BATCH);
        let mut file = File::create(path.with_extension(left.to_string())).unwrap();
        for _ in 0..batches {
            for block in bytes.chunks(1 << 20) {
                file.write_all(block).unwrap();
            }
        }
        file.sync_all().unwrap();
        left -= batches;
        written += batches * bytes.len();
    }
    let rate = written as f64 / start.elapsed().as_secs_f64() / 1e9;
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        if file.file_stem().is_some_and(|stem| stem == "plain") {
            fs::remove_file(file).unwrap();
        }
    }
    rate
}

/// Patch tokens of a batch as a cache keeps them.
fn bytes(batch: &TokenBatch) -> Vec<u8> {
    let layers = batch.patch.iter().map(cache::PatchTokens::to_f32);
    let values: Vec<f32> = layers.flatten().collect();
    values
        .iter()
        .flat_map(|&value| half::f16::from_f32(value).to_le_bytes())
        .collect()
}

fn slice(row: usize) -> SliceMeta {
    SliceMeta {
        height: 224,
        width: 224,
        ..tests::slice(&row.to_string())
    }
}

fn meta(backbone: &Backbone, slices: usize) -> CacheMeta {
    let shapes = backbone.shapes().to_vec();
    let last = shapes.last().copied().unwrap();
    CacheMeta {
        tool_version: "bench".into(),
        samples: slices as u64,
        model: backbone.meta().clone(),
        image_size: backbone.options().image_size,
        tokens: Tokens::All,
        layers: backbone.options().layers,
        width: last.cls,
        grid: last.grid,
        shapes,
        preprocess: tests::recipe(backbone.options().image_size as usize),
        batch_size: BATCH as u32,
        shard_rows: SHARD_ROWS,
        ..tests::meta()
    }
}
