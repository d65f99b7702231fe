//! Exporting, checking and running backbones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache::CacheMeta;

use crate::graphs;
use crate::lab::{Lab, Run, program, project, runtime};

pub fn models() -> PathBuf {
    project().join("onnx_models")
}

pub fn weights() -> PathBuf {
    models().join("tiny-vit.safetensors")
}

/// A project folder with the card of the tiny model, whose source is `source`, and no weights.
pub fn home(lab: &Lab, source: &str) -> PathBuf {
    let card = fs::read_to_string(models().join("tiny-vit.toml")).unwrap();
    let (before, after) = card.split_once("[[source]]").unwrap();
    let after = &after[after.find("[[reference]]").unwrap()..];
    let card = format!("{before}[[source]]\n{source}\n{after}");
    lab.write("home/onnx_models/tiny-vit.toml", card);
    lab.path("home")
}

pub const HUB_SOURCE: &str =
    "kind = 'hub'\nrepository = 'someone/tiny'\nfile = 'model.safetensors'\nrevision = 'main'";

pub fn export(home: &Path) -> Command {
    let mut command = program("extract");
    command.args(["export", "tiny-vit"]);
    command.env("SLICEBANK_HOME", home);
    command.env("HF_HUB_CACHE", home.join("no-hub-cache"));
    command.env_remove("HF_TOKEN").env_remove("HF_HUB_OFFLINE");
    command
}

#[test]
fn weights_that_the_card_does_not_describe_are_refused_by_tensor() {
    let lab = Lab::new();
    let home = home(&lab, HUB_SOURCE);
    let other = project().join("tests/golden/models/clip.safetensors");
    let run = Run::of(export(&home).arg("--weights").arg(other));
    run.expect_error(
        2,
        &[
            "safetensors",
            "embeddings.patch_embeddings.projection.weight",
        ],
    );
    let card = home.join("onnx_models/tiny-vit.toml");
    let text = fs::read_to_string(&card).unwrap();
    fs::write(&card, text.replace("width = 32", "width = 64")).unwrap();
    let run = Run::of(export(&home).arg("--weights").arg(weights()));
    run.expect_error(2, &["[32, 3, 14, 14]", "[64, 3, 14, 14]"]);
    fs::write(&card, text.replace("depth = 6", "depth = 7")).unwrap();
    let run = Run::of(export(&home).arg("--weights").arg(weights()));
    run.expect_error(2, &["encoder.layer.6.norm1.weight"]);
    let cut = lab.write("cut.safetensors", &fs::read(weights()).unwrap()[..300_000]);
    let run = Run::of(export(&home).arg("--weights").arg(cut));
    run.expect_error(2, &["300000 bytes"]);
}

/// The tiny model as someone's own: a graph, its weights beside it, and a card elsewhere.
pub fn own(lab: &Lab) -> [PathBuf; 2] {
    Run::of(program("extract").args(["export", "tiny-vit"])).expect(0);
    let graph = fs::read(models().join("tiny-vit@56.onnx")).unwrap();
    lab.write("own/tiny-vit.safetensors", fs::read(weights()).unwrap());
    let card = fs::read_to_string(models().join("tiny-vit.toml")).unwrap();
    let card = card.replace("name = \"tiny-vit\"", "name = \"mine\"");
    [
        lab.write("own/graph.onnx", graph),
        lab.write("mine.toml", card),
    ]
}

pub fn extract_own(lab: &Lab, [onnx, card]: &[PathBuf; 2], more: &[&str]) -> Run {
    let mut command = program("extract");
    command.arg("--onnx").arg(onnx).arg("--card").arg(card);
    command
        .args(["--name", "images", "--dataset", "manifest", "--root"])
        .arg(lab.manifest(3));
    Run::of(command.arg("--cache").arg(lab.path("cache")).args(more))
}

#[test]
fn a_model_of_one_s_own_runs_and_its_weights_may_not_change() {
    let lab = Lab::new();
    let own = own(&lab);
    extract_own(&lab, &own, &[]).expect(0);
    lab.extract("manifest", &lab.path("images.csv"), &[])
        .expect(0);
    let cls = |model: &str| {
        let reader = cache::CacheReader::open(&lab.path(&format!("cache/images/{model}@56")));
        reader.unwrap().cls(1).unwrap()
    };
    assert_eq!(cls("mine"), cls("tiny-vit"));
    extract_own(&lab, &own, &["--precision", "int8"]).expect_error(2, &["mine", "int8", "fp32"]);
    let mut other = fs::read(weights()).unwrap();
    let last = other.len() - 2;
    other[last] ^= 1;
    lab.write("own/tiny-vit.safetensors", other);
    extract_own(&lab, &own, &[]).expect_error(2, &["tiny-vit.safetensors", "sha256"]);
}

#[test]
fn a_cache_made_by_another_model_is_refused() {
    let lab = Lab::new();
    let own = own(&lab);
    extract_own(&lab, &own, &[]).expect(0);
    let mut graph = fs::read(&own[0]).unwrap();
    // Another field of the format, which changes nothing: `model_version`.
    graph.extend([5 << 3, 7]);
    fs::write(&own[0], graph).unwrap();
    extract_own(&lab, &own, &[]).expect_error(2, &["mine@56", "model.sha256"]);
}

#[test]
fn a_graph_that_is_not_what_its_card_says_is_an_error_that_names_the_output() {
    let lab = Lab::new();
    let own = own(&lab);
    let card = fs::read_to_string(&own[1]).unwrap();
    fs::write(&own[1], card.replace("width = 32", "width = 64")).unwrap();
    extract_own(&lab, &own, &[]).expect_error(2, &["graph.onnx", "cls_1", "32", "64"]);
    fs::write(&own[1], card.replace("layers = 5", "layers = 6")).unwrap();
    extract_own(&lab, &own, &["--layers", "6"])
        .expect_error(2, &["graph.onnx", "cls_6", "missing"]);
    fs::write(&own[1], &card).unwrap();
    extract_own(&lab, &own, &["--image-size", "70"])
        .expect_error(2, &["graph.onnx", "pixels", "56", "70"]);
    fs::remove_file(lab.path("own/tiny-vit.safetensors")).unwrap();
    extract_own(&lab, &own, &[]).expect_error(2, &["tiny-vit.safetensors"]);
    lab.write("own/graph.onnx", &fs::read(&own[0]).unwrap()[..1000]);
    extract_own(&lab, &own, &[]).expect_error(2, &["graph.onnx", "no ONNX model"]);
}

#[test]
fn more_blocks_than_a_card_s_default_can_be_kept_and_not_more_than_there_are() {
    let lab = Lab::new();
    let manifest = lab.manifest(3);
    lab.extract("manifest", &manifest, &["--layers", "6"])
        .expect(0);
    let more = CacheMeta::read(&lab.cache()).unwrap();
    assert_eq!(more.layers, 6);
    // It is the same model: what is trained on its tokens fits caches with fewer layers.
    let mut usual = lab.extract_as("usual", "manifest", &manifest);
    Run::of(&mut usual).expect(0);
    let usual = CacheMeta::read(&lab.path("cache/usual/tiny-vit@56")).unwrap();
    assert_eq!(usual.model, more.model);
    lab.extract("manifest", &manifest, &["--layers", "7"])
        .expect_error(2, &["tiny-vit", "7 layers", "1 to 6"]);
}

#[test]
fn a_provider_asked_for_by_name_is_never_replaced_by_another() {
    let lab = Lab::new();
    let manifest = lab.manifest(3);
    for provider in ["cuda", "tensorrt"] {
        lab.extract("manifest", &manifest, &["--provider", provider])
            .expect_error(2, &[provider, "cannot run here", "--provider cpu"]);
    }
    let run = |more: &[&str]| {
        let words = [&["--provider", "auto"], more].concat();
        lab.extract("manifest", &manifest, &words).expect(0).stderr
    };
    let text = run(&[]);
    assert!(text.contains("computing on cpu in fp32\n"), "{text}");
    assert!(!text.to_lowercase().contains("cuda"), "{text}");
    let text = run(&["-v"]);
    assert!(text.contains("not on a GPU: the provider `cuda`"), "{text}");
    lab.extract(
        "manifest",
        &manifest,
        &["--provider", "cpu", "--precision", "mixed16"],
    )
    .expect_error(2, &["cpu", "mixed16", "fp32"]);
}

#[test]
fn the_parity_gate_s_figures_are_kept_and_a_run_below_its_bound_does_not_begin() {
    let lab = Lab::new();
    let manifest = lab.manifest(9);
    let int8 = ["--precision", "int8", "--parity-bound"];
    let strict = [&int8[..], &["0.9999999"]].concat();
    let run = lab.extract("manifest", &manifest, &strict);
    run.expect_error(
        2,
        &["parity gate", "4 slices", "relative RMS", "--parity-bound"],
    );
    assert!(!lab.cache().exists());
    let run = lab
        .extract("manifest", &manifest, &[&int8[..], &["0.9"]].concat())
        .expect(0);
    assert!(run.stderr.contains("warning: 8-bit integers"), "{run:?}");
    let meta = CacheMeta::read(&lab.cache()).unwrap();
    let parity = meta.parity.unwrap();
    assert_eq!(
        (&*meta.precision, parity["slices"].as_u64()),
        ("int8", Some(4))
    );
    assert!(
        (0.9..0.999_999_9).contains(&parity["cosine_min"].as_f64().unwrap()),
        "{parity}"
    );
    assert!(parity["relative_rms"].as_f64().unwrap() > 1e-4, "{parity}");
    lab.extract("manifest", &manifest, &[])
        .expect_error(2, &["precision", "int8", "fp32"]);
}

#[test]
fn a_graph_that_cannot_be_written_leaves_no_part_of_it() {
    let lab = Lab::new();
    let home = home(&lab, HUB_SOURCE);
    lab.write("home/onnx_models/tiny-vit@56.onnx/file", "in the way");
    let run = Run::of(export(&home).arg("--weights").arg(weights())).expect(2);
    assert!(run.stderr.contains("tiny-vit@56.onnx"), "{run:?}");
    let files = fs::read_dir(home.join("onnx_models")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let parts: Vec<String> = names.filter(|name| name.contains(".part")).collect();
    assert_eq!(parts, [""; 0]);
}

#[test]
fn a_check_compares_tokens_with_those_of_the_original_implementation() {
    let lab = Lab::new();
    let home = home(&lab, HUB_SOURCE);
    Run::of(export(&home).arg("--weights").arg(weights())).expect(0);
    let check = || {
        let mut command = program("extract");
        command
            .args(["models", "tiny-vit", "--check"])
            .env("SLICEBANK_HOME", &home);
        Run::of(command.env("ORT_DYLIB_PATH", runtime()))
    };
    let run = check().expect(0);
    assert!(run.stdout.contains("tokens within"), "{}", run.stdout);
    let card = home.join("onnx_models/tiny-vit.toml");
    let text = fs::read_to_string(&card).unwrap();
    fs::write(&card, text.replace("cls_1 = [", "cls_1 = [9.0, ")).unwrap();
    let run = check().expect(1);
    assert!(
        run.stdout.contains("differ from the card's"),
        "{}",
        run.stdout
    );
    // Nor is such a graph said to be exported.
    let exports = |weights: &[&str]| {
        let mut command = export(&home);
        Run::of(command.env("ORT_DYLIB_PATH", runtime()).args(weights))
    };
    exports(&[]).expect_error(1, &["differ from the card's"]);
    let own = ["--weights", weights().to_str().unwrap()].map(str::to_owned);
    let run = exports(&own.each_ref().map(String::as_str)).expect(0);
    assert!(
        run.stderr.contains("warning: ") && run.stderr.contains("as those of other weights"),
        "{run:#?}"
    );
    let [before, after] = ["[[reference]]", "[vit]"].map(|key| text.find(key).unwrap());
    fs::write(&card, format!("{}{}", &text[..before], &text[after..])).unwrap();
    let run = check().expect(0);
    assert!(run.stdout.contains("NOT compared"), "{}", run.stdout);
    // The graph that is there is not the card's any more.
    fs::write(&card, text.replace("epsilon = 1e-6", "epsilon = 1e-1")).unwrap();
    let run = check().expect(1);
    assert!(
        run.stdout.contains("differ from the card's"),
        "{}",
        run.stdout
    );
}

/// A network with two stages of other widths and grids, and a third width for the whole image.
#[test]
fn layers_of_a_cnn_keep_their_own_widths_and_grids() {
    let lab = Lab::new();
    let onnx = graphs::write(&lab, "cnn.onnx", &["stages"]);
    let changes = [
        ("width = 32", "width = 24"),
        ("patch_size = 14", "patch_size = 8"),
        ("layers = 5", "layers = 2"),
    ];
    let card = lab.write("cnn.toml", graphs::card("cnn", &changes));
    extract_own(&lab, &[onnx, card], &["--tokens", "all"]).expect(0);
    let reader = cache::CacheReader::open(&lab.path("cache/images/cnn@56")).unwrap();
    let shapes = [1, 2].map(|layer| {
        let shape = reader.meta().shape(layer);
        (shape.cls, shape.patch, shape.grid)
    });
    assert_eq!(shapes, [(24, 16, [7, 7]), (8, 8, [14, 14])]);
    assert_eq!(reader.cls(1).unwrap().dim(), (3, 24));
    assert_eq!(reader.cls(2).unwrap(), reader.mean(2).unwrap());
}
