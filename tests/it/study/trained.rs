//! Cells that train blocks or backbones.

use std::fs;

use super::{records, study};
use crate::lab::Lab;

/// Blocks that are adapted, and a training that a script runs.
const TRAINED: &str = r#"
models = ["tiny-vit"]
datasets = ["images"]

[[probe]]
name = "linear"
epochs = 2

[[probe]]
name = "adapt"
method = "bitfit"
blocks = 2
epochs = 2

[[probe]]
name = "finetune"
method = "lora"
lr = 0.0002
"#;

#[test]
fn blocks_are_adapted_where_caches_have_their_tokens_and_fine_tuning_is_left_to_its_script() {
    let lab = Lab::new();
    let table = lab.manifest(24);
    // Fine-tuning needs a `val`.
    let mut text = fs::read_to_string(&table).unwrap();
    for patient in [3, 4, 9, 10] {
        let of = |split: &str| format!(",p{patient},{split}\n");
        text = text.replace(&of("train"), &of("val"));
    }
    let manifest = lab.write("images.csv", text);
    let roots = format!("images={}", manifest.display());
    let toml = format!("{TRAINED}\n[extract.images]\ndataset = \"manifest\"\n");
    let run = study(&lab, &toml, "runs", &["--dry-run", "--root", &roots]).expect(0);
    // The cache is made once, with the tokens that all cells need.
    let extractions = run.stderr.matches("  extract --model tiny-vit").count();
    assert_eq!(
        (extractions, run.stderr.matches("--tokens=residual").count()),
        (1, 1),
        "{run:#?}"
    );
    lab.extract("manifest", &manifest, &[]).expect(0);
    let run = study(&lab, &toml, "runs", &["--dry-run", "--root", &roots]).expect(0);
    for said in [
        "adapt bitfit blocks=2",
        "no tokens",
        "--tokens=residual",
        "by script",
    ] {
        let told = format!("{}{}", run.stdout, run.stderr);
        assert!(told.contains(said), "no {said}: {run:#?}");
    }
    let run = study(&lab, &toml, "runs", &["--extract", "--root", &roots]).expect(1);
    assert_eq!(records(&lab, "runs/adapt.jsonl").len(), 1, "{run:#?}");
    assert_eq!(fs::read_dir(lab.path("runs/training")).unwrap().count(), 0);
    let command = format!(
        "  scripts/finetune {} --root {} --dataset manifest --protocol=strict --lr=0.0002 --method=lora",
        lab.cache().display(),
        manifest.display(),
    );
    assert!(run.stderr.contains(&command), "{run:#?}");
    // A record of the script with the options of the study is the result of the cell.
    let mut record = records(&lab, "runs/linear.jsonl").remove(0);
    let of_script = |rate: f64| {
        serde_json::json!({
            "task": "classification", "method": "lora", "decoder": null, "learning_rate": rate,
        })
    };
    record["probe"] = "finetune".into();
    for (rate, status) in [(0.5, 1), (0.0002, 0)] {
        record["params"] = of_script(rate);
        record["key"] = format!("{rate}").into();
        lab.write("runs/finetune.jsonl", format!("{record}\n"));
        let run = study(&lab, &toml, "runs", &[]).expect(status);
        assert_eq!(
            run.stderr.contains("scripts/finetune"),
            status == 1,
            "{run:#?}"
        );
    }
    let wrong = toml.replace("lr = 0.0002", "rate = 0.0002");
    study(&lab, &wrong, "runs", &[]).expect_error(2, &["`finetune` has no option `rate`"]);
}
