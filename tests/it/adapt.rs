//! `extract --tokens residual` and `probe adapt`.

mod applied;
mod files;
mod limits;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use cache::{CacheMeta, CacheReader, Tokens};
use nn::transformer::{
    Activation, BlockWeights, Encoder, LayerWeights, Lora, Method, Network, Optimiser, Pooling,
    Session,
};
use onnx_models::{Affine, ModelCard, last_blocks};
use serde_json::Value;

use crate::lab::{Lab, Run, program, project, snapshot};

const RESIDUAL: [&str; 2] = ["--tokens", "residual"];

fn extracted(more: &[&str]) -> Lab {
    let lab = Lab::new();
    let manifest = lab.manifest(30);
    lab.extract("manifest", &manifest, more).expect(0);
    lab
}

fn record(lab: &Lab) -> Value {
    let records = fs::read_to_string(lab.path("runs/adapt.jsonl")).unwrap();
    serde_json::from_str(records.lines().last().unwrap()).unwrap()
}

/// Changes the header and the data of a safetensors file.
fn change_header(path: &Path, change: impl FnOnce(&mut Value, &mut Vec<u8>)) {
    let bytes = fs::read(path).unwrap();
    let first = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..first]).unwrap();
    let mut data = bytes[first..].to_vec();
    change(&mut header, &mut data);
    let mut header = header.to_string();
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    let length = (header.len() as u64).to_le_bytes();
    fs::write(path, [&length[..], header.as_bytes(), &data].concat()).unwrap();
}

#[test]
fn residual_tokens_are_a_table_that_all_commands_know() {
    let lab = extracted(&[
        "--tokens",
        "residual",
        "--batch-size",
        "4",
        "--shard-rows",
        "8",
    ]);
    let meta = CacheMeta::read(&lab.cache()).unwrap();
    assert_eq!((meta.tokens, meta.first_tokens), (Tokens::Residual, 1));
    let cache = lab.cache();
    assert!(cache.join("residual/00003.parquet").is_file() && !cache.join("patch").exists());
    for words in [&["verify"][..], &["show"], &["gc"]] {
        let mut command = program("extract");
        Run::of(command.args(words).arg(&cache)).expect(0);
    }
    let mut plan = program("extract");
    plan.args(["plan", "--model", "tiny-vit", "--dataset", "manifest"])
        .args(["--name", "images", "--root"])
        .arg(lab.path("images.csv"))
        .args(["--tokens", "residual", "--batches", "0"])
        .args(["--format", "json"]);
    let run = Run::of(&mut plan).expect(0);
    // 30 slices, 5 layers, 17 tokens of 32 numbers of 2 bytes.
    assert!(
        run.stdout.contains(&(30 * 5 * 17 * 32 * 2).to_string()),
        "{run:#?}"
    );
    let lines = ["--tokens", "all"];
    let manifest = lab.path("images.csv");
    lab.extract("manifest", &manifest, &lines).expect_error(
        2,
        &["`--tokens all`", "was extracted with `--tokens residual`"],
    );
}

#[test]
fn residual_tokens_are_added_to_a_finished_cache() {
    let (lab, whole) = (extracted(&[]), extracted(&RESIDUAL));
    let manifest = lab.path("images.csv");
    let run = lab.extract("manifest", &manifest, &RESIDUAL).expect(0);
    assert!(run.stderr.contains("without residual tokens"), "{run:#?}");
    let tokens = |lab: &Lab| {
        let files = snapshot(&lab.cache().join("residual"));
        assert_eq!(files.len(), 1);
        let reader = CacheReader::open(&lab.cache()).unwrap();
        reader.verify().unwrap();
        let residuals = reader.residuals(&[5, 1]).unwrap();
        let groups: Vec<_> = residuals.groups().iter().collect();
        let rows = residuals
            .read_all(&groups, |_| true)
            .flat_map(Result::unwrap);
        let mut out = vec![0.0; 17 * 32];
        let mut all = Vec::new();
        for row in rows {
            for layer in 0..2 {
                row.copy_to(layer, &mut out).unwrap();
                all.extend_from_slice(&out);
            }
        }
        all
    };
    assert!(tokens(&lab) == tokens(&whole));
}

/// The features of the last `count` blocks with new adapters, and the CLS tokens of the cache.
fn features(cache: &Path, count: u32) -> (Vec<f32>, Vec<f32>) {
    let reader = CacheReader::open(cache).unwrap();
    let models = project().join("onnx_models");
    let card = ModelCard::read(&models, "tiny-vit").unwrap();
    let weights = models.join("tiny-vit.safetensors");
    let last = last_blocks(&card, card.vit.as_ref().unwrap(), &weights, count).unwrap();
    let layer = |affine: &Affine| LayerWeights {
        weight: affine.weight.clone(),
        bias: affine.bias.clone(),
    };
    let blocks = last.blocks.iter().map(|block| BlockWeights {
        norms: block.norms.clone(),
        attend: LayerWeights {
            weight: block.attend.iter().flat_map(|a| a.weight.clone()).collect(),
            bias: Some(
                block
                    .attend
                    .iter()
                    .flat_map(|a| a.bias.clone().unwrap())
                    .collect(),
            ),
        },
        project: layer(&block.project),
        mlp: [layer(&block.mlp[0]), layer(&block.mlp[1])],
        scales: block
            .scales
            .clone()
            .map(|scale| scale.map(|(_, values)| values)),
    });
    let encoder = Encoder {
        width: 32,
        heads: 2,
        hidden: last.blocks[0].mlp[1].shape[1],
        tokens: 17,
        activation: Activation::Gelu,
        epsilon: 1e-6,
        pooling: Pooling::First,
        outputs: 1,
    };
    let method = Method::Lora(Lora {
        rank: 8,
        alpha: 16.0,
        dropout: 0.1,
        is_split: true,
    });
    let network = Network::new(encoder, method, blocks.collect(), last.norm, 0).unwrap();
    let session = Session::new(&network, Optimiser::AdamW { decay: 0.0 });
    let residuals = reader.residuals(&[count + 1]).unwrap();
    let groups: Vec<_> = residuals.groups().iter().collect();
    let mut tokens = Vec::new();
    for row in residuals
        .read_all(&groups, |_| true)
        .flat_map(Result::unwrap)
    {
        let start = tokens.len();
        tokens.resize(start + 17 * 32, 0.0);
        row.copy_to(0, &mut tokens[start..]).unwrap();
    }
    let [features, _] = network.apply(&session, &tokens).unwrap();
    (features, reader.cls(1).unwrap().into_raw_vec_and_offset().0)
}

#[test]
fn graphs_with_residual_tokens_are_files_of_their_own() {
    let of = |words: &[&str]| {
        let lab = extracted(words);
        CacheMeta::read(&lab.cache()).unwrap().model.sha256
    };
    let usual = of(&[]);
    let models = project().join("onnx_models");
    let graph = |kind: &str| fs::read(models.join(format!("tiny-vit@56{kind}.onnx"))).unwrap();
    let kinds = ["", ".plain"];
    let before = kinds.map(graph);
    assert_eq!(of(&RESIDUAL), usual);
    assert!(kinds.map(graph) == before);
    let has_residual = |graph: &[u8]| graph.windows(10).any(|word| word == b"residual_1");
    assert!(!before.iter().any(|graph| has_residual(graph)));
    for kind in kinds {
        assert!(has_residual(&graph(&format!("{kind}.residual"))), "{kind}");
    }
}

#[test]
fn plans_of_residual_tokens_refuse_what_an_extraction_refuses() {
    let lab = Lab::new();
    let manifest = lab.manifest(2);
    let mut plan = program("extract");
    plan.args(["plan", "--model", "tiny-vit,resnet152,dinov3-s16"])
        .args(["--dataset", "manifest", "--name", "images", "--root"])
        .arg(&manifest)
        .args(["--tokens", "residual", "--batches", "0"])
        .args(["--format", "json"]);
    let run = Run::of(&mut plan).expect(1);
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines[0]["error"].is_null(), "{run:#?}");
    for line in &lines[1..] {
        let error = line["error"].as_str().unwrap();
        assert!(
            error.contains("no tokens before the last LayerNorm"),
            "{run:#?}"
        );
    }
}

#[test]
fn new_adapters_reproduce_the_tokens_of_the_last_block() {
    let lab = extracted(&RESIDUAL);
    for count in [1, 2, 4] {
        let (found, expected) = features(&lab.cache(), count);
        assert_eq!(found.len(), expected.len());
        let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        let off = off.fold(0.0f32, f32::max);
        let most = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        // Rounding of the input and of the expected tokens to f16.
        assert!(off < 4e-3 * most, "{count}: {off} of {most}");
    }
}

#[test]
fn adaptation_is_recorded_and_saved_for_any_number_of_threads() {
    let lab = extracted(&RESIDUAL);
    let words = ["--blocks", "2", "--epochs", "3", "--batch-size", "8"];
    let run = lab.probe_with("adapt", &words).expect(0);
    assert!(run.stdout.contains("lora blocks=2"), "{run:#?}");
    let first = record(&lab);
    let params = &first["params"];
    assert_eq!(params["method"], "lora");
    assert_eq!(params["learning_rate"], 0.0002);
    assert_eq!(params["lora"]["dropout"], 0.1);
    // Two blocks of adapters of queries, keys, values, fc1 and fc2 of rank 48, and a head of 32 + 1.
    let adapters = 48 * (3 * (32 + 32) + 2 * (32 + 128));
    assert_eq!(params["trainable_parameters"], 2 * adapters + 33);
    assert_eq!(params["parameters"], 96_096 + 2 * adapters + 33);
    assert!(params["peak_memory_bytes"].as_u64().unwrap() > 1 << 20);
    assert!(params["start_val_auroc_macro"].is_number());
    let folder = lab.path("runs").join(params["adapter"].as_str().unwrap());
    let saved = snapshot(&folder);
    let names: Vec<_> = saved
        .iter()
        .map(|(name, _)| name.to_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "adapter_config.json",
            "adapter_model.safetensors",
            "head.safetensors"
        ]
    );
    let (header, _) = onnx_models::read_header(&folder.join(names[1])).unwrap();
    let key = "base_model.model.encoder.layer.5.attention.q_proj.lora_A.weight";
    assert!(
        header.tensors().contains_key(key),
        "{:?}",
        header.tensors().keys()
    );
    let config: Value = serde_json::from_slice(&saved[0].1).unwrap();
    assert_eq!(config["lora_dropout"], 0.1);
    assert_eq!(config["target_modules"].as_array().unwrap().len(), 10);
    let run = lab.probe_with("adapt", &words).expect(0);
    assert!(run.stderr.contains("is recorded already"), "{run:#?}");
    let again = [&words[..], &["--force", "--threads", "1"]].concat();
    lab.probe_with("adapt", &again).expect(0);
    assert!(snapshot(&folder) == saved);
    assert_eq!(record(&lab)["metrics"], first["metrics"]);
    assert_eq!(fs::read_dir(lab.path("runs/training")).unwrap().count(), 0);
}

#[test]
fn biases_and_all_parameters_are_saved_under_their_names() {
    let lab = extracted(&RESIDUAL);
    // Of each block 6 layers, 2 LayerNorms and 2 LayerScales; the last LayerNorm.
    for (method, tensors) in [("bitfit", 2 * 8 + 1), ("full", 2 * (2 * 8 + 2) + 2)] {
        let words = ["--blocks", "2", "--method", method, "--epochs", "1"];
        lab.probe_with("adapt", &words).expect(0);
        let folder = lab
            .path("runs")
            .join(record(&lab)["params"]["adapter"].as_str().unwrap());
        let (found, _) = onnx_models::read_header(&folder.join("model.safetensors")).unwrap();
        let weights = project().join("onnx_models/tiny-vit.safetensors");
        let (all, _) = onnx_models::read_header(&weights).unwrap();
        assert_eq!(found.tensors().len(), tensors);
        for (name, info) in found.tensors() {
            assert_eq!(all.info(&name).unwrap().shape, info.shape, "{name}");
        }
        assert!(
            found
                .tensors()
                .keys()
                .any(|name| name.ends_with("attention.key.bias"))
        );
    }
    lab.probe_with("adapt", &["--method", "full", "--rank", "4"])
        .expect_error(2, &["`--rank` has no effect"]);
}

#[test]
fn an_adaptation_that_is_killed_goes_on_where_it_was() {
    let (lab, undisturbed) = (extracted(&RESIDUAL), extracted(&RESIDUAL));
    let words = ["--blocks", "2", "--epochs", "60", "--bootstrap", "0"];
    undisturbed.probe_with("adapt", &words).expect(0);
    let mut command = program("probe");
    command.args(["adapt", "--cache"]).arg(lab.path("cache"));
    command.arg("--runs").arg(lab.path("runs")).args(words);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    let has_state = || {
        let files = fs::read_dir(lab.path("runs/training"));
        files.is_ok_and(|mut files| {
            files.any(|file| {
                let name = file.unwrap().file_name().into_string().unwrap();
                name.starts_with("adapt-") && name.ends_with(".safetensors")
            })
        })
    };
    while !has_state() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let run = lab.probe_with("adapt", &words).expect(0);
    assert!(run.stderr.contains("goes on after epoch"), "{run:#?}");
    let files = |lab: &Lab| snapshot(&lab.path("runs/adapters"));
    assert!(files(&lab) == files(&undisturbed));
    assert_eq!(record(&lab)["metrics"], record(&undisturbed)["metrics"]);
}

#[test]
fn what_cannot_be_adapted_is_said() {
    let lab = extracted(&[]);
    lab.probe_with("adapt", &[])
        .expect_error(2, &["extract again with `--tokens residual`"]);
    let lab = extracted(&["--tokens", "residual", "--layers", "3"]);
    lab.probe_with("adapt", &["--blocks", "3"])
        .expect_error(2, &["no layer 4", "--layers"]);
    let models = lab.path("models");
    fs::create_dir_all(&models).unwrap();
    let folder = models.to_str().unwrap();
    let words = ["--blocks", "2", "--epochs", "1", "--models", folder];
    lab.probe_with("adapt", &words).expect_error(
        2,
        &[
            "tiny-vit.safetensors",
            "no such file",
            "extract export tiny-vit",
        ],
    );
    let weights = models.join("tiny-vit.safetensors");
    let mut bytes = fs::read(project().join("onnx_models/tiny-vit.safetensors")).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).unwrap();
    lab.probe_with("adapt", &words)
        .expect_error(2, &["was extracted with other weights"]);
    let words = [
        "--blocks",
        "2",
        "--lr",
        "1e30",
        "--method",
        "full",
        "--optimiser",
        "sgd",
    ];
    lab.probe_with("adapt", &words)
        .expect_error(2, &["became NaN or infinite in epoch", "--lr"]);
}
