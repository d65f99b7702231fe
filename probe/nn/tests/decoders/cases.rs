//! The cases of the golden file, with the script's tokens and masks.

use nn::{Decoder, IGNORE, Kind, Loss, Shape, Tensor, Workspace};
use serde_json::Value;

/// The generator of the script.
struct Numbers(u32);

impl Numbers {
    fn take(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| {
                self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }
}

pub(crate) fn tokens(shape: Shape, batch: usize, layers: usize, step: usize) -> Vec<Vec<f32>> {
    let count = batch * shape.grid.0 * shape.grid.1 * shape.width;
    (0..layers)
        .map(|layer| Numbers((1000 * step + layer) as u32).take(count))
        .collect()
}

pub(crate) fn slices(tokens: &[Vec<f32>]) -> Vec<&[f32]> {
    tokens.iter().map(Vec::as_slice).collect()
}

pub(crate) fn masks(shape: Shape, batch: usize, ignored: bool, step: usize) -> Vec<u16> {
    let mut masks = Vec::new();
    for image in 0..batch {
        for y in 0..shape.size {
            for x in 0..shape.size {
                masks.push(if ignored && (x + 2 * y) % 11 == 0 {
                    IGNORE
                } else {
                    ((x / 7 + y / 9 * (image + 1) + step) % shape.classes) as u16
                });
            }
        }
    }
    masks
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn integer(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

/// A decoder and its training, as the script has them.
pub(crate) struct Case {
    pub(crate) golden: Value,
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
    pub(crate) batch: usize,
    pub(crate) loss: Loss,
    pub(crate) ignored: bool,
    rate: f32,
}

pub(crate) fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/decoders.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap().iter();
    cases
        .map(|case| Case {
            kind: match case["kind"].as_str() {
                Some("linear") => Kind::Linear,
                _ => Kind::UNet,
            },
            shape: Shape {
                width: integer(&case["width"]),
                classes: integer(&case["classes"]),
                grid: (integer(&case["grid"][0]), integer(&case["grid"][1])),
                size: integer(&case["size"]),
            },
            batch: integer(&case["batch"]),
            loss: match case["loss"].as_str() {
                Some("dice") => Loss::Dice,
                _ => Loss::DiceCrossEntropy,
            },
            ignored: case["ignored"].as_bool().unwrap(),
            rate: number(&case["rate"]) as f32,
            golden: case.clone(),
        })
        .collect()
}

impl Case {
    /// The decoder with the script's initial parameters.
    pub(crate) fn decoder(&self) -> Decoder {
        let mut decoder = Decoder::new(self.kind, self.shape, 0).unwrap();
        let fresh = decoder.clone();
        let mut index = 0;
        let values: Vec<Vec<f32>> = fresh
            .parameters()
            .map(|tensor| {
                let scale = &self.golden["scales"][tensor.name];
                if scale.is_null() {
                    return tensor.data.to_vec();
                }
                let (scale, offset) = (number(&scale[0]) as f32, number(&scale[1]) as f32);
                index += 1;
                let values = Numbers(6 + index).take(tensor.data.len());
                values.iter().map(|x| x * scale + offset).collect()
            })
            .collect();
        let tensors = fresh.parameters().zip(&values);
        decoder
            .load(tensors.map(|(tensor, data)| Tensor { data, ..tensor }))
            .unwrap();
        decoder
    }

    pub(crate) fn workspace(&self) -> Workspace {
        Workspace::new(self.kind, self.shape, self.batch).unwrap()
    }

    /// A step on the batch `step % 3` of the script, the third of which is smaller.
    pub(crate) fn step(
        &self,
        decoder: &mut Decoder,
        workspace: &mut Workspace,
        step: usize,
    ) -> f64 {
        let turn = step % 3;
        let count = if turn == 2 {
            self.batch - 1
        } else {
            self.batch
        };
        let tokens = tokens(self.shape, count, self.kind.layers(), turn);
        let masks = masks(self.shape, count, self.ignored, turn);
        decoder
            .step(workspace, &slices(&tokens), &masks, self.loss, self.rate)
            .unwrap()
    }
}

/// The bits of all parameters and momenta.
pub(crate) fn bytes(decoder: &Decoder) -> Vec<u32> {
    let tensors = decoder.parameters().chain(decoder.momenta());
    tensors
        .flat_map(|tensor| tensor.data.iter().map(|x| x.to_bits()))
        .collect()
}
