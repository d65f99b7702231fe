//! The output of `extract`.

use cache::{CacheReader, Labels, Split};

use crate::lab::{Lab, gzip, masks, nifti, project, ramp};

#[test]
fn rows_keep_order_labels_patients_and_splits() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(7), &["--batch-size", "3"])
        .expect(0);
    let reader = CacheReader::open(&lab.cache()).unwrap();
    reader.verify().unwrap();
    let slices = reader.slices().unwrap();
    assert_eq!(reader.meta().classes, ["left", "right"]);
    assert_eq!(slices.len(), 7);
    for (i, slice) in slices.iter().enumerate() {
        assert_eq!(slice.image, format!("images/{i:04}.png"));
        assert_eq!(slice.labels, Labels::Single(Some(i as u32 % 2)));
        assert_eq!(slice.patient.as_deref(), Some(&*format!("p{i}")));
        let split = [Split::Train, Split::Train, Split::Test][i % 3];
        assert_eq!(slice.split, Some(split));
        assert_eq!((slice.height, slice.width), (32, 40));
    }
    assert_eq!(reader.cls(5).unwrap().dim(), (7, 32));
}

#[test]
fn mean_is_the_mean_of_the_patch_tokens() {
    let lab = Lab::new();
    let options = ["--tokens", "all", "--layers", "2", "--limit", "3"];
    lab.extract("manifest", &lab.manifest(5), &options)
        .expect(0);
    let reader = CacheReader::open(&lab.cache()).unwrap();
    let (mean, patch) = (reader.mean(2).unwrap(), reader.patch(2, 0).unwrap());
    assert_eq!(patch.dim(), (3, 16, 32));
    let computed = patch.mean_axis(ndarray::Axis(1)).unwrap();
    let error = (&mean - &computed).mapv(f32::abs);
    assert!(error.iter().all(|&e| e < 2e-3), "{error}");
}

#[test]
fn tokens_equal_those_of_onnxruntime_in_python() {
    let lab = Lab::new();
    let golden = project().join("tests/golden/tokens");
    let csv = lab.write("one.csv", "image\nxray.png\n");
    std::fs::copy(golden.join("xray.png"), lab.path("xray.png")).unwrap();
    lab.extract("manifest", &csv, &["--tokens", "all"])
        .expect(0);
    let reader = CacheReader::open(&lab.cache()).unwrap();
    let cls = npy(&golden.join("cls.npy"));
    for layer in 1..=5 {
        let expected = &cls[(5 - layer) * 32..][..32];
        let found = reader.cls(layer as u32).unwrap();
        assert_close(found.as_slice().unwrap(), expected);
    }
    let patch = npy(&golden.join("patch_1.npy"));
    let found = reader.patch(1, 0).unwrap();
    for (found, expected) in found.as_slice().unwrap().chunks(32).zip(patch.chunks(32)) {
        assert_close(found, expected);
    }
}

#[test]
fn slices_of_a_volume_are_labelled_by_its_mask() {
    let lab = Lab::new();
    let shape = [6, 5, 4];
    let mut mask = vec![0.0; 6 * 5 * 4];
    mask[0] = 1.0; // x 0, y 0, slice 0
    mask[30 + 7] = 3.0; // x 1, y 1, slice 1
    lab.write("ct.nii.gz", gzip(&nifti(shape, &ramp(shape))));
    lab.write("mask.nii", nifti(shape, &mask));
    lab.write("classes.csv", "value,name\n1,liver\n3,spleen\n");
    let csv = "id,image,mask,slices,split\n\
               a,ct.nii.gz,mask.nii,0-2,train\n\
               b,ct.nii.gz,mask.nii,3,test\n";
    let csv = lab.write("m.csv", csv);
    lab.extract("manifest", &csv, &[])
        .expect_error(2, &["`ct` in train and test"]);
    lab.extract("manifest", &csv, &["--allow-patient-overlap"])
        .expect(0);
    let reader = CacheReader::open(&lab.cache()).unwrap();
    let slices = reader.slices().unwrap();
    let labels: Vec<_> = slices.iter().map(|s| s.labels.clone()).collect();
    let states = |liver, spleen| Labels::Multi(vec![Some(liver), Some(spleen)]);
    assert_eq!(
        labels,
        [states(1, 0), states(0, 1), states(0, 0), states(0, 0)]
    );
    assert_eq!(slices[0].spacing_mm, Some([3.0, 1.0, 2.0]));
    let masks = masks(&reader);
    assert_eq!(masks[1].as_ref().unwrap()[[1, 1]], 3);
    assert_eq!(masks[1].as_ref().unwrap().dim(), (6, 5));
}

#[test]
fn a_finished_cache_is_left_alone() {
    let lab = Lab::new();
    let manifest = lab.manifest(4);
    lab.extract("manifest", &manifest, &[]).expect(0);
    let before = crate::lab::snapshot(&lab.cache());
    let again = lab.extract("manifest", &manifest, &[]).expect(0);
    assert!(again.stderr.contains("already complete"));
    assert_eq!(before, crate::lab::snapshot(&lab.cache()));
}

#[test]
fn the_summary_is_json_on_request() {
    let lab = Lab::new();
    let run = lab.extract("manifest", &lab.manifest(4), &["--format", "json"]);
    let summary: serde_json::Value = serde_json::from_str(&run.expect(0).stdout).unwrap();
    assert_eq!(summary["slices"], 4);
    assert!(summary["slices_per_second"].as_f64().unwrap() > 0.0);
    assert!(summary["inference_share"].as_f64().unwrap() <= 1.0);
}

/// The values of a C-ordered `.npy` file of f32.
fn npy(path: &std::path::Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let start = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = String::from_utf8_lossy(&bytes[..start]).into_owned();
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"));
    let values = bytes[start..].as_chunks::<4>().0;
    values.iter().map(|v| f32::from_le_bytes(*v)).collect()
}

#[track_caller]
fn assert_close(a: &[f32], b: &[f32]) {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let pairs = a.iter().zip(b);
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    assert!(cosine >= 0.9999, "cosine {cosine}");
    let length = (dot(a, a) / dot(b, b)).sqrt();
    assert!((length - 1.0).abs() < 1e-3, "length {length}");
}
