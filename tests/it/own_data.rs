//! Data of one's own: what is said about it, and that nothing depends on how it is named.

use std::fs;
use std::process::Command;

use cache::{CacheReader, Labels};

use crate::lab::{Lab, Run, masks, nifti, npy, program, project, ramp};

#[test]
fn a_cache_does_not_depend_on_how_the_folder_is_spelt() {
    let lab = Lab::new();
    for name in ["a/1.png", "metadata/2.png"] {
        lab.png(&format!("data/{name}"), 0, 1);
    }
    lab.write("data/metadata/bad.png", "");
    let mut metas = Vec::new();
    for spelt in ["data", "data/", "data//", "./data", "x/../data/"] {
        fs::create_dir_all(lab.path("x")).unwrap();
        let _ = fs::remove_dir_all(lab.path("cache"));
        let root = lab.path(".").join(spelt);
        lab.extract("folder", &root, &[]).expect(1);
        metas.push(fs::read_to_string(lab.cache().join("meta.json")).unwrap());
        assert!(metas[0].contains("`metadata/bad.png`: the file is empty"));
        assert_eq!(metas.last(), metas.first(), "{spelt}");
    }
}

#[test]
fn what_is_done_with_scans_by_default_is_said() {
    let lab = Lab::new();
    lab.write("1.nii", nifti([6, 5, 4], &ramp([6, 5, 4])));
    let csv = lab.write("m.csv", "image,label,split\n1.nii,x,test\n");
    let said = |more: &[&str]| {
        let _ = fs::remove_dir_all(lab.path("cache"));
        lab.extract("manifest", &csv, more).expect(0).stderr
    };
    let text = said(&[]);
    assert!(
        text.contains("(`minmax`)") && text.contains("`--slicing axial`"),
        "{text}"
    );
    let text = said(&["--intensity", "window:40:90"]);
    assert!(
        !text.contains("minmax") && text.contains("give `window:-5:85`"),
        "{text}"
    );
    let text = said(&["--intensity", "window:0:90", "--slicing", "stored-k-xy"]);
    assert!(!text.contains("warning"), "{text}");
    assert!(!said(&["--recipe", "study"]).contains("warning"));
    lab.png("1.png", 0, 0);
    let csv = lab.write("m.csv", "image,label,split\n1.png,x,test\n");
    assert!(
        !lab.extract("manifest", &csv, &["--name", "p"])
            .stderr
            .contains("warning")
    );
}

/// Writes `n` images of two classes below `folder`, each in `ROOT/SPLIT/CLASS` for the splits, or without these.
fn classes(lab: &Lab, folder: &str, splits: &[&str], n: u32) {
    for k in 0..n {
        let class = ["left", "right"][k as usize % 2];
        let split = splits.get(k as usize / 2 % splits.len().max(1));
        let split = split.map_or(String::new(), |split| format!("{split}/"));
        lab.png(&format!("{folder}/{split}{class}/{k}.png"), k, k);
    }
}

#[test]
fn folders_of_train_and_test_alone_serve_every_probe_that_chooses() {
    let lab = Lab::new();
    classes(&lab, "data", &["train", "train", "test"], 48);
    lab.extract("folder", &lab.path("data"), &[]).expect(0);
    for probe in ["knn", "linear", "logreg", "ridge", "few-shot"] {
        let more: &[&str] = match probe {
            "knn" => &["--k", "3,5"],
            "few-shot" => &["--shots", "4", "--repeats", "2"],
            _ => &[],
        };
        let run = lab.probe_with(probe, more).expect(0);
        assert!(run.stderr.contains("no `val`"), "{probe}: {run:#?}");
        let again = lab
            .probe_with(probe, &[more, &["--force"]].concat())
            .expect(0);
        assert_eq!(again.stdout, run.stdout, "{probe}");
    }
}

#[test]
fn folders_of_classes_without_splits_are_told_how_to_get_some() {
    let lab = Lab::new();
    classes(&lab, "data", &[], 40);
    let said = lab
        .extract("folder", &lab.path("data"), &[])
        .expect(0)
        .stderr;
    let rule = "--rule random:0.7:0.1:0.2 --name main";
    assert!(
        said.contains("--split random:0.7:0.1:0.2") && said.contains(rule),
        "{said}"
    );
    let told = format!("extract split --dataset images {rule}");
    lab.probe_with("knn", &["--k", "3"])
        .expect_error(2, &[&told, "--split main"]);
    let mut divide = program("extract");
    divide.args(told.split_whitespace().skip(1));
    Run::of(divide.arg("--cache").arg(lab.path("cache"))).expect(0);
    lab.probe_with("knn", &["--k", "3", "--split", "main"])
        .expect(0);
}

#[test]
fn a_head_is_applied_to_a_folder_of_images_without_classes() {
    let lab = Lab::new();
    classes(&lab, "data", &["train", "val", "test"], 48);
    lab.extract("folder", &lab.path("data"), &[]).expect(0);
    lab.probe_with("ridge", &[]).expect(0);
    for k in 0..4 {
        lab.png(&format!("new/{k}.png"), k, 100 + k);
    }
    let mut extract = lab.extract_as("new", "folder", &lab.path("new"));
    let said = Run::of(&mut extract).expect(0).stderr;
    assert!(said.contains("4 images without labels"), "{said}");
    assert!(!said.contains("--split"), "{said}");
    let mut predict = program("probe");
    predict.args(["predict", "--head", "latest", "--dataset", "new"]);
    predict.arg("--cache").arg(lab.path("cache"));
    let run = Run::of(predict.arg("--runs").arg(lab.path("runs"))).expect(0);
    assert!(run.stdout.contains("4 slices"), "{run:#?}");
    assert!(
        run.stderr.contains("has no labels: nothing measured"),
        "{run:#?}"
    );
}

#[test]
fn a_limit_takes_samples_of_all_classes() {
    let lab = Lab::new();
    for k in 0..12 {
        lab.png(
            &format!("data/train/{}/{k}.png", ["a", "b", "c"][k / 4]),
            0,
            k as u32,
        );
    }
    let root = lab.path("data");
    lab.extract("folder", &root, &["--limit", "3"]).expect(0);
    let slices = CacheReader::open(&lab.cache()).unwrap().slices().unwrap();
    let labels = slices.into_iter().map(|slice| slice.labels);
    let expected = [0, 1, 2].map(|class| Labels::Single(Some(class)));
    assert_eq!(labels.collect::<Vec<_>>(), expected);
}

/// Writes label maps with palettes and of 1 bit, and what Pillow reads in them, as `NAME.npy`.
const MASKS: &str = r#"
import sys
from pathlib import Path
import numpy as np
from PIL import Image

root = Path(sys.argv[1])
labels = (np.arange(32 * 40).reshape(32, 40) // 7 % 5).astype(np.uint8)
labels[3, 5:9] = 255
palette = [128, 0, 0, 0, 0, 0, 9, 9, 9, 0, 255, 0, 7, 7, 7] * 51

def save(name, image, **more):
    image.save(root / name, **more)
    np.save(root / f"{name}.npy", np.array(Image.open(root / name)).astype(np.float64))

for bits in (1, 2, 4, 8):
    image = Image.fromarray(labels & (2**bits - 1))
    image.putpalette(palette[: 3 * 2**bits])
    assert image.mode == "P"
    save(f"palette{bits}.png", image, bits=bits)
save("transparent.png", image, transparency=0)
binary = Image.fromarray(labels % 2 == 1)
save("binary.png", binary)
save("binary.tif", binary)
save("lzw.tif", binary, compression="tiff_lzw")
save("white.tif", binary, tiffinfo={262: 0})
save("grey.tif", Image.fromarray(labels))
"#;

#[test]
fn label_maps_with_palettes_and_of_one_bit_are_those_that_pillow_reads() {
    let lab = Lab::new();
    lab.png("1.png", 0, 0);
    let mut made = Command::new(project().join(".venv-test/bin/python"));
    Run::of(made.args(["-c", MASKS]).arg(lab.path("."))).expect(0);
    let mut names: Vec<String> = fs::read_dir(lab.path("."))
        .unwrap()
        .filter_map(|file| {
            Some(
                file.unwrap()
                    .path()
                    .to_str()?
                    .strip_suffix(".npy")?
                    .to_owned(),
            )
        })
        .collect();
    names.sort();
    assert_eq!(names.len(), 10);
    let mut csv = "image,mask,id,label,split\n".to_owned();
    for mask in &names {
        csv += &format!("1.png,{mask},{mask},a,test\n");
    }
    let csv = lab.write("m.csv", csv);
    lab.extract("manifest", &csv, &[]).expect(0);
    let reader = CacheReader::open(&lab.cache()).unwrap();
    for (name, mask) in names.iter().zip(masks(&reader)) {
        let expected = npy(format!("{name}.npy").as_ref());
        let found = mask.unwrap().mapv(f64::from);
        assert_eq!(found.into_dyn(), expected, "{name}");
    }
    for name in ["palette2.png", "palette8.png"] {
        let content = fs::read(lab.path(name)).unwrap();
        lab.write(name, &content[..content.len() / 2]);
        let one = lab.write("one.csv", format!("image,mask,label\n1.png,{name},a\n"));
        let run = Run::of(&mut lab.extract_as(name, "manifest", &one)).expect(2);
        assert!(
            run.stderr
                .contains(&format!("`{name}`: the file is damaged")),
            "{run:#?}"
        );
    }
}

/// Copies files of pydicom's tests to a folder.
const COPY: &str = r#"
import shutil, sys
from pydicom.data import get_testdata_file

for name in sys.argv[2:]:
    shutil.copy(get_testdata_file(name, download=False), sys.argv[1])
"#;

#[test]
fn doses_segmentations_and_reports_are_no_images_in_any_layout() {
    let lab = Lab::new();
    fs::create_dir_all(lab.path("data/train/a")).unwrap();
    let names =
        ["CT_small", "rtdose", "liver_1frame", "reportsi"].map(|name| format!("{name}.dcm"));
    let mut copy = Command::new(project().join(".venv-test/bin/python"));
    copy.args(["-c", COPY]).arg(lab.path("data/train/a"));
    Run::of(copy.args(&names)).expect(0);
    let rows = names
        .each_ref()
        .map(|name| format!("data/train/a/{name},a,train\n"));
    let csv = lab.write("m.csv", format!("image,label,split\n{}", rows.concat()));
    for (layout, root) in [("folder", lab.path("data")), ("manifest", csv)] {
        let mut extract = lab.extract_as(layout, layout, &root);
        let run = Run::of(&mut extract).expect(1);
        for modality in ["RTDOSE", "SEG", "SR"] {
            let said = format!("no image of a patient (modality `{modality}`)");
            assert!(run.stderr.contains(&said), "{run:#?}");
        }
        let cache = lab.path(&format!("cache/{layout}/tiny-vit@56"));
        assert_eq!(CacheReader::open(&cache).unwrap().meta().rows, 1);
    }
}

#[test]
fn images_may_lie_elsewhere_than_their_table() {
    let lab = Lab::new();
    let image = lab.png("images/1.png", 0, 0);
    let csv = lab.write(
        "tables/m.csv",
        format!("image,split\n{},test\n", image.display()),
    );
    let images = lab.path("images");
    lab.extract("manifest", &csv, &[])
        .expect_error(2, &["m.csv", "line 2", "`--image-root`"]);
    let more = ["--image-root", images.to_str().unwrap()];
    lab.extract("manifest", &csv, &more).expect(0);
    let slices = CacheReader::open(&lab.cache()).unwrap().slices().unwrap();
    assert_eq!(slices[0].image, "1.png");
}
