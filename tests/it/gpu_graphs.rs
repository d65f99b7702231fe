//! Graphs on ONNX Runtime's real GPU library, with stand-ins for CUDA's libraries: which operators
//! compute where, and how many launches they take. Kernels do nothing, so tokens mean nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use onnx_models::{ModelCard, Source, VitCard};

use crate::cuda::{Copies, stand_in};
use crate::lab::{Lab, Run, program, project};
use crate::models::models;

/// The properties of a card that determine the operators of its graph.
fn kind(vit: &VitCard) -> String {
    format!(
        "{:?}",
        (vit.tensors, vit.activation, vit.final_norm, vit.cls)
    )
}

/// The tiny models of all architectures with random weights.
fn tiny() -> Vec<(PathBuf, ModelCard)> {
    let files = fs::read_dir(project().join("tests/golden/models")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let cards = files.filter(|file| file.extension().is_some_and(|ext| ext == "toml"));
    let cards = cards.map(|file| (file.clone(), ModelCard::read_file(&file).unwrap()));
    cards.filter(|(_, card)| card.vit.is_some()).collect()
}

/// The command that extracts by `model` of the project `home`, which may be in the lab, on the stand-in.
fn extract(lab: &Lab, home: &Path, model: &str, [provider, precision]: [&str; 2]) -> Command {
    let mut command = program("extract");
    command
        .args([
            "--model",
            model,
            "--name",
            "images",
            "--dataset",
            "manifest",
        ])
        .arg("--root")
        .arg(lab.path("images.csv"))
        .arg("--cache")
        .arg(lab.path("cache").join(model).join(precision))
        .args(["--provider", provider, "--precision", precision])
        .args(["--parity-slices", "0", "--batch-size", "8"])
        .env("SLICEBANK_HOME", home)
        .env(
            "ORT_DYLIB_PATH",
            stand_in().join("libonnxruntime.so.1.31.1"),
        )
        .env("LD_LIBRARY_PATH", stand_in());
    command
}

#[test]
fn no_operator_of_any_vision_transformer_is_left_to_the_processor() {
    let tiny = tiny();
    let kinds: Vec<String> = tiny
        .iter()
        .filter_map(|(_, card)| card.vit.as_ref().map(kind))
        .collect();
    for card in ModelCard::all(&models()).map(Result::unwrap) {
        if let Some(vit) = &card.vit {
            assert!(
                kinds.contains(&kind(vit)),
                "no tiny model like {}",
                card.name
            );
        }
    }
    let lab = Lab::new();
    lab.manifest(1);
    for (file, card) in &tiny {
        lab.write(
            &format!("home/onnx_models/{}.toml", card.name),
            fs::read(file).unwrap(),
        );
        let Source::Local { file, .. } = &card.source[0] else {
            panic!("{card:?}")
        };
        let weights = fs::read(project().join(file)).unwrap();
        lab.write(
            &format!("home/onnx_models/{}.safetensors", card.name),
            weights,
        );
        for precision in ["fp32", "mixed16"] {
            let run = Run::of(&mut extract(
                &lab,
                &lab.path("home"),
                &card.name,
                ["cuda", precision],
            ));
            // It comes after all operators have a place, and one slice was computed.
            let said = format!("computing on cuda in {precision}");
            assert!(run.stderr.contains(&said), "{}: {run:?}", card.name);
        }
    }
}

#[test]
fn operators_on_the_processor_are_counted_or_refused() {
    let copies = Copies::new("processor");
    let libraries = stand_in();
    let run = Run::of(&mut copies.extract("cuda", "own", &libraries));
    assert!(
        run.stderr
            .contains("warning: 1 operator of the graph's run on the CPU"),
        "{run:?}"
    );
    let run = Run::of(&mut Copies::new("copy").extract("cuda", "none", &libraries)).expect(0);
    assert!(!run.stderr.contains("on the CPU"), "{run:?}");

    let card = fs::read_to_string(&copies.card).unwrap();
    let vit = fs::read_to_string(models().join("tiny-vit.toml")).unwrap();
    let vit = &vit[vit.find("[vit]").unwrap()..];
    fs::write(&copies.card, format!("{card}\n{vit}")).unwrap();
    Run::of(&mut copies.extract("cuda", "vit", &libraries))
        .expect_error(2, &["no kernels for some of the graph's operators"]);
}

/// Biases are added by the operators after products, and sums normalised by one operator: 161 launches
/// without that.
#[test]
fn launches_of_a_batch_are_few() {
    let lab = Lab::new();
    lab.manifest(1);
    let mut command = extract(&lab, &project(), "tiny-vit", ["cuda", "mixed16"]);
    let run = Run::of(command.env("STAND_IN_TRACE", lab.path("trace")));
    assert!(
        run.stderr.contains("computing on cuda in mixed16"),
        "{run:?}"
    );
    let trace = fs::read_to_string(lab.path("trace")).unwrap();
    // A run begins with the copy of its pixels, a whole batch of them.
    let copy = format!("copy {} 1\n", 8 * 3 * 56 * 56 * size_of::<f32>());
    // Two are tried first, whose pixels are copied before either is computed.
    let tried = trace.split(&copy).nth(2).unwrap();
    let launches = tried.lines().filter(|line| line.starts_with("launch"));
    assert_eq!(launches.count(), 2 * 119);
}

#[test]
fn tensorrt_computes_without_tf32_and_refuses_what_is_too_large_for_it() {
    let lab = Lab::new();
    lab.manifest(1);
    let trace = lab.path("trace");
    let tensorrt = |model: &str, precision: &str| {
        let mut command = extract(&lab, &project(), model, ["tensorrt", precision]);
        command
            .env("STAND_IN_TRACE", &trace)
            .env_remove("NVIDIA_TF32_OVERRIDE");
        Run::of(&mut command)
    };
    tensorrt("dinov2-g14", "mixed16").expect_error(2, &["dinov2-g14", "2272958464", "cuda"]);
    tensorrt("openclip-h14", "fp32").expect_error(2, &["openclip-h14", "--precision mixed16"]);
    tensorrt("tiny-vit", "fp32").expect_error(2, &["libnvinfer.so.10"]);
    let trace = fs::read_to_string(&trace).unwrap();
    assert!(trace.contains("tf32 0 0"), "{trace}");
}
