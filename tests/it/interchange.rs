//! Embeddings of other programs as caches, and caches as files of other programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache::{CacheReader, ImportedTokens, Labels, SliceMeta, Split, Task};
use half::f16;

use crate::lab::{Lab, Run, program, project, python, snapshot};

/// Rows of arrays in these tests.
const ROWS: usize = 60;

/// Width of their tokens.
const WIDTH: usize = 8;

/// An `.npy` file (version 1).
fn npy(kind: &str, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let sides: String = shape.iter().map(|side| format!("{side}, ")).collect();
    let header =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({sides}), }}      \n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), bytes].concat()
}

/// Numbers that half precision holds, different in all places; those of odd rows are greater.
fn numbers(row: usize, width: usize) -> impl Iterator<Item = f32> {
    (0..width).map(move |k| ((row * 37 + k * 11) % 64) as f32 / 32.0 + (row % 2) as f32)
}

fn f32s(width: usize) -> Vec<u8> {
    let rows = (0..ROWS).flat_map(|row| numbers(row, width));
    rows.flat_map(f32::to_le_bytes).collect()
}

/// A lab with `x.npy` `[N, D]` and `rows.csv`: two classes, two rows of each patient.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("x.npy", npy("<f4", &[ROWS, WIDTH], &f32s(WIDTH)));
    lab.write("rows.csv", table(|row| format!("s{row}")));
    lab
}

fn table(sample: impl Fn(usize) -> String) -> String {
    let mut csv = "sample,label,patient,split\n".to_owned();
    for row in 0..ROWS {
        let class = ["left", "right"][row % 2];
        let split = ["train", "val", "test"][row / 2 % 3];
        csv += &format!("{},{class},p{},{split}\n", sample(row), row / 2);
    }
    csv
}

fn import_command(lab: &Lab, source: &str, table: &str) -> Command {
    let mut command = program("extract");
    command.arg("import-tokens").arg(lab.path(source));
    if !table.is_empty() {
        command.arg("--table").arg(lab.path(table));
    }
    command.args(["--dataset", "d", "--cache"]);
    command.arg(lab.path("cache"));
    command
}

fn import(lab: &Lab, source: &str, model: &str, more: &[&str]) -> Run {
    let mut command = import_command(lab, source, "rows.csv");
    Run::of(command.args(["--model", model]).args(more))
}

fn cache(lab: &Lab, model: &str) -> PathBuf {
    lab.path(&format!("cache/d/{model}@224"))
}

fn export(lab: &Lab, cache: &Path, to: &str, more: &[&str]) -> Run {
    let mut command = program("extract");
    command.arg("export-tokens").arg(cache);
    command.args(["--to", to, "--out"]).arg(lab.path(to));
    Run::of(command.args(more))
}

/// Sample, slice, patient, split and labels of a row.
type Known = (String, u32, Option<String>, Option<Split>, Labels);

/// What rows are, but for the paths and sizes of images, which other programs do not know.
fn known(slices: &[SliceMeta]) -> Vec<Known> {
    let known = slices.iter().map(|slice| {
        let SliceMeta {
            sample,
            slice,
            patient,
            split,
            labels,
            ..
        } = slice.clone();
        (sample, slice, patient, split, labels)
    });
    known.collect()
}

#[test]
fn an_array_and_a_table_become_a_cache_that_all_commands_take() {
    let lab = lab();
    let run = import(&lab, "x.npy", "m", &[]).expect(0);
    assert!(
        run.stdout
            .contains("60 rows of 60 samples, width 8, 2 classes"),
        "{run:#?}"
    );
    let reader = CacheReader::open(&cache(&lab, "m")).unwrap();
    let (meta, slices) = (reader.meta(), reader.slices().unwrap());
    let imported = meta.imported.as_ref().unwrap();
    assert_eq!((&*imported.format, imported.files), ("npy", 2));
    assert_eq!(imported.tokens, ImportedTokens::OneVector);
    assert_eq!(
        (meta.task, &*meta.classes.join(" ")),
        (Task::SingleLabel, "left right")
    );
    assert_eq!(meta.preprocess["intensity"], "unknown");
    assert_eq!(slices[3].patient.as_deref(), Some("p1"));
    assert_eq!(slices[3].split, Some(Split::Val));
    assert_eq!(slices[3].labels, Labels::Single(Some(1)));
    let tokens = reader.cls(1).unwrap();
    assert!(tokens.row(7).iter().copied().eq(numbers(7, WIDTH)));
    assert_eq!(tokens, reader.mean(1).unwrap());

    let before = snapshot(&cache(&lab, "m"));
    let again = import(&lab, "x.npy", "m", &[]).expect(0);
    assert!(again.stdout.contains("already complete"), "{again:#?}");
    assert_eq!(snapshot(&cache(&lab, "m")), before);

    let with = |command: &str, more: &[&str]| {
        let mut program = program("extract");
        program.args(command.split(' ')).args(more);
        Run::of(program.arg("--cache").arg(lab.path("cache")))
    };
    with("ls", &[]).expect(0);
    let shown = with("show", &["d/m@224"]).expect(0);
    assert!(shown.stdout.contains("format: npy"), "{shown:#?}");
    let root = lab.path("");
    let root = root.to_str().unwrap();
    with("verify --sources --root", &[root]).expect(0);
    with("split --dataset d --rule kfold:5:0 --name fold", &[]).expect(0);
    let labels = lab.path("rows.csv");
    with(
        "relabel --name again --labels",
        &[labels.to_str().unwrap(), "d/m@224"],
    )
    .expect(0);
    for probe in ["knn", "logreg", "ridge", "linear"] {
        let mut command = program("probe");
        command.arg(probe).arg("--cache").arg(lab.path("cache"));
        command.arg("--runs").arg(lab.path("runs"));
        let more: &[&str] = if probe == "linear" {
            &["--epochs", "2"]
        } else {
            &[]
        };
        let run = Run::of(command.args(more)).expect(0);
        assert!(run.stdout.contains("m@224"), "{run:#?}");
    }
    // Nothing can be computed again.
    fs::write(cache(&lab, "m").join("cls/00000.parquet"), "x").unwrap();
    with("verify --repair --root", &[root]).expect_error(2, &["imported", "import-tokens"]);
    with("rm", &["d/m@224"]).expect(0);
}

#[test]
fn patch_tokens_in_any_shape_and_alone_are_imported() {
    let lab = lab();
    let patches = npy("<f4", &[ROWS, 6, 4], &f32s(24));
    lab.write("patches.npy", &patches);
    lab.write("grid.npy", npy("<f4", &[ROWS, 2, 3, 4], &f32s(24)));
    let path = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    let flat = ["--patches", &path("patches.npy"), "--grid", "2x3"];
    import(&lab, "x.npy", "flat", &flat).expect(0);
    import(&lab, "x.npy", "grid", &["--patches", &path("grid.npy")]).expect(0);
    import(&lab, "grid.npy", "alone", &[]).expect(0);
    import(&lab, "x.npy", "vectors", &["--grid", "2x3"])
        .expect_error(2, &["`--grid 2x3`", "single vectors", ".npz"]);
    let square = ["--patches", &path("patches.npy")];
    import(&lab, "x.npy", "square", &square).expect_error(2, &["patches.npy", "--grid"]);
    let read = |model: &str| CacheReader::open(&cache(&lab, model)).unwrap();
    let (flat, grid, alone) = (read("flat"), read("grid"), read("alone"));
    assert_eq!((flat.meta().grid, flat.meta().width), ([2, 3], 8));
    let tokens = flat.patch(1, 0).unwrap();
    assert!(
        tokens
            .index_axis(ndarray::Axis(0), 5)
            .iter()
            .copied()
            .eq(numbers(5, 24))
    );
    assert_eq!(tokens, grid.patch(1, 0).unwrap());
    assert_eq!(alone.patch(1, 0).unwrap(), tokens);
    let mean = tokens.mean_axis(ndarray::Axis(1)).unwrap();
    let found = alone.cls(1).unwrap();
    let close = mean.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-3);
    assert!(close, "the CLS token is the mean of the patch tokens");
    assert_eq!(
        alone.meta().imported.as_ref().unwrap().tokens,
        ImportedTokens::PatchTokens
    );
    assert_eq!(flat.mean(1).unwrap(), found);
}

#[test]
fn rows_of_a_sample_are_its_slices_and_a_column_may_name_the_rows() {
    let lab = lab();
    lab.write(
        "rows.csv",
        table(|row| format!("v{}", row / 4)).replace(",left,", ",right,"),
    );
    // Two patients would be in each sample.
    import(&lab, "x.npy", "m", &[]).expect_error(2, &["`v0`", "split"]);
    let mut csv = "id,row,labels,split\n".to_owned();
    for row in (0..ROWS - 1).rev() {
        csv += &format!(
            "v{},{row},{},train\n",
            row / 4,
            if row < 8 { "a|b" } else { "" }
        );
    }
    lab.write("rows.csv", &csv);
    import(&lab, "x.npy", "m", &[]).expect_error(2, &["59 rows", "--row-column"]);
    let run = import(&lab, "x.npy", "m", &["--row-column", "row"]).expect(0);
    assert!(run.stdout.contains("59 rows of 15 samples"), "{run:#?}");
    assert!(run.stderr.contains("1 row of"), "{run:#?}");
    let reader = CacheReader::open(&cache(&lab, "m")).unwrap();
    let slices = reader.slices().unwrap();
    assert_eq!((slices[6].sample.as_str(), slices[6].slice), ("v1", 2));
    assert_eq!(slices[6].labels, Labels::Multi(vec![Some(1), Some(1)]));
    assert_eq!(slices[9].labels, Labels::Multi(vec![None, None]));
    assert!(
        reader
            .cls(1)
            .unwrap()
            .row(6)
            .iter()
            .copied()
            .eq(numbers(6, WIDTH))
    );
    lab.write("rows.csv", csv.replace("v0,3,", "v0,2,"));
    import(&lab, "x.npy", "n", &["--row-column", "row"]).expect_error(2, &["line 58", "each once"]);
}

#[test]
fn patients_in_several_splits_and_columns_that_contradict_each_other_are_refused() {
    let lab = lab();
    lab.write(
        "rows.csv",
        table(|row| format!("s{row}")).replace(",p1,val", ",p0,val"),
    );
    let run = import(&lab, "x.npy", "m", &[]).expect_error(2, &["several splits", "p0"]);
    assert_eq!(
        run.stderr.matches("--allow-patient-overlap").count(),
        1,
        "{run:#?}"
    );
    let mut csv = "label,class,patient,patient_id\n".to_owned();
    for row in 0..ROWS {
        csv += &format!("a{0},a{0},p{row},p{row}\n", row % 2);
    }
    lab.write("rows.csv", &csv);
    let run = import(&lab, "x.npy", "same", &[]).expect(0);
    assert!(!run.stderr.contains("not used"), "{run:#?}");
    lab.write("rows.csv", csv.replace("a1,a1,p3,", "a1,b,p3,"));
    import(&lab, "x.npy", "m", &[])
        .expect_error(2, &["`a1` as `label` and `b` as `class` in line 5"]);
    lab.write("rows.csv", csv.replace("p3,p3", "p3,p4"));
    import(&lab, "x.npy", "m", &[]).expect_error(2, &["`p4` as `patient_id` in line 5"]);
}

#[test]
fn numbers_that_a_cache_cannot_hold_are_refused_or_scaled() {
    let lab = lab();
    for (name, value) in [("nan", f32::NAN), ("inf", f32::INFINITY), ("large", 1e6)] {
        let mut bytes = f32s(WIDTH);
        bytes[4 * (17 * WIDTH + 3)..][..4].copy_from_slice(&value.to_le_bytes());
        lab.write("bad.npy", npy("<f4", &[ROWS, WIDTH], &bytes));
        let words = [
            "bad.npy",
            "row 17 (from 0), number 3",
            "`s17`",
            "the file is damaged",
        ];
        import(&lab, "bad.npy", name, &[]).expect_error(2, &words);
        assert!(!cache(&lab, name).exists(), "nothing is left of it");
    }
    import(&lab, "bad.npy", "scaled", &["--scale", "0.0625"]).expect(0);
    let reader = CacheReader::open(&cache(&lab, "scaled")).unwrap();
    assert_eq!(reader.cls(1).unwrap()[[17, 3]], 62_496.0);
    assert_eq!(reader.meta().imported.as_ref().unwrap().scale, Some(0.0625));
    let tiny = import(&lab, "x.npy", "tiny", &["--scale", "1e-6"]).expect(0);
    assert!(
        tiny.stderr.contains("60 of 60 rows have no number above"),
        "{tiny:#?}"
    );
    import(&lab, "x.npy", "zero", &["--scale", "0"]).expect_error(2, &["--scale 0"]);
}

#[test]
fn damaged_and_hostile_arrays_are_errors() {
    let lab = lab();
    let good = npy("<f4", &[ROWS, WIDTH], &f32s(WIDTH));
    let huge = npy("<f4", &[usize::MAX / 2, 1 << 20], b"");
    let wide = npy("<f4", &[1, 1 << 40], b"1234");
    let objects = npy("|O", &[2], b"\x80\x04\x95cos\nsystem\n");
    let mut fortran = good.clone();
    let place = fortran
        .windows(5)
        .position(|word| word == b"False")
        .unwrap();
    fortran[place..place + 5].copy_from_slice(b"True ");
    let replaced = |from: &str, to: &str| {
        let text = String::from_utf8_lossy(&good[10..70]).replace(from, to);
        let length = (text.len() as u16).to_le_bytes();
        [&b"\x93NUMPY\x01\x00"[..], &length, text.as_bytes()].concat()
    };
    let cases: [(&str, Vec<u8>, &str); 14] = [
        ("scalar", npy("<f4", &[], b"1234"), "`[N, D]`"),
        ("flat", npy("<f4", &[ROWS], &f32s(1)), "`[N, D]`"),
        (
            "negative",
            replaced("(60", "(-60"),
            "no shape in the header",
        ),
        (
            "garbage",
            replaced("'shape'", &"x".repeat(20_000)),
            "no shape in the header",
        ),
        (
            "broad",
            npy("<f4", &[1, 26_000_000], b""),
            "1048576 numbers in a vector",
        ),
        ("short", good[..good.len() - 1].to_vec(), "damaged"),
        ("long", [&good[..], b"1"].concat(), "damaged"),
        ("empty", Vec::new(), "damaged"),
        ("text", b"1,2,3\n".repeat(99), "no NumPy array"),
        ("huge", huge, "damaged"),
        ("wide", wide, "numbers in a row"),
        ("objects", objects, "pickle"),
        ("fortran", fortran, "ascontiguousarray"),
        (
            "integers",
            npy("<i8", &[ROWS, WIDTH], &f32s(2 * WIDTH)),
            "float32",
        ),
    ];
    for (name, bytes, word) in cases {
        lab.write("bad.npy", bytes);
        let run = import(&lab, "bad.npy", name, &[]).expect_error(2, &["bad.npy", word]);
        assert!(run.stderr.len() < 600, "{run:#?}");
    }
    let other = npy(
        "<f4",
        &[ROWS - 1, 4, WIDTH],
        &f32s(4 * WIDTH)[..(ROWS - 1) * 16 * WIDTH],
    );
    let other = lab.write("other.npy", other);
    let patches = ["--patches", other.to_str().unwrap()];
    import(&lab, "x.npy", "m", &patches).expect_error(2, &["other.npy", "59 rows", "60 rows"]);
    import(&lab, "missing.npy", "m", &[]).expect_error(2, &["missing.npy"]);
    import(&lab, "rows.csv", "m", &[]).expect_error(2, &["rows.csv", "--from"]);
    import(&lab, "x.npy", "../m", &[]).expect_error(2, &["`../m`", "--model"]);
}

#[test]
fn a_changed_array_is_not_taken_for_the_one_that_was_imported() {
    let lab = lab();
    import(&lab, "x.npy", "m", &[]).expect(0);
    let mut bytes = f32s(WIDTH);
    bytes[5] ^= 1;
    lab.write("x.npy", npy("<f4", &[ROWS, WIDTH], &bytes));
    import(&lab, "x.npy", "m", &[]).expect_error(2, &["imported.sha256", "delete"]);
    let root = lab.path("");
    let mut verify = program("extract");
    verify.args(["verify", "--sources", "--root"]).arg(root);
    verify.arg("--cache").arg(lab.path("cache"));
    let run = Run::of(&mut verify).expect(1);
    assert!(run.stdout.contains("x.npy"), "{run:#?}");
}

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
