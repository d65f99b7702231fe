//! Weights under the names and in the files of other implementations, and weights of which a graph
//! would use a part only.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cache::PatchTokens;
use extract::ModelError;
use extract::export::{Exported, Exporter};
use ndarray::{Array2, Array3, ArrayD, IxDyn};
use onnx_models::{Flavour, ModelCard};
use safetensors::{Dtype, SafeTensors, serialize};
use tempfile::TempDir;

use super::{project, tokens};

/// Tensors by name: shape, and bytes of f32.
pub(super) type Tensors = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

pub(super) fn golden(name: &str) -> (ModelCard, Tensors) {
    let folder = project().join("tests/golden/models");
    let card = ModelCard::read_file(&folder.join(format!("{name}.toml"))).unwrap();
    let bytes = fs::read(folder.join(format!("{name}.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file
        .iter()
        .filter(|(_, tensor)| tensor.dtype() == Dtype::F32);
    let tensors = tensors.map(|(name, tensor)| {
        let content = (tensor.shape().to_vec(), tensor.data().to_vec());
        (name.to_string(), content)
    });
    (card, tensors.collect())
}

pub(super) fn write(path: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        let view = safetensors::tensor::TensorView::new(Dtype::F32, shape.clone(), bytes);
        (name.clone(), view.unwrap())
    });
    fs::write(path, serialize(views, None).unwrap()).unwrap();
}

/// A project without weights.
pub(super) fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("onnx_models")).unwrap();
    home
}

fn export(home: &TempDir, card: &ModelCard, given: &Path) -> Result<Exported, ModelError> {
    let mut exporter = Exporter {
        home: home.path(),
        tell: &mut |_| {},
    };
    exporter.export(card, card.native_size, Flavour::Fused, Some(given))
}

/// CLS and patch tokens.
type Found = (Vec<Array2<f32>>, Vec<Array3<f32>>);

/// The tokens of two fixed images by the weights `given`.
fn embed(card: &ModelCard, given: &Path) -> Found {
    let home = home();
    let exported = export(&home, card, given).unwrap();
    let side = card.native_size as usize;
    let pixels = ArrayD::from_shape_fn(IxDyn(&[2, 3, side, side]), |at| {
        ((at[0] * 7 + at[1] * 5 + at[2] * 3 + at[3]) % 11) as f32 / 5.0 - 1.0
    });
    let batch = tokens(card, &exported, card.native_size, Flavour::Fused, &pixels);
    let patch = batch.patch.iter().map(PatchTokens::to_f32);
    (batch.cls, patch.collect())
}

fn embed_tensors(card: &ModelCard, tensors: &Tensors) -> Found {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("given.safetensors");
    write(&path, tensors);
    embed(card, &path)
}

/// Queries, keys and values in one tensor, by the names that they have before and after.
fn packed(tensors: &Tensors, parts: [&str; 3], whole: &str) -> Tensors {
    let mut tensors = tensors.clone();
    let first = tensors.keys().filter(|name| name.contains(parts[0]));
    for name in first.cloned().collect::<Vec<_>>() {
        let (mut shape, mut bytes) = (vec![0], Vec::new());
        for part in parts {
            let (next, values) = tensors.remove(&name.replace(parts[0], part)).unwrap();
            shape = [&[shape[0] + next[0]], &next[1..]].concat();
            bytes.extend(values);
        }
        tensors.insert(name.replace(parts[0], whole), (shape, bytes));
    }
    tensors
}

/// Each name with all `pairs` replaced, in this order.
fn renamed(tensors: &Tensors, pairs: &[(&str, &str)]) -> Tensors {
    let rename = |name: &String| {
        let replaced = |name: String, (from, to): &(&str, &str)| name.replace(from, to);
        pairs.iter().fold(name.clone(), replaced)
    };
    let tensors = tensors
        .iter()
        .map(|(name, tensor)| (rename(name), tensor.clone()));
    tensors.collect()
}

const DINO: [&str; 3] = ["attention.query", "attention.key", "attention.value"];

/// DINOv2's names in transformers, and those in Meta's repository.
const META: [(&str, &str); 10] = [
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.", ""),
    ("encoder.layer.", "blocks."),
    ("attention.attention.qkv", "attn.qkv"),
    ("attention.output.dense", "attn.proj"),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
    ("weights_in", "w12"),
    ("weights_out", "w3"),
];

fn meta_s(tensors: &Tensors) -> Tensors {
    let tensors = renamed(&packed(tensors, DINO, "attention.qkv"), &META);
    renamed(&tensors, &[("layernorm.", "norm.")])
}

/// A name of Meta's as its trainings save it: of the teacher's backbone, with blocks in chunks of three.
fn trained(name: &str) -> String {
    let Some(block) = name.strip_prefix("blocks.") else {
        return format!("backbone.{name}");
    };
    let index: u32 = block.split('.').next().unwrap().parse().unwrap();
    format!("backbone.blocks.{}.{block}", index / 3)
}

#[test]
fn weights_under_meta_s_names_give_the_same_tokens() {
    for name in ["dinov2", "dinov2-reg", "dinov2-giant"] {
        let (card, tensors) = golden(name);
        let expected = embed_tensors(&card, &tensors);
        let meta = meta_s(&tensors);
        assert!(
            meta.contains_key("blocks.0.attn.qkv.weight"),
            "{:?}",
            meta.keys()
        );
        assert_eq!(embed_tensors(&card, &meta), expected, "{name}");
        let teacher = meta
            .iter()
            .map(|(name, tensor)| (trained(name), tensor.clone()));
        let mut teacher: Tensors = teacher.collect();
        teacher.insert("dino_head.last_layer.weight".into(), (vec![1], vec![0; 4]));
        assert_eq!(embed_tensors(&card, &teacher), expected, "{name}");
    }
}

#[test]
fn weights_under_open_clip_s_names_give_the_same_tokens() {
    let parts = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
    let pairs = [
        ("self_attn.in_proj.", "attn.in_proj_"),
        ("vision_model.", "visual."),
        ("embeddings.patch_embedding.", "conv1."),
        ("embeddings.class_embedding", "class_embedding"),
        (
            "embeddings.position_embedding.weight",
            "positional_embedding",
        ),
        ("pre_layrnorm", "ln_pre"),
        ("post_layernorm", "ln_post"),
        ("encoder.layers.", "transformer.resblocks."),
        ("layer_norm", "ln_"),
        ("self_attn.", "attn."),
        ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
    ];
    for name in ["clip", "openclip"] {
        let (card, tensors) = golden(name);
        let other = renamed(&packed(&tensors, parts, "self_attn.in_proj"), &pairs);
        assert!(other.contains_key("visual.transformer.resblocks.0.attn.in_proj_weight"));
        assert_eq!(
            embed_tensors(&card, &other),
            embed_tensors(&card, &tensors),
            "{name}"
        );
    }
}

/// Writes the tensors as three files and an index, which is given.
fn shards(folder: &Path, tensors: &Tensors) -> PathBuf {
    let mut map = BTreeMap::new();
    for shard in 0..3 {
        let file = format!("model-{}-of-00003.safetensors", shard + 1);
        let part = tensors.iter().skip(shard).step_by(3);
        let part: Tensors = part
            .map(|(name, tensor)| (name.clone(), tensor.clone()))
            .collect();
        map.extend(part.keys().map(|name| (name.clone(), file.clone())));
        write(&folder.join(&file), &part);
    }
    let index = folder.join("model.safetensors.index.json");
    fs::write(
        &index,
        serde_json::json!({"metadata": {}, "weight_map": map}).to_string(),
    )
    .unwrap();
    index
}

#[test]
fn weights_in_shards_and_in_folders_are_found() {
    let (card, tensors) = golden("dinov2");
    let expected = embed_tensors(&card, &tensors);
    let dir = tempfile::tempdir().unwrap();
    let index = shards(dir.path(), &tensors);
    assert_eq!(embed(&card, &index), expected);
    assert_eq!(embed(&card, dir.path()), expected);
    // The cache of the hub's clients.
    let hub = tempfile::tempdir().unwrap();
    let snapshot = hub.path().join("models--a--b/snapshots/0123");
    fs::create_dir_all(&snapshot).unwrap();
    write(&snapshot.join("model.safetensors"), &tensors);
    assert_eq!(embed(&card, &hub.path().join("models--a--b")), expected);
    // One file of any name, but not two.
    fs::rename(
        snapshot.join("model.safetensors"),
        snapshot.join("mine.safetensors"),
    )
    .unwrap();
    assert_eq!(embed(&card, &snapshot), expected);
    fs::write(snapshot.join("other.pth"), "").unwrap();
    let refused = export(&home(), &card, &snapshot).unwrap_err().to_string();
    assert!(
        refused.contains("mine.safetensors") && refused.contains("other.pth"),
        "{refused}"
    );

    fs::remove_file(dir.path().join("model-2-of-00003.safetensors")).unwrap();
    let home = home();
    let refused = export(&home, &card, &index).unwrap_err().to_string();
    assert!(
        refused.contains("model-2-of-00003.safetensors"),
        "{refused}"
    );
    fs::write(&index, r#"{"weight_map": {"a": "../a.safetensors"}}"#).unwrap();
    let refused = export(&home, &card, &index).unwrap_err().to_string();
    assert!(refused.contains("../a.safetensors"), "{refused}");
    let left = fs::read_dir(home.path().join("onnx_models"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

/// The words of the refusal of weights, which leaves nothing behind.
fn refusal(card: &ModelCard, tensors: &Tensors) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("given.safetensors");
    write(&path, tensors);
    let home = home();
    let refused = export(&home, card, &path).unwrap_err().to_string();
    assert!(refused.contains("given.safetensors"), "{refused}");
    assert_eq!(
        fs::read_dir(home.path().join("onnx_models"))
            .unwrap()
            .count(),
        0
    );
    refused
}

#[test]
fn weights_of_which_a_part_would_not_be_used_are_refused() {
    let (card, tensors) = golden("dinov2");
    let scales = renamed(&tensors, &[("lambda1", "gamma")]);
    let text = refusal(&card, &scales);
    assert!(
        text.contains("layer_scale1.gamma") && text.contains("not be used"),
        "{text}"
    );

    let short = ModelCard {
        depth: 5,
        ..card.clone()
    };
    let text = refusal(&short, &tensors);
    assert!(
        text.contains("6 blocks") && text.contains("`depth` is 5"),
        "{text}"
    );

    let mut more = tensors.clone();
    more.insert(
        "encoder.layer.2.attention.bias_table".into(),
        (vec![2], vec![0; 8]),
    );
    assert!(refusal(&card, &more).contains("bias_table"));
    // A head is not of the encoder.
    let mut more = tensors;
    more.insert("classifier.weight".into(), (vec![2], vec![0; 8]));
    embed_tensors(&card, &more);
}

#[test]
fn weights_with_fewer_parameters_than_the_card_says_are_refused() {
    for (name, missing) in [
        ("clip", "pre_layrnorm"),
        ("dinov2", "layer_scale2"),
        ("vit", "query.bias"),
        ("mae", "vit.layernorm."),
    ] {
        let (card, mut tensors) = golden(name);
        tensors.retain(|name, _| !name.contains(missing));
        let text = refusal(&card, &tensors);
        assert!(
            text.contains(&format!("the card says {}", card.parameters)),
            "{text}"
        );
    }
}

#[test]
fn two_encoders_in_one_file_are_not_chosen_from() {
    let (card, tensors) = golden("dinov2");
    let both = ["student.", "teacher."].iter().flat_map(|start| {
        let tensors = tensors.iter();
        tensors.map(move |(name, tensor)| (format!("{start}{name}"), tensor.clone()))
    });
    let text = refusal(&card, &both.collect());
    assert!(text.contains("`student.`, `teacher.`"), "{text}");
}
