//! Small caches that are the same on every machine.

use std::path::Path;

use cache::{
    CacheMeta, CacheWriter, Labels, MaskClass, ModelMeta, SliceMeta, Split, Task, TokenBatch,
    Tokens,
};
use common::Mask;
use ndarray::{Array2, Array3};

/// Width of tokens.
const WIDTH: usize = 8;
/// Side of the patch grid.
const GRID: usize = 4;
/// Side of images and masks.
const SIDE: usize = 32;
/// Slices of a patient.
const SLICES: usize = 2;

/// Uniform numbers from -1 to 1 by a linear congruence.
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> f32 {
        let odd = 6_364_136_223_846_793_005;
        self.0 = self
            .0
            .wrapping_mul(odd)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

fn meta(dataset: &str, task: Task, model: &str) -> CacheMeta {
    let classes: &[&str] = match dataset {
        "two" => &["left", "right"],
        "three" | "multi" => &["air", "bone", "cyst"],
        _ => &[],
    };
    let has_masks = task == Task::Unlabelled;
    let named = [(1, "liver"), (2, "spleen")].into_iter();
    let mask_classes = named.map(|(value, name)| MaskClass {
        value,
        name: name.into(),
    });
    CacheMeta {
        dataset: dataset.into(),
        task,
        classes: classes.iter().map(|&class| class.into()).collect(),
        has_masks,
        mask_classes: mask_classes.filter(|_| has_masks).collect(),
        model: ModelMeta {
            name: model.into(),
            sha256: "0".repeat(64),
            final_norm: None,
            weights_sha256: None,
        },
        image_size: SIDE as u32,
        tokens: if has_masks { Tokens::All } else { Tokens::Cls },
        layers: if has_masks { 5 } else { 2 },
        width: WIDTH as u32,
        grid: [GRID as u32; 2],
        preprocess: tests::recipe(SIDE),
        ..tests::meta()
    }
}

/// Two slices of each patient; patients in turn in `train`, `train`, `val` and `test`.
fn slice(row: usize, labels: Labels) -> SliceMeta {
    let patient = row / SLICES;
    let splits = [Split::Train, Split::Train, Split::Val, Split::Test];
    SliceMeta {
        sample: format!("s{patient:02}"),
        image: format!("s{patient:02}.nii"),
        patient: Some(format!("p{:02}", patient * 7 % 53)),
        slice: (row % SLICES) as u32,
        view: 0,
        split: Some(splits[patient % 4]),
        labels,
        height: SIDE as u32,
        width: SIDE as u32,
        spacing_mm: Some([2.0, 1.0, 1.0 + (patient % 3) as f32]),
        placement: None,
    }
}

/// Labels of a row. Those of one class hold for a patient; uncertain ones and blanks occur.
fn labels(dataset: &str, row: usize) -> Labels {
    let patient = row / SLICES;
    match dataset {
        "two" => Labels::Single(Some((patient * 5 % 7 % 2) as u32)),
        "three" => Labels::Single(Some((patient * 5 % 7 % 3) as u32)),
        "multi" => {
            let state = |class: usize| match (row * (class + 2) + row / 5 + class) % 11 {
                0 => Some(-1),
                1 if row.is_multiple_of(3) => None,
                k => Some(i8::from(k > 6)),
            };
            Labels::Multi((0..3).map(state).collect())
        }
        _ => Labels::Unlabelled,
    }
}

/// 1 if the class shows in the tokens of the row, else 0.
fn shows(labels: &Labels, class: usize) -> f32 {
    match labels {
        Labels::Unlabelled => 0.0,
        Labels::Single(label) => f32::from(u8::from(*label == Some(class as u32))),
        Labels::Multi(states) => f32::from(u8::from(states[class] == Some(1))),
    }
}

/// CLS tokens in whose first columns the classes are seen, in noise.
fn tokens(slices: &[SliceMeta], noise: &mut Noise) -> Array2<f32> {
    Array2::from_shape_fn((slices.len(), WIDTH), |(row, column)| {
        let shown = if column < 3 {
            shows(&slices[row].labels, column)
        } else {
            0.0
        };
        shown + noise.next()
    })
}

/// A square of each structure, whose place depends on the row.
fn mask(row: usize) -> Mask {
    let place = |class: usize| {
        [
            3 + (row * 5 + class * 13) % 17,
            2 + (row * 3 + class * 7) % 19,
        ]
    };
    Array2::from_shape_fn((SIDE, SIDE), |(y, x)| {
        let is_in = |class: &usize| {
            let [top, left] = place(*class);
            (top..top + 11).contains(&y) && (left..left + 10).contains(&x)
        };
        [1, 2]
            .iter()
            .find(|class| is_in(class))
            .map_or(0, |&class| class as u16)
    })
}

/// Patch tokens `[B, P, D]` in whose first columns the masks are seen, in noise.
fn patches(masks: &[Mask], noise: &mut Noise) -> Array3<f32> {
    let side = SIDE / GRID;
    Array3::from_shape_fn((masks.len(), GRID * GRID, WIDTH), |(row, patch, column)| {
        let (top, left) = (patch / GRID * side, patch % GRID * side);
        let is_class = |(y, x): (usize, usize)| masks[row][[top + y, left + x]] as usize == column;
        let pixels = (0..side).flat_map(|y| (0..side).map(move |x| (y, x)));
        let share = pixels.filter(|&pixel| is_class(pixel)).count() as f32 / (side * side) as f32;
        let shown = if column < 3 { 2.0 * share } else { 0.0 };
        shown + 0.3 * noise.next()
    })
}

/// Writes `ROOT/DATASET/MODEL@32` with 128 slices, or 32 with masks.
pub(crate) fn write(root: &Path, dataset: &str, model: &str, seed: u64) {
    let dir = root.join(dataset).join(format!("{model}@{SIDE}"));
    write_as(&dir, dataset, model, seed, |_| {}, |_| {});
}

/// Writes what [`write`] writes, with changes, into `dir`.
pub(crate) fn write_as(
    dir: &Path,
    dataset: &str,
    model: &str,
    seed: u64,
    change: impl Fn(&mut CacheMeta),
    change_slice: impl Fn(&mut SliceMeta),
) {
    let (task, rows) = match dataset {
        "two" | "three" => (Task::SingleLabel, 128),
        "multi" => (Task::MultiLabel, 128),
        _ => (Task::Unlabelled, 32),
    };
    let has_masks = task == Task::Unlabelled;
    let mut meta = meta(dataset, task, model);
    let layers = meta.layers;
    let mut noise = Noise::new(seed);
    change(&mut meta);
    let mut writer = CacheWriter::open(dir, meta).unwrap();
    for first in (0..rows).step_by(16) {
        let all = first..first + 16;
        let mut slices: Vec<_> = all
            .clone()
            .map(|row| slice(row, labels(dataset, row)))
            .collect();
        slices.iter_mut().for_each(&change_slice);
        let masks: Vec<Mask> = all.map(mask).filter(|_| has_masks).collect();
        let mut each = || (0..layers).map(|_| tokens(&slices, &mut noise)).collect();
        let (cls, mean) = (each(), each());
        let patch = if has_masks {
            (0..layers)
                .map(|_| patches(&masks, &mut noise).into())
                .collect()
        } else {
            vec![]
        };
        let batch = TokenBatch {
            slices,
            cls,
            mean,
            patch,
            masks: masks.into_iter().map(Some).collect(),
            pictures: vec![],
        };
        writer.append(&batch).unwrap();
    }
    writer.finish().unwrap();
}
