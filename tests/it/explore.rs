//! Looking at caches: principal components, neighbours and retrieval.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::lab::{Lab, OBLIQUE, Run, nifti_at, program, python, ramp};

/// A lab with a cache of 24 images of two classes and 12 patients, with patch tokens and pictures.
fn lab() -> Lab {
    let lab = Lab::new();
    let mut csv = String::from("image,label,patient,split\n");
    for i in 0..24_u32 {
        let class = ["left", "right"][i as usize % 2];
        let split = ["train", "val", "test"][i as usize / 2 % 3];
        lab.png(&format!("images/{i:02}.png"), i, i);
        csv += &format!("images/{i:02}.png,{class},p{},{split}\n", i / 2);
    }
    let options = ["--tokens", "all", "--pictures"];
    lab.extract("manifest", &lab.write("images.csv", csv), &options)
        .expect(0);
    lab
}

/// Runs a command that looks at the cache.
fn look(lab: &Lab, words: &str) -> Run {
    let mut command = program("probe");
    command.args(words.split(' '));
    command.arg("--cache").arg(lab.path("cache"));
    command.arg("--runs").arg(lab.path("runs"));
    Run::of(&mut command)
}

fn records(lab: &Lab, probe: &str) -> Vec<Value> {
    let text = fs::read_to_string(lab.path(&format!("runs/{probe}.jsonl"))).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn picture(lab: &Lab, record: &Value) -> PathBuf {
    lab.path("runs")
        .join(record["pictures"][0].as_str().unwrap())
}

#[test]
fn results_equal_those_of_scikit_learn_and_numpy() {
    let lab = lab();
    for words in [
        "pca",
        "pca --images 3 --layer 2",
        "pca --no-cut --case images/03 --case images/10",
        "pca --flip --threshold -0.5",
        "nearest --unit slice",
        "nearest --k 3 --other-patients --features cls+mean-patch --query images/03 --query images/20:0",
        "map --method pca",
        "map --perplexity 5 --colour split,label --layer 2",
        "retrieve --bootstrap 20",
        "retrieve --eval all --k 1,3 --features mean-patch --bootstrap 0",
    ] {
        look(&lab, words).expect(0);
    }
    let mut check = python("dev/check_explore.py");
    let run = Run::of(check.arg(lab.cache()).arg(lab.path("runs"))).expect(0);
    assert_eq!(run.stdout.matches("the same").count(), 10, "{run:#?}");
}

#[test]
fn retrieval_counts_the_others_of_a_query_and_separates_caches() {
    let lab = lab();
    let rows = cache::CacheMeta::read(&lab.cache()).unwrap().rows;
    let copy = lab.path("cache/images/other@56");
    fs::create_dir_all(&copy).unwrap();
    for (path, bytes) in crate::lab::snapshot(&lab.cache()) {
        let target = copy.join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, bytes).unwrap();
    }
    let run = look(&lab, "retrieve --eval all --bootstrap 0 --unit slice").expect(0);
    let line = format!("{rows} slices, each among the {} others", rows - 1);
    assert_eq!(run.stdout.matches(&line).count(), 2, "{run:#?}");
    let caches = run.stdout.split("\n\nimages ").count();
    assert_eq!(caches, 2, "{run:#?}");
    assert_eq!(records(&lab, "retrieve")[0]["n_train"], rows - 1);
}

#[test]
fn multi_label_retrieval_equals_a_restatement() {
    let lab = Lab::new();
    let mut csv = String::from("image,patient,split,a,b,c\n");
    for i in 0..30_u32 {
        lab.png(&format!("{i}.png"), i, i);
        let state = |class: u32| match (i * 7 + class * 5) % 11 {
            0 => "-1",
            1 => "",
            k if k > 6 => "1",
            _ => "0",
        };
        let split = ["train", "test"][i as usize / 3 % 2];
        csv += &format!(
            "{i}.png,p{},{split},{},{},{}\n",
            i / 3,
            state(0),
            state(1),
            state(2)
        );
    }
    let manifest = lab.write("m.csv", csv);
    lab.extract("manifest", &manifest, &["--label-columns", "a,b,c"])
        .expect(0);
    look(&lab, "retrieve --bootstrap 20").expect(0);
    look(&lab, "retrieve --eval all").expect(0);
    let mut check = python("dev/check_explore.py");
    let run = Run::of(check.arg(lab.cache()).arg(lab.path("runs"))).expect(0);
    assert_eq!(run.stdout.matches("the same").count(), 2, "{run:#?}");
    let record = &records(&lab, "retrieve")[0];
    for name in ["map_macro", "precision_at_5_micro"] {
        let [low, high] = [0, 1].map(|k| record["ci"][name][k].as_f64().unwrap());
        let value = record["metrics"][name].as_f64().unwrap();
        assert!(
            low <= value && value <= high,
            "{name}: {low} {value} {high}"
        );
    }
}

#[test]
fn the_same_command_gives_the_same_bytes_on_any_number_of_threads() {
    let lab = lab();
    for command in ["pca", "nearest", "map", "retrieve --bootstrap 50"] {
        let files = |threads: &str| -> Vec<(String, Vec<u8>)> {
            look(&lab, &format!("{command} --threads {threads}")).expect(0);
            let folders = ["pictures", "pages", "maps"].map(|folder| lab.path("runs").join(folder));
            let files = folders
                .iter()
                .filter_map(|folder| fs::read_dir(folder).ok())
                .flatten();
            let mut files: Vec<_> = files
                .map(|file| {
                    let path = file.unwrap().path();
                    (path.display().to_string(), fs::read(&path).unwrap())
                })
                .collect();
            files.sort();
            files
        };
        assert!(files("1") == files("3"), "{command}");
        let probe = command.split(' ').next().unwrap();
        assert_eq!(
            records(&lab, probe).len(),
            1,
            "a second look is no second record"
        );
    }
}

#[test]
fn the_foreground_of_a_picture_is_coloured_and_its_background_black() {
    let lab = lab();
    let run = look(&lab, "pca --case images/00 --flip --threshold 0").expect(0);
    let record = &records(&lab, "pca")[0];
    let sheet = image::open(picture(&lab, record)).unwrap().to_rgb8();
    // 40 by 32 pixels, enlarged to at least 224; the picture on the left, the colours on the right.
    assert_eq!(sheet.dimensions(), (2 * 224 + 4, 4 * 45));
    let (grey, colours): (Vec<_>, Vec<_>) = sheet.enumerate_pixels().partition(|(x, ..)| *x < 224);
    assert!(grey.iter().all(|(_, _, pixel)| pixel.0[0] == pixel.0[1]));
    let black = colours
        .iter()
        .filter(|(x, _, pixel)| *x > 228 && pixel.0 == [0; 3])
        .count();
    let foreground = record["metrics"]["foreground"].as_f64().unwrap();
    assert!(foreground > 0.0 && foreground < 1.0);
    assert!(black > 0, "{record}");
    let file = record["pictures"][0].as_str().unwrap();
    assert!(
        run.stderr.contains(file) && run.stdout.contains("images/00"),
        "{run:#?}"
    );
}

#[test]
fn slices_of_volumes_are_shown_upright_and_by_number() {
    let lab = Lab::new();
    let shape = [6, 5, 4];
    for name in ["a", "b"] {
        lab.write(
            &format!("{name}.nii"),
            nifti_at(shape, &ramp(shape), OBLIQUE),
        );
    }
    let csv = "image,patient,split\na.nii,p,train\nb.nii,q,test\n";
    let options = ["--tokens", "all", "--pictures"];
    lab.extract("manifest", &lab.write("m.csv", csv), &options)
        .expect(0);
    look(&lab, "pca --case a:0 --case b").expect(0);
    let record = &records(&lab, "pca")[0];
    assert_eq!(
        record["params"]["images"],
        serde_json::json!(["a:0", "b:2"])
    );
    look(&lab, "nearest --query a:1 --k 2").expect(0);
    let record = &records(&lab, "nearest")[0];
    assert_eq!(record["params"]["unit"], "slice");
    look(&lab, "nearest --query a --k 1").expect(0);
    let record = &records(&lab, "nearest")[1];
    assert_eq!(record["params"]["unit"], "volume");
    assert_eq!(record["metrics"]["neighbours"][0][0]["case"], "b");
    look(&lab, "pca --case a:9").expect_error(2, &["`a:9`", "slices 0 to 3"]);
}

#[test]
fn a_contact_sheet_is_one_file_that_escapes_what_it_shows() {
    let lab = Lab::new();
    let hostile = "<script>alert(1)</script>";
    let mut csv = String::from("id,image,label,patient,split\n");
    for i in 0..6_u32 {
        lab.png(&format!("{i}.png"), i, i);
        let label = if i == 0 { hostile } else { "plain & simple" };
        csv += &format!("\"{i}\"\"><img src=x onerror=y>\",{i}.png,{label},<b>{i}</b>,train\n");
    }
    let manifest = lab.write("m.csv", csv);
    lab.extract("manifest", &manifest, &["--pictures"])
        .expect(0);
    look(&lab, "nearest --unit slice --k 5").expect(0);
    let page = records(&lab, "nearest")[0]["params"]["page"].clone();
    let page = fs::read_to_string(lab.path("runs").join(page.as_str().unwrap())).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("data:image/png;base64,"));
    assert!(page.contains("&lt;script&gt;") && page.contains("plain &amp; simple"));
    for forbidden in ["<script", "<b>", "<img src=x", "http"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn maps_are_coloured_by_any_column_of_a_table() {
    let lab = lab();
    let rows = (0..24).map(|i| format!("p{},\"<b>{}\",{}\n", i / 2, i / 2 % 3, 40 + i));
    let text = String::from("patient,site,age\n") + &rows.collect::<String>();
    let table = lab.write("about.csv", text);
    let table = format!("--metadata {}", table.display());
    let run = look(&lab, &format!("map --colour site,age,label {table}")).expect(0);
    let record = &records(&lab, "map")[0];
    assert_eq!(record["pictures"].as_array().unwrap().len(), 3);
    let svg = fs::read_to_string(picture(&lab, record)).unwrap();
    assert!(
        svg.starts_with("<svg") && svg.contains("&lt;b&gt;2"),
        "{svg}"
    );
    let page = record["params"]["page"].as_str().unwrap();
    assert!(run.stderr.contains(page), "{run:#?}");
    let page = fs::read_to_string(lab.path("runs").join(page)).unwrap();
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(!page.contains("<b>2") && !page.contains("<script"));
    look(&lab, "map --colour site").expect_error(2, &["no column `site`", "label, split"]);
    look(&lab, "map --perplexity 9").expect_error(2, &["24 examples", "at most 7"]);
    look(&lab, &format!("map --colour none {table}")).expect_error(2, &["patient, site, age"]);
    look(&lab, "map --metadata nothing.csv").expect_error(2, &["`nothing.csv`", "`sample`"]);
}

#[test]
fn csv_is_one_table_with_the_cache_and_the_query_of_each_row() {
    let lab = lab();
    let table = |words: &str| {
        let run = look(&lab, &format!("{words} --format csv")).expect(0);
        let rows: Vec<Vec<String>> = run
            .stdout
            .lines()
            .map(|line| line.split(',').map(str::to_owned).collect())
            .collect();
        assert!(
            rows.iter().all(|row| row.len() == rows[0].len()),
            "{run:#?}"
        );
        assert_eq!(
            &rows[0][..3],
            ["dataset", "model", "image_size"],
            "{run:#?}"
        );
        rows
    };
    let rows = table("nearest --query images/00 --query images/03 --k 2");
    let column = |name: &str| rows[0].iter().position(|of| of == name).unwrap();
    let found: Vec<[&str; 2]> = rows[1..]
        .iter()
        .map(|row| [column("query"), column("rank")].map(|at| row[at].as_str()))
        .collect();
    let expected = [
        ("images/00", "1"),
        ("images/00", "2"),
        ("images/03", "1"),
        ("images/03", "2"),
    ];
    assert_eq!(found, expected.map(|(query, rank)| [query, rank]));
    let rows = table("retrieve --k 1");
    assert!(
        rows.iter().any(|row| row[3] == "precision_at_1_macro"),
        "{rows:?}"
    );
    assert_eq!(table("map --colour label,split").len(), 3);
    let rows = table("pca --no-cut --case images/00");
    let share: f64 = rows[1][4].parse().unwrap();
    assert!((0.0..=1.0).contains(&share), "{rows:?}");
    // The caches; runs are another table.
    let run = look(&lab, "ls --format csv").expect(0);
    assert_eq!(run.stdout.lines().count(), 2, "{run:#?}");
    assert!(run.stderr.contains("another table"), "{run:#?}");
}

#[test]
fn what_cannot_be_shown_is_an_error_that_says_what_to_do() {
    let lab = lab();
    for (words, expected) in [
        ("pca --case images/99", &["`images/99`", "images/"][..]),
        ("pca --layer 9", &["no layer 9"]),
        ("pca --threshold 1e9", &["above 1000000000", "--no-cut"]),
        ("nearest --query nothing", &["`nothing`"]),
        ("retrieve --split nothing", &["nothing"]),
    ] {
        look(&lab, words).expect_error(2, expected);
    }
    assert!(!lab.path("runs/pca.jsonl").exists());
    let run = look(&lab, "pca --no-cut --flip");
    assert_eq!(run.status, 2, "{run:#?}");
    let bare = Lab::new();
    bare.extract("manifest", &bare.manifest(6), &[]).expect(0);
    look(&bare, "pca").expect_error(2, &["`patch` table", "--tokens all"]);
    let run = look(&bare, "nearest --k 2").expect(0);
    assert!(run.stderr.contains("pages/nearest-"), "{run:#?}");
}
