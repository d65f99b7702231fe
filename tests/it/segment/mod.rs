//! `probe segment` and the predictions of its decoders.

mod applied;
mod classes;
mod stopped;
mod trained;

use std::path::PathBuf;

use cache::CacheMeta;
use serde_json::Value;

use crate::lab::{Lab, Run, nifti};

/// Width, height and number of slices.
const SHAPE: [i16; 3] = [16, 12, 4];

/// Twelve volumes with two structures, which move a little from volume to volume, in three splits.
pub fn volumes(lab: &Lab, more: &[&str]) -> Run {
    let mut csv = String::from("image,mask,patient,split\n");
    let mut state = 1_u32;
    for volume in 0..12_usize {
        let (mut image, mut mask) = (Vec::new(), Vec::new());
        for k in 0..4_usize {
            for y in 0..12_usize {
                for x in 0..16_usize {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let shift = (volume + k) % 2;
                    let first = x < 7 + shift && y < 6;
                    let second = x >= 8 && y >= 6 + shift;
                    let (value, label) = match (first, second) {
                        (true, _) => (120.0, 1.0),
                        (_, true) => (230.0, 2.0),
                        _ => (10.0, 0.0),
                    };
                    image.push(value + (state >> 28) as f32);
                    mask.push(label);
                }
            }
        }
        lab.write(&format!("images/{volume}.nii"), nifti(SHAPE, &image));
        lab.write(&format!("masks/{volume}.nii"), nifti(SHAPE, &mask));
        let split =
            ["train", "val", "test"][volume.saturating_sub(6) / 3 + usize::from(volume > 5)];
        csv += &format!("images/{volume}.nii,masks/{volume}.nii,p{volume},{split}\n");
    }
    lab.write("classes.csv", "value,name\n1,block\n2,slab\n");
    let table = lab.write("volumes.csv", csv);
    lab.extract("manifest", &table, more)
}

fn records(run: &Run) -> Vec<Value> {
    let lines = run.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub const QUICK: [&str; 8] = [
    "--epochs",
    "12",
    "--lr",
    "0.5,0.05",
    "--batch-size",
    "4",
    "--format",
    "json",
];

/// Changes `meta.json` of the cache.
fn set_meta(lab: &Lab, change: impl FnOnce(&mut CacheMeta)) {
    let mut meta = CacheMeta::read(&lab.cache()).unwrap();
    change(&mut meta);
    let text = serde_json::to_string(&meta).unwrap();
    std::fs::write(lab.cache().join("meta.json"), text).unwrap();
}

/// The only record of a run.
fn only_record(run: Run) -> Value {
    records(&run.expect(0)).remove(0)
}

/// The file of the decoder of a record.
fn head_file(lab: &Lab, record: &Value) -> PathBuf {
    lab.path("runs").join(record["head"].as_str().unwrap())
}
