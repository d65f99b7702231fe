//! A cache is open to Polars in Rust.

use std::fs::File;
use std::path::Path;

use cache::CacheReader;
use half::f16;
use half::slice::HalfFloatSliceExt;
use polars::prelude::{DataFrame, ParquetReader, SerReader};
use serde_json::Value;

use crate::lab::{Lab, Run, gzip, nifti, program, ramp};

const SHAPE: [i16; 3] = [6, 5, 4];

#[test]
fn polars_reads_every_column_as_the_cache_crate_does() {
    let lab = Lab::new();
    lab.write("ct.nii.gz", gzip(&nifti(SHAPE, &ramp(SHAPE))));
    lab.write("mask.nii", nifti(SHAPE, &[1.0; 120]));
    lab.write("classes.csv", "value,name\n1,liver\n2,spleen\n");
    let csv = "image,mask,patient,split\nct.nii.gz,mask.nii,p,train\n";
    lab.extract("manifest", &lab.write("m.csv", csv), &["--tokens", "all"])
        .expect(0);
    let reader = CacheReader::open(&lab.cache()).unwrap();
    let table = |name| read(&lab.cache().join(name).join("00000.parquet"));

    let slices = table("slices");
    let images = slices.column("image").unwrap().str().unwrap();
    let expected = reader.slices().unwrap();
    let expected = expected.iter().map(|s| Some(s.image.as_str()));
    assert!(images.iter().eq(expected));
    let liver = slices.column("label_liver").unwrap();
    assert_eq!(liver.i8().unwrap().iter().collect::<Vec<_>>(), [Some(1); 4]);
    let (cls, mean, patch) = (table("cls"), table("mean"), table("patch"));
    for layer in 1..=5 {
        let name = |table: &str| format!("{table}_{layer}");
        let expected = reader.cls(layer).unwrap();
        assert_eq!(floats(&cls, &name("cls")), expected.as_slice().unwrap());
        let expected = reader.mean(layer).unwrap();
        assert_eq!(floats(&mean, &name("mean")), expected.as_slice().unwrap());
        let expected = reader.patch(layer, 0).unwrap();
        assert_eq!(floats(&patch, &name("patch")), expected.as_slice().unwrap());
    }
    let mask = table("mask");
    let bytes: Vec<u8> = bytes(&mask, "mask").concat();
    assert_eq!(bytes, [1, 0].repeat(120));
}

/// An example of `probe`, as `cargo build --examples` makes it.
fn example(name: &str, words: &[&Path]) -> Run {
    Run::of(program(&format!("examples/{name}")).args(words)).expect(0)
}

#[test]
fn examples_open_a_cache_and_fit_a_model_of_their_own() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(36), &[]).expect(0);
    let plot = lab.path("sizes.svg");
    let said = example("open_a_cache", &[&lab.cache(), &plot]).stdout;
    let expected = "36 slices, 15 columns\ntest  left         6\ntest  right        6\ntrain left         12\n";
    assert!(said.starts_with(expected), "{said}");
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(
        svg.contains("height in pixels") && svg.contains("left"),
        "{svg}"
    );

    let said = example("own_model", &[&lab.cache()]).stdout;
    assert!(said.contains("of 12 slices of test are right"), "{said}");
    let head = ["--head", "centroid", "--shots", "all", "--format", "json"];
    let record = lab.probe_with("few-shot", &head).expect(0).stdout;
    let record: Value = serde_json::from_str(record.lines().next().unwrap()).unwrap();
    let auroc = record["metrics"]["auroc_macro"].as_f64().unwrap();
    assert!(
        said.contains(&format!("AUROC of right: {auroc:.4}\n")),
        "{said} {record}"
    );
}

fn read(path: &Path) -> DataFrame {
    let frame = ParquetReader::new(File::open(path).unwrap())
        .finish()
        .unwrap();
    assert_eq!(frame.height(), 4, "{}", path.display());
    frame
}

fn bytes<'a>(table: &'a DataFrame, column: &str) -> Vec<&'a [u8]> {
    let column = table.column(column).unwrap().binary().unwrap();
    column.iter().map(Option::unwrap).collect()
}

/// The values of a tensor column, row after row.
fn floats(table: &DataFrame, column: &str) -> Vec<f32> {
    let bytes = bytes(table, column).concat();
    let pairs = bytes.as_chunks::<2>().0;
    let halves: Vec<f16> = pairs.iter().map(|pair| f16::from_le_bytes(*pair)).collect();
    halves.to_f32_vec()
}
