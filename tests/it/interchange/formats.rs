//! Formats that are written and read back, and files of other programs.

use std::fs;
use std::path::PathBuf;

use cache::{CacheReader, Split};
use half::f16;

use super::{ROWS, WIDTH, cache, export, import, import_command, known, lab, numbers};
use crate::lab::{Lab, Run, program, project, python};

/// A cache of the tiny backbone, with patch tokens and pictures.
fn extracted(lab: &Lab) -> PathBuf {
    let list = lab.manifest(24);
    let options = [
        "--tokens",
        "all",
        "--layers",
        "2",
        "--pictures",
        "--shard-rows",
        "8",
    ];
    lab.extract(
        "manifest",
        &list,
        &[&options[..], &["--batch-size", "8"]].concat(),
    )
    .expect(0);
    lab.cache()
}

#[test]
fn every_format_that_is_written_is_read_back_with_the_same_tokens_and_figures() {
    let lab = Lab::new();
    let from = extracted(&lab);
    let original = CacheReader::open(&from).unwrap();
    let formats = [
        ("npz", "npz/tokens.npz", "npz/rows.csv", true),
        ("npy", "npy/cls.npy", "npy/rows.csv", true),
        ("parquet", "parquet/tokens.parquet", "", false),
        ("eva", "eva", "", false),
        ("hdf5", "hdf5/tokens.h5", "hdf5/rows.csv", true),
    ];
    for (to, source, table, has_patches) in formats {
        let more: &[&str] = if has_patches { &["--patches"] } else { &[] };
        export(&lab, &from, to, more).expect(0);
        let mut command = import_command(&lab, source, table);
        command.args(["--model", to, "--image-size", "56"]);
        if to == "npy" {
            command.arg("--patches").arg(lab.path("npy/patch.npy"));
        }
        if to == "hdf5" {
            command.args(["--patches", "patch"]);
        }
        Run::of(&mut command).expect(0);
        let read = CacheReader::open(&lab.path(&format!("cache/d/{to}@56"))).unwrap();
        assert_eq!(read.cls(1).unwrap(), original.cls(1).unwrap(), "{to}");
        assert_eq!(read.meta().classes, original.meta().classes, "{to}");
        let slices = |reader: &CacheReader| known(&reader.slices().unwrap());
        assert_eq!(slices(&read), slices(&original), "{to}");
        if has_patches {
            let all = |reader: &CacheReader| -> Vec<f32> {
                let shards = 0..reader.meta().shards.len();
                shards
                    .flat_map(|shard| reader.patch(1, shard).unwrap())
                    .collect()
            };
            assert_eq!(all(&read), all(&original), "{to}");
            assert_eq!(read.meta().grid, original.meta().grid);
        }
    }
    for probe in ["knn", "logreg"] {
        let options: &[&str] = if probe == "knn" {
            &["--k", "3"]
        } else {
            &["--C", "1"]
        };
        let run = lab.probe_with(probe, options).expect(0);
        let line = |model: &str| {
            let line = run.stdout.lines().find(|line| line.contains(model));
            let line = line.unwrap_or_else(|| panic!("no {model} in {run:#?}"));
            line.split_whitespace()
                .skip(2)
                .collect::<Vec<_>>()
                .join(" ")
        };
        for (to, ..) in formats {
            assert_eq!(
                line(&format!("{to}@56")),
                line("tiny-vit@56"),
                "{probe} {to}"
            );
        }
    }
}

#[test]
fn exports_are_what_numpy_pyarrow_and_tarfile_expect() {
    let lab = Lab::new();
    let from = extracted(&lab);
    for to in ["npz", "npy", "webdataset"] {
        export(&lab, &from, to, &["--patches"]).expect(0);
    }
    export(&lab, &from, "parquet", &["--layer", "2"]).expect(0);
    export(&lab, &from, "hdf5", &["--patches"]).expect(0);
    export(&lab, &from, "trident", &[]).expect(0);
    let mut check = python("dev/check_exports.py");
    let checked = Run::of(check.arg(&from).arg(lab.path(""))).expect(0);
    assert!(
        checked.stdout.contains("webdataset: 24 rows"),
        "{checked:#?}"
    );
}

#[test]
fn files_of_h5py_pyarrow_and_numpy_are_imported() {
    let lab = lab();
    let mut make = python("dev/make_embeddings.py");
    Run::of(make.arg(lab.path(""))).expect(0);
    let golden = |reader: &CacheReader| reader.cls(1).unwrap();
    import(&lab, "x.npy", "m", &[]).expect(0);
    let expected = golden(&CacheReader::open(&cache(&lab, "m")).unwrap());
    let cases: [(&str, &str, &[&str]); 8] = [
        ("plain.npz", "npz", &[]),
        ("packed.npz", "packed", &["--array", "vectors"]),
        ("big.npy", "big", &[]),
        ("features.h5", "h5", &[]),
        ("chunked.h5", "chunked", &["--array", "group/half"]),
        ("list.parquet", "list", &[]),
        ("fixed.parquet", "fixed", &["--array", "half"]),
        ("double.parquet", "double", &[]),
    ];
    for (file, model, more) in cases {
        import(&lab, file, model, more).expect(0);
        let reader = CacheReader::open(&cache(&lab, model)).unwrap();
        assert_eq!(golden(&reader), expected, "{file}");
    }
    let own = import_command(&lab, "list.parquet", "")
        .args(["--model", "own"])
        .output()
        .unwrap();
    assert!(own.status.success(), "{own:?}");
    let reader = CacheReader::open(&cache(&lab, "own")).unwrap();
    assert_eq!(reader.meta().classes, ["left", "right"]);
    import(&lab, "gap.parquet", "gap", &[]).expect_error(2, &["gap.parquet", "row 7"]);
    import(&lab, "ragged.parquet", "ragged", &[]).expect_error(2, &["ragged.parquet", "row 5"]);
    import(&lab, "nothing.h5", "nothing", &[]).expect_error(2, &["nothing.h5", "--array"]);
    let text = ["--array", "names"];
    import(&lab, "nothing.h5", "text", &text).expect_error(2, &["nothing.h5", "names"]);
    fs::write(
        lab.path("cut.h5"),
        &fs::read(lab.path("features.h5")).unwrap()[..900],
    )
    .unwrap();
    import(&lab, "cut.h5", "cut", &[]).expect_error(2, &["cut.h5"]);

    let mut trident = import_command(&lab, "trident", "slides.csv");
    let run = Run::of(trident.args(["--model", "trident"])).expect(0);
    assert!(run.stdout.contains("18 rows of 4 samples"), "{run:#?}");
    assert!(run.stderr.contains("1 file without a row"), "{run:#?}");
    let reader = CacheReader::open(&cache(&lab, "trident")).unwrap();
    let slices = reader.slices().unwrap();
    assert_eq!(
        (slices[5].slice, slices[5].patient.as_deref()),
        (2, Some("c1"))
    );
    lab.write("slides.csv", "slide_id,label\nslide-0.svs,a\n");
    let mut trident = import_command(&lab, "trident", "slides.csv");
    Run::of(trident.args(["--model", "few"])).expect_error(2, &["slides.csv", "slide-1.a"]);
}

#[test]
fn folders_that_eva_wrote_are_imported() {
    let lab = Lab::new();
    let golden = project().join("tests/golden/eva");
    let mut command = program("extract");
    command.arg("import-tokens").arg(&golden);
    command
        .args(["--dataset", "d", "--model", "eva", "--cache"])
        .arg(lab.path("cache"));
    let run = Run::of(&mut command).expect(0);
    assert!(
        run.stdout.contains("7 rows of 5 samples, width 6"),
        "{run:#?}"
    );
    let reader = CacheReader::open(&cache(&lab, "eva")).unwrap();
    let rows = reader.cls(1).unwrap();
    // Row `i` of `golden_eva.py` is `i + k / 8`.
    for (row, tokens) in rows.rows().into_iter().enumerate() {
        let expected = (0..6).map(|k| f16::from_f32(row as f32 + k as f32 / 8.0).to_f32());
        assert!(tokens.iter().copied().eq(expected), "row {row}: {tokens}");
    }
    let slices = reader.slices().unwrap();
    assert_eq!(slices[6].split, Some(Split::Test));
    assert_eq!(reader.meta().classes, ["0", "1"]);
}

#[test]
fn volumes_are_files_of_trident_and_cases_of_unicorn() {
    let lab = lab();
    let csv: String = (0..ROWS)
        .map(|row| {
            let volume = row / 5;
            let split = ["train", "val", "test"][volume % 3];
            format!(
                "a/{volume}: x,{},p{volume},{split}\n",
                ["left", "right"][volume % 2]
            )
        })
        .collect();
    lab.write("rows.csv", format!("sample,label,patient,split\n{csv}"));
    import(&lab, "x.npy", "m", &[]).expect(0);
    let from = cache(&lab, "m");
    export(&lab, &from, "trident", &[]).expect(0);
    let mut command = import_command(&lab, "trident/features", "trident/slides.csv");
    Run::of(command.args(["--model", "trident"])).expect(0);
    let [original, read] =
        ["m", "trident"].map(|model| CacheReader::open(&cache(&lab, model)).unwrap());
    // Files are in the order of their names.
    let rows = |reader: &CacheReader| {
        let tokens = reader.cls(1).unwrap();
        let slices = reader.slices().unwrap().into_iter().zip(tokens.rows());
        let mut rows: Vec<_> = slices
            .map(|(slice, tokens)| {
                (
                    slice.patient,
                    slice.slice,
                    slice.split,
                    slice.labels,
                    tokens.to_vec(),
                )
            })
            .collect();
        rows.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        rows
    };
    assert_eq!(rows(&original), rows(&read));
    assert_eq!(read.slices().unwrap()[0].sample, "a_0__x");

    export(&lab, &from, "unicorn", &[]).expect(0);
    let read = |path: &str| fs::read_to_string(lab.path("unicorn").join(path)).unwrap();
    let jobs: serde_json::Value = serde_json::from_str(&read("input/predictions.json")).unwrap();
    assert_eq!(jobs.as_array().unwrap().len(), ROWS);
    let (case, path) = (
        &jobs[7]["pk"],
        &jobs[7]["outputs"][0]["interface"]["relative_path"],
    );
    let file = format!(
        "input/{}/output/{}",
        case.as_str().unwrap(),
        path.as_str().unwrap()
    );
    let features: serde_json::Value = serde_json::from_str(&read(&file)).unwrap();
    let features = features[0]["features"].as_array().unwrap();
    let features = features
        .iter()
        .map(|number| number.as_f64().unwrap() as f32);
    assert!(features.eq(numbers(7, WIDTH)));
    let mapping = read("ground_truth/mapping.csv");
    assert_eq!(mapping.matches(",shot\n").count(), 40);
}

#[test]
fn an_export_replaces_nothing_but_an_export() {
    let lab = lab();
    import(&lab, "x.npy", "m", &[]).expect(0);
    let from = cache(&lab, "m");
    lab.write("npz/mine.txt", "x");
    export(&lab, &from, "npz", &["--force"]).expect_error(2, &["npz", "there are files already"]);
    assert!(lab.path("npz/mine.txt").exists());
    export(&lab, &from, "npy", &[]).expect(0);
    export(&lab, &from, "npy", &[]).expect_error(2, &["npy", "--force"]);
    lab.write("npy/later.txt", "x");
    export(&lab, &from, "npy", &["--force"]).expect(0);
    assert!(!lab.path("npy/later.txt").exists());
    export(&lab, &from, "webdataset", &["--patches"]).expect_error(2, &["patch"]);
    assert!(
        !lab.path("webdataset").exists(),
        "a failed export leaves nothing"
    );
    export(&lab, &from, "parquet", &["--layer", "2"]).expect_error(2, &["no layer 2"]);
}
