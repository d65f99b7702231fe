//! The images that pydicom, pydicom-data and nibabel bring along for their own tests are read as those
//! packages read them, or are refused with a reason that `scripts/dev/golden_packaged.py` lists.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imaging::read::{Reader, Source, Volume};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Step between the rows and columns of lossy images that are compared.
const STEP: usize = 16;

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Folder of the installed Python packages.
fn site() -> PathBuf {
    let lib = Path::new(PROJECT).join(".venv-test/lib");
    let versions = fs::read_dir(&lib).into_iter().flatten().flatten();
    let sites = versions.map(|version| version.path().join("site-packages"));
    let found = sites.into_iter().find(|site| site.join("pydicom").is_dir());
    found.expect("no pydicom in .venv-test: run the tests with `scripts/test`, which installs it")
}

fn cases() -> BTreeMap<String, Value> {
    let text = fs::read(Path::new(PROJECT).join("tests/golden/packaged.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&text).unwrap();
    let named = cases.into_iter();
    named
        .map(|case| (case["file"].as_str().unwrap().to_owned(), case))
        .collect()
}

#[test]
fn every_image_equals_its_reference_or_is_refused_for_a_known_reason() {
    let site = site();
    let reader = Reader::new(&site);
    let (mut equal, mut wrong) = (0, Vec::new());
    for (file, case) in &cases() {
        let path = PathBuf::from(file);
        assert!(
            site.join(&path).exists(),
            "`{file}` is missing: install what scripts/requirements-test.txt lists"
        );
        match compare(&reader, &path, case) {
            Ok(compared) => equal += usize::from(compared),
            Err(reason) => wrong.push(format!("{file}: {reason}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(equal > 170, "{equal} images were compared");
}

/// Whether a reference was compared with; the difference, if there is one.
fn compare(reader: &Reader, path: &Path, case: &Value) -> Result<bool, String> {
    if case["too_large"] == true {
        return Ok(false);
    }
    let read = |source: Source| reader.volume(&source).map_err(|error| error.to_string());
    let whole = Source::File(path.to_path_buf());
    if let Some(words) = case["refused"].as_str() {
        return match read(whole) {
            Err(error) if error.contains(words) && error.contains("\nhint: ") => Ok(false),
            Err(error) => Err(error),
            Ok(_) => Err("it was read".to_owned()),
        };
    }
    let shape: [usize; 4] = serde_json::from_value(case["shape"].clone()).unwrap();
    if let Some(some) = case["some"].as_array() {
        let volume = read(whole)?;
        let tolerance = case["tolerance"].as_f64().unwrap();
        return check_some(&volume, shape, some, tolerance).map(|()| true);
    }
    let channels = case["sha256"].as_array().unwrap();
    for (k, expected) in (0u32..).zip(channels) {
        let source = match channels.len() {
            1 => whole.clone(),
            _ => Source::Channel(path.to_path_buf(), k),
        };
        let volume = read(source)?;
        check_shape(&volume, shape)?;
        let found = digest(&volume);
        if *expected != found {
            return Err(format!("channel {k} differs"));
        }
    }
    Ok(true)
}

fn check_shape(volume: &Volume, [slices, shape @ ..]: [usize; 4]) -> Result<(), String> {
    if (volume.slices(), volume.shape(0)) == (slices, shape) {
        Ok(())
    } else {
        Err(format!(
            "{} slices of {:?}",
            volume.slices(),
            volume.shape(0)
        ))
    }
}

/// Compares some pixels of the first slice.
fn check_some(
    volume: &Volume,
    shape: [usize; 4],
    expected: &[Value],
    tolerance: f64,
) -> Result<(), String> {
    check_shape(volume, shape)?;
    let plane = volume.plane(0);
    let some = plane.slice(ndarray::s![.., ..;STEP, ..;STEP]);
    assert_eq!(some.len(), expected.len());
    let pairs = some.iter().zip(expected);
    let off = pairs.map(|(found, expected)| (f64::from(*found) - expected.as_f64().unwrap()).abs());
    let off = off.fold(0.0, f64::max);
    if off <= tolerance {
        Ok(())
    } else {
        Err(format!("a pixel is off by {off}"))
    }
}

/// sha256 over all voxels as little-endian floats.
fn digest(volume: &Volume) -> String {
    let mut hash = Sha256::new();
    for k in 0..volume.slices() {
        let plane = volume.plane(k);
        let bytes: Vec<u8> = plane.iter().flat_map(|voxel| voxel.to_le_bytes()).collect();
        hash.update(&bytes);
    }
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
