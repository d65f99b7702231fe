//! Graphs give the tokens of the original implementations: `scripts/dev/golden_models.py` made tiny
//! models of each architecture with transformers and timm, and wrote their tokens down.
#![allow(clippy::unwrap_used, reason = "a test")]

mod half;
mod library;
mod weights;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cache::{TokenBatch, Tokens};
use extract::backbone::{Backbone, BackboneOptions, Device, Precision, Runtime, SliceBatch};
use extract::export::{Exported, Exporter};
use ndarray::{Array2, ArrayD, Ix4, IxDyn};
use onnx_models::{Flavour, ModelCard, Source};
use safetensors::SafeTensors;
use tempfile::TempDir;

fn project() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).to_path_buf()
}

fn cards() -> Vec<ModelCard> {
    let entries = fs::read_dir(project().join("tests/golden/models")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "toml"));
    paths.sort();
    assert!(paths.len() >= 12, "{paths:?}");
    let cards = paths.iter().map(|path| ModelCard::read_file(path).unwrap());
    cards.filter(|card| card.vit.is_some()).collect()
}

/// A project with nothing but the card's weights.
fn home(card: &ModelCard) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let models = home.path().join("onnx_models");
    fs::create_dir(&models).unwrap();
    let Source::Local { file, .. } = &card.source[0] else {
        panic!("{card:?}")
    };
    let weights = models.join(format!("{}.safetensors", card.name));
    fs::copy(project().join(file), weights).unwrap();
    home
}

fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::load(&project(), false).unwrap());
    &RUNTIME
}

/// The array `name` of a file of answers.
fn answer(answers: &SafeTensors<'_>, name: &str) -> ArrayD<f32> {
    let tensor = answers.tensor(name).unwrap();
    let values = tensor.data().chunks_exact(4);
    let values = values.map(|b| f32::from_le_bytes(*b.first_chunk().unwrap()));
    ArrayD::from_shape_vec(IxDyn(tensor.shape()), values.collect()).unwrap()
}

fn embed(card: &ModelCard, size: u32, flavour: Flavour, pixels: &ArrayD<f32>) -> TokenBatch {
    let home = home(card);
    let mut exporter = Exporter {
        home: home.path(),
        tell: &mut |_| {},
    };
    let exported = exporter.ensure(card, size, flavour).unwrap();
    tokens(card, &exported, size, flavour, pixels)
}

fn tokens(
    card: &ModelCard,
    exported: &Exported,
    size: u32,
    flavour: Flavour,
    pixels: &ArrayD<f32>,
) -> TokenBatch {
    let options = BackboneOptions {
        image_size: size,
        layers: card.layers,
        tokens: Tokens::All,
        threads: 1,
        batch_size: 8,
        halved: false,
        run_limit: std::time::Duration::ZERO,
        device: Device {
            precision: match flavour {
                Flavour::Int8 => Precision::Int8,
                _ => Precision::Fp32,
            },
            ..Device::REFERENCE
        },
    };
    let mut backbone = Backbone::load(runtime(), card, exported, options).unwrap();
    let pixels = pixels.clone().into_dimensionality::<Ix4>().unwrap();
    let batch = SliceBatch {
        pixels,
        slices: Vec::new(),
        masks: Vec::new(),
        pictures: Vec::new(),
    };
    backbone.embed(batch).unwrap()
}

/// The smallest cosine of two arrays' last axes, and the root mean square of their difference,
/// relative to that of the expected one.
fn distance(found: &ArrayD<f32>, expected: &ArrayD<f32>) -> (f64, f64) {
    assert_eq!(found.shape(), expected.shape());
    assert!(found.iter().all(|x| x.is_finite()));
    let width = *found.shape().last().unwrap();
    let rows = |array: &ArrayD<f32>| {
        let array = array.mapv(f64::from);
        let count = array.len() / width;
        array.into_shape_with_order((count, width)).unwrap()
    };
    let (found, expected) = (rows(found), rows(expected));
    let cosines = found.outer_iter().zip(expected.outer_iter()).map(|(a, b)| {
        let norm = (a.dot(&a) * b.dot(&b)).sqrt();
        a.dot(&b) / norm
    });
    let energy = |array: &Array2<f64>| array.iter().map(|value| value * value).sum::<f64>();
    let relative = (energy(&(&found - &expected)) / energy(&expected)).sqrt();
    (cosines.fold(1.0, f64::min), relative)
}

/// Compares all tokens at all sizes in the file of answers; gives the smallest cosine and the
/// largest relative difference.
fn compare(card: &ModelCard, flavour: Flavour) -> (f64, f64) {
    let file = format!("tests/golden/models/{}.golden.safetensors", card.name);
    let bytes = fs::read(project().join(file)).unwrap();
    let answers = SafeTensors::deserialize(&bytes).unwrap();
    let sizes = answers
        .names()
        .into_iter()
        .filter_map(|name| name.strip_prefix("pixels_"));
    let sizes: Vec<u32> = sizes.map(|size| size.parse().unwrap()).collect();
    assert!(sizes.len() >= 2, "{sizes:?}");
    let (mut least, mut most) = (1.0f64, 0.0f64);
    for size in sizes {
        let found = embed(
            card,
            size,
            flavour,
            &answer(&answers, &format!("pixels_{size}")),
        );
        for layer in 1..=card.layers {
            let index = (card.layers - layer) as usize;
            let arrays = [
                ("cls", found.cls[index].clone().into_dyn()),
                ("mean", found.mean[index].clone().into_dyn()),
                ("patch", found.patch[index].to_f32().into_dyn()),
            ];
            for (kind, found) in arrays {
                let expected = answer(&answers, &format!("{kind}_{layer}_{size}"));
                let (cosine, relative) = distance(&found, &expected);
                (least, most) = (least.min(cosine), most.max(relative));
            }
        }
    }
    (least, most)
}

#[test]
fn graphs_give_the_tokens_of_the_original_implementations() {
    for card in cards() {
        for flavour in [Flavour::Plain, Flavour::Fused] {
            let (least, most) = compare(&card, flavour);
            assert!(least > 0.999_99, "{} {flavour:?}: {least}", card.name);
            // A cosine would miss another GELU or epsilon.
            assert!(most < 1e-5, "{} {flavour:?}: {most}", card.name);
        }
    }
}

#[test]
fn half_precision_and_integers_stay_near_them() {
    for card in cards() {
        let bounds = [
            (Flavour::PlainMixed16, 0.9999),
            (Flavour::FusedMixed16, 0.9999),
            (Flavour::Int8, 0.99),
        ];
        for (flavour, bound) in bounds {
            let (least, _) = compare(&card, flavour);
            assert!(least > bound, "{} {flavour:?}: {least}", card.name);
        }
    }
}
