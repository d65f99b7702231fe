//! Arrays and tables as caches.

use std::fs;

use cache::{CacheReader, ImportedTokens, Labels, Split, Task};

use super::{ROWS, WIDTH, cache, f32s, import, lab, npy, numbers, table};
use crate::lab::{Run, program, snapshot};

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
