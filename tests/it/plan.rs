//! `extract plan`.

use serde_json::Value;

use crate::lab::{Lab, Run, program};

fn plan(lab: &Lab, words: &[&str]) -> Run {
    let mut command = program("extract");
    let command = command.arg("plan").args(words).arg("--cache");
    Run::of(command.arg(lab.path("cache")))
}

#[test]
fn a_plan_says_what_the_cache_will_take_and_writes_nothing() {
    let lab = Lab::new();
    let table = lab.manifest(12);
    let words = [
        "--model",
        "tiny-vit",
        "--dataset",
        "manifest",
        "--name",
        "images",
        "--root",
    ];
    let words = [&words[..], &[table.to_str().unwrap(), "--tokens", "all"]].concat();
    let json = plan(&lab, &[&words[..], &["--format", "json"]].concat()).expect(0);
    let found: Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(!lab.path("cache").exists());
    lab.extract("manifest", &table, &["--tokens", "all"])
        .expect(0);
    let meta = cache::CacheMeta::read(&lab.cache()).unwrap();
    assert_eq!(found["slices"], meta.rows);
    // Files have a kilobyte of metadata for each column besides.
    for (table, file) in &meta.shards[0].tables {
        let told = found["tables"][table].as_u64().unwrap();
        assert!(
            told.abs_diff(file.bytes) < 8000,
            "{table}: {told} for {}",
            file.bytes
        );
    }
    for number in [
        "hours",
        "slices_per_second",
        "peak_memory_bytes",
        "bytes_free",
    ] {
        assert!(
            found[number].as_f64().is_some_and(|n| n > 0.0),
            "{number}: {found}"
        );
    }
    let again = [&words[..], &["--batches", "0", "--format"]].concat();
    let csv = plan(&lab, &[&again[..], &["csv"]].concat())
        .expect(0)
        .stdout;
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let cell = |name: &str| rows[1][rows[0].iter().position(|of| *of == name).unwrap()];
    assert_eq!(
        (cell("slices"), cell("residual"), rows.len()),
        ("12", "", 2)
    );
    assert_eq!(cell("bytes"), found["bytes"].to_string());
    assert_eq!(cell("patch"), found["tables"]["patch"].to_string());
    let markdown = plan(&lab, &[&again[..], &["markdown"]].concat())
        .expect(0)
        .stdout;
    assert!(markdown.starts_with("| dataset | model |"), "{markdown}");
    plan(&lab, &[&again[..], &["csv", "--wide"]].concat())
        .expect_error(2, &["`--wide` has no effect"]);
    let text = plan(&lab, &words).expect(0).stdout;
    assert!(text.contains("images: slices counted"), "{text}");
    assert!(
        text.contains("12 slices, ") && text.contains("in the cache already"),
        "{text}"
    );
    assert!(text.contains("to write: 0 B in 0.000 h; "), "{text}");
}

#[test]
fn a_plan_of_several_models_and_datasets_has_a_line_for_each_and_names_what_fails() {
    let lab = Lab::new();
    lab.png("data/a/x/1.png", 1, 1);
    lab.png("data/a/y/1.png", 2, 2);
    lab.png("data/b/x/1.png", 3, 3);
    lab.png("data/b/y/1.png", 4, 4);
    let roots = format!(
        "{},{}",
        lab.path("data/a").display(),
        lab.path("data/b").display()
    );
    let words = [
        "--model",
        "tiny-vit,dinov2-g14",
        "--dataset",
        "folder,folder",
        "--root",
        &roots,
    ];
    let run = plan(&lab, &words).expect(0);
    let lines: Vec<&str> = run.stdout.lines().collect();
    let rows = [
        "a  tiny-vit",
        "a  dinov2-g14",
        "b  tiny-vit",
        "b  dinov2-g14",
    ];
    for (row, line) in rows.iter().zip(&lines[1..]) {
        assert_eq!(
            line.split_whitespace()
                .take(2)
                .collect::<Vec<_>>()
                .join("  "),
            *row
        );
    }
    assert!(
        run.stdout.contains("`extract export dinov2-g14`"),
        "{run:#?}"
    );
    let words = [
        "--model",
        "tiny-vit,nothing",
        "--dataset",
        "folder",
        "--root",
    ];
    let root = lab.path("data/a");
    let run = plan(&lab, &[&words[..], &[root.to_str().unwrap()]].concat()).expect(1);
    assert!(
        run.stdout.contains("a, nothing: ") && run.stdout.contains("hint:"),
        "{run:#?}"
    );
}
