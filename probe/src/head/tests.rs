use cache::{ModelMeta, Split, TokenRecipe};
use ndarray::{Array1, Array2};
use serde_json::Value;

use super::*;

fn saved(classes: &[&str], outputs: usize) -> SavedHead {
    SavedHead {
        about: About {
            origin: Origin {
                dataset: "d".into(),
                samples_sha256: None,
                tokens: TokenRecipe {
                    model: ModelMeta {
                        name: "m".into(),
                        sha256: "0".into(),
                        final_norm: None,
                        weights_sha256: None,
                    },
                    image_size: 224,
                    precision: "fp32".into(),
                    preprocess: Value::Null,
                },
                split_name: None,
                split_sha256: None,
                labels_name: None,
                labels_sha256: None,
                seen: vec![Split::Train],
                seen_cases: ["0".to_owned()].into(),
            },
            settings: Map::new(),
            classes: classes.iter().map(|&class| class.to_owned()).collect(),
            protocol: Protocol::Strict,
            is_single_label: true,
            by_sigmoid: false,
            scores: ScoreKind::Probability,
            tokens: Tokens {
                cls: vec![1],
                mean: Vec::new(),
            },
            unit: Unit::Slice,
            pool: Pool::Mean,
            thresholds: None,
            blocks: None,
        },
        weight: Array2::zeros((outputs, 2)),
        bias: Array1::zeros(outputs),
    }
}

#[test]
fn heads_that_fit_no_features_or_classes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    let read = |head: &SavedHead| {
        head.write(&path).unwrap();
        SavedHead::read(&path)
    };
    let good = saved(&["a", "b", "c"], 3);
    assert_eq!(read(&good).unwrap(), good);
    // Values that f32 does not hold, and decision values.
    let mut precise = good.clone();
    precise.weight[[0, 1]] = 0.1;
    precise.about.scores = ScoreKind::DecisionValue;
    assert_eq!(read(&precise).unwrap(), precise);
    let mut without_examples = good.clone();
    without_examples.bias[1] = f64::NEG_INFINITY;
    assert_eq!(read(&without_examples).unwrap(), without_examples);
    let refused = |change: &dyn Fn(&mut SavedHead), word: &str| {
        let mut head = good.clone();
        change(&mut head);
        let text = read(&head).unwrap_err().to_string();
        assert!(
            text.contains("head.safetensors") && text.contains(word),
            "{text}"
        );
    };
    let of = |classes: &[&str], outputs| {
        let other = saved(classes, outputs);
        move |head: &mut SavedHead| *head = other.clone()
    };
    refused(&of(&["a", "b"], 3), "3 x 3 outputs, expected 1");
    refused(&of(&["a"], 1), "found 1 class, expected at least 2");
    refused(&of(&["a", "b", "a"], 3), "`a` twice");
    let many: Vec<String> = (0..100_000).map(|class| class.to_string()).collect();
    refused(
        &|head| head.about.classes.clone_from(&many),
        "classes is 100000",
    );
    refused(&|head| head.weight[[0, 0]] = f64::NAN, "NaN or infinite");
    refused(&|head| head.bias[0] = f64::NAN, "NaN or infinite");
    refused(
        &|head| head.about.thresholds = Some(vec![0.5]),
        "1 threshold",
    );
    refused(
        &|head| head.about.tokens.cls.clear(),
        "features of 0 layers",
    );
    refused(
        &|head| head.about.tokens.cls = vec![0],
        "features of 1 layer",
    );
    let blocks = |folder: &str, rank: u32, batch: usize| {
        let about = serde_json::json!({
            "folder": folder,
            "options": {
                "blocks": 1, "method": "lora", "lora": {"rank": rank, "alpha": 16.0, "dropout": 0.1},
                "learning_rate": 0.1, "head_learning_rate": 0.1, "optimiser": "adamw", "weight_decay": 0.01,
                "epochs": 1, "batch_size": batch, "patience": null, "select": "auroc",
            },
        });
        let blocks: Blocks = serde_json::from_value(about).unwrap();
        move |head: &mut SavedHead| head.about.blocks = Some(blocks.clone())
    };
    let mut adapted = good.clone();
    blocks("adapters/a", 48, 32)(&mut adapted);
    assert_eq!(read(&adapted).unwrap(), adapted);
    for folder in ["", "/etc", "adapters/../../a"] {
        refused(&blocks(folder, 48, 32), "outside the folder");
    }
    refused(&blocks("a", u32::MAX, 32), "no blocks can be built");
    refused(&blocks("a", 48, 0), "no blocks can be built");
}
