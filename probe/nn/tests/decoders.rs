//! Decoders against PyTorch (`tests/golden/decoders.json`, by `scripts/dev/golden_decoders.py`), and what
//! holds without it.
#![allow(clippy::unwrap_used)]

use nn::{Decoder, Error, IGNORE, Kind, Loss, Shape, Tensor, Workspace};
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

fn tokens(shape: Shape, batch: usize, layers: usize, step: usize) -> Vec<Vec<f32>> {
    let count = batch * shape.grid.0 * shape.grid.1 * shape.width;
    (0..layers)
        .map(|layer| Numbers((1000 * step + layer) as u32).take(count))
        .collect()
}

fn slices(tokens: &[Vec<f32>]) -> Vec<&[f32]> {
    tokens.iter().map(Vec::as_slice).collect()
}

fn masks(shape: Shape, batch: usize, ignored: bool, step: usize) -> Vec<u16> {
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

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

/// The numbers that the script keeps.
fn some(data: &[f32], count: usize) -> Vec<f64> {
    let step = (data.len() / count).max(1);
    data.iter().step_by(step).map(|x| f64::from(*x)).collect()
}

/// Largest difference as a share of the largest number.
fn difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let size = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0, |most: f64, (a, b)| most.max((a - b).abs())) / size.max(1e-30)
}

struct Case {
    golden: Value,
    kind: Kind,
    shape: Shape,
    batch: usize,
    loss: Loss,
    ignored: bool,
    rate: f32,
}

fn cases() -> Vec<Case> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/decoders.json"
    );
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
    /// With the script's initial parameters.
    fn decoder(&self) -> Decoder {
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

    fn workspace(&self) -> Workspace {
        Workspace::new(self.kind, self.shape, self.batch).unwrap()
    }

    fn step(&self, decoder: &mut Decoder, workspace: &mut Workspace, step: usize) -> f64 {
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

    fn check_logits(&self, decoder: &Decoder, golden: &Value, tolerance: f64) {
        let mut workspace = self.workspace();
        let tokens = tokens(self.shape, self.batch, self.kind.layers(), 0);
        let (classes, size) = (self.shape.classes, self.shape.size);
        let mut square = vec![f32::NAN; self.batch * classes * size * size];
        decoder
            .logits(&mut workspace, &slices(&tokens), self.batch, &mut square)
            .unwrap();
        let off = difference(&some(&square, 200), &numbers(&golden["square"]));
        assert!(off < tolerance, "{off}");
        let maps = decoder
            .maps(&mut workspace, &slices(&tokens), self.batch)
            .unwrap();
        let mut other = vec![f32::NAN; self.batch * classes * 37 * 75];
        for (image, other) in other.chunks_exact_mut(classes * 37 * 75).enumerate() {
            maps.logits(image, (37, 75), other).unwrap();
        }
        let off = difference(&some(&other, 200), &numbers(&golden["other"]));
        assert!(off < tolerance, "{off}");
    }
}

#[test]
fn logits_are_those_of_pytorch() {
    for case in cases() {
        case.check_logits(&case.decoder(), &case.golden["before"], 1e-4);
    }
}

#[test]
fn gradients_are_those_of_pytorch() {
    for case in cases() {
        let mut decoder = case.decoder();
        case.step(&mut decoder, &mut case.workspace(), 0);
        // After the first step the momentum is the gradient.
        for tensor in decoder.momenta() {
            let golden = numbers(&case.golden["gradients"][tensor.name]);
            let found = some(tensor.data, 60);
            if tensor.name.ends_with("0.bias") {
                // A bias before a normalisation has none but for rounding.
                assert!(golden.iter().all(|g| g.abs() < 1e-6));
                assert!(tensor.data.iter().all(|g| *g == 0.0));
                continue;
            }
            let off = difference(&found, &golden);
            assert!(off < 1e-3, "{:?} {}: {off}", case.shape, tensor.name);
        }
    }
}

#[test]
fn training_goes_as_in_pytorch() {
    for case in cases() {
        let (mut decoder, mut workspace) = (case.decoder(), case.workspace());
        for (step, expected) in numbers(&case.golden["curve"]).into_iter().enumerate() {
            let loss = case.step(&mut decoder, &mut workspace, step);
            let off = (loss - expected).abs() / expected;
            assert!(
                off < 1e-3,
                "{:?} step {step}: {loss} {expected}",
                case.shape
            );
        }
        for tensor in decoder.parameters() {
            let golden = numbers(&case.golden["state"][tensor.name]);
            let off = difference(&some(tensor.data, 12), &golden);
            assert!(off < 1e-2, "{:?} {}: {off}", case.shape, tensor.name);
        }
        case.check_logits(&decoder, &case.golden["after"], 1e-2);
    }
}

fn bytes(decoder: &Decoder) -> Vec<u32> {
    let tensors = decoder.parameters().chain(decoder.momenta());
    tensors
        .flat_map(|tensor| tensor.data.iter().map(|x| x.to_bits()))
        .collect()
}

#[test]
fn threads_change_nothing() {
    for case in cases() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| {
                let (mut decoder, mut workspace) = (case.decoder(), case.workspace());
                for step in 0..3 {
                    case.step(&mut decoder, &mut workspace, step);
                }
                bytes(&decoder)
            })
        };
        let one = run(1);
        assert!(one == run(2) && one == run(5));
    }
}

#[test]
fn threads_change_nothing_where_there_is_work_for_many() {
    let shape = Shape {
        width: 64,
        classes: 3,
        grid: (9, 8),
        size: 112,
    };
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let mut decoder = Decoder::new(Kind::UNet, shape, 5).unwrap();
            let mut workspace = Workspace::new(Kind::UNet, shape, 5).unwrap();
            let tokens = tokens(shape, 5, 5, 0);
            let masks = masks(shape, 5, true, 0);
            for _ in 0..2 {
                decoder
                    .step(
                        &mut workspace,
                        &slices(&tokens),
                        &masks,
                        Loss::DiceCrossEntropy,
                        0.1,
                    )
                    .unwrap();
            }
            bytes(&decoder)
        })
    };
    let one = run(1);
    assert!(one == run(2) && one == run(8));
}

#[test]
fn training_resumes_where_it_stopped() {
    for case in cases() {
        let (mut through, mut workspace) = (case.decoder(), case.workspace());
        for step in 0..2 {
            case.step(&mut through, &mut workspace, step);
        }
        let mut resumed = Decoder::new(case.kind, case.shape, 99).unwrap();
        resumed.load(through.parameters()).unwrap();
        resumed.load_momenta(through.momenta()).unwrap();
        let mut fresh = case.workspace();
        for step in 2..4 {
            case.step(&mut through, &mut workspace, step);
            case.step(&mut resumed, &mut fresh, step);
        }
        assert!(bytes(&through) == bytes(&resumed));
    }
}

#[test]
fn heads_trained_together_are_those_trained_alone() {
    let case = &cases()[1];
    let rates = [0.01, 0.3, 2.0];
    let mut together = vec![case.decoder(); 3];
    let mut workspace = case.workspace();
    let tokens = tokens(case.shape, case.batch, 1, 0);
    let masks = masks(case.shape, case.batch, true, 0);
    let mut alone = together.clone();
    for _ in 0..3 {
        let slices = slices(&tokens);
        let losses = nn::step(
            &mut together,
            &mut workspace,
            &slices,
            &masks,
            case.loss,
            &rates,
        )
        .unwrap();
        for ((decoder, rate), loss) in alone.iter_mut().zip(rates).zip(losses) {
            let one = decoder
                .step(&mut workspace, &slices, &masks, case.loss, rate)
                .unwrap();
            assert!((one / loss - 1.0).abs() < 1e-5);
        }
    }
    for (a, b) in together.iter().zip(&alone) {
        for (a, b) in a.parameters().zip(b.parameters()) {
            for (a, b) in a.data.iter().zip(b.data) {
                assert!((a - b).abs() < 1e-4);
            }
        }
    }
}

#[test]
fn a_loss_that_is_not_finite_changes_nothing() {
    for case in cases() {
        let mut decoder = case.decoder();
        let before = bytes(&decoder);
        let mut tokens = tokens(case.shape, case.batch, case.kind.layers(), 0);
        tokens[0][3] = f32::NAN;
        let masks = masks(case.shape, case.batch, case.ignored, 0);
        let mut workspace = case.workspace();
        let loss = decoder
            .step(&mut workspace, &slices(&tokens), &masks, case.loss, 0.1)
            .unwrap();
        assert!(loss.is_nan());
        assert!(before == bytes(&decoder));
        // Nor does it stay in the workspace.
        assert!(case.step(&mut decoder, &mut workspace, 0).is_finite());
    }
}

#[test]
fn ignored_images_are_worth_nothing() {
    for case in cases() {
        let (mut decoder, mut workspace) = (case.decoder(), case.workspace());
        let tokens = tokens(case.shape, case.batch, case.kind.layers(), 0);
        let masks = vec![IGNORE; case.batch * case.shape.size * case.shape.size];
        let loss = decoder
            .step(&mut workspace, &slices(&tokens), &masks, case.loss, 0.1)
            .unwrap();
        assert_eq!(loss, 0.0);
        for tensor in decoder.momenta() {
            assert!(tensor.data.iter().all(|g| *g == 0.0), "{}", tensor.name);
        }
    }
}

#[test]
fn parameters_are_as_many_as_published() {
    for (width, millions) in [(384, 2.43), (768, 9.69), (1024, 17.22), (1536, 38.73)] {
        let shape = Shape {
            width,
            classes: 1,
            grid: (1, 1),
            size: 16,
        };
        let decoder = Decoder::new(Kind::UNet, shape, 0).unwrap();
        let found = decoder.parameter_count() as f64 / 1e6;
        assert!((found - millions).abs() < 0.01, "{width}: {found}");
    }
}

#[test]
fn initial_parameters_are_drawn_from_the_seed() {
    let case = &cases()[3];
    let new = |seed| Decoder::new(Kind::UNet, case.shape, seed).unwrap();
    assert!(bytes(&new(1)) == bytes(&new(1)));
    assert!(bytes(&new(1)) != bytes(&new(2)));
    let decoder = new(3);
    let weight = decoder.parameters().next().unwrap();
    assert_eq!(weight.name, "up1.up.weight");
    let bound = 1.0 / (weight.shape[1] as f32 * 4.0).sqrt();
    let most = weight.data.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    assert!(most <= bound && most > 0.9 * bound);
    let linear = Shape {
        width: 1000,
        classes: 10,
        ..case.shape
    };
    let decoder = Decoder::new(Kind::Linear, linear, 0).unwrap();
    let weight = decoder.parameters().next().unwrap();
    let squares: f32 = weight.data.iter().map(|x| x * x).sum();
    assert!((squares / 1e4 / 1e-4 - 1.0).abs() < 0.1);
}

#[test]
fn what_does_not_fit_is_refused() {
    let case = &cases()[3];
    let (mut decoder, mut workspace) = (case.decoder(), case.workspace());
    let tokens = tokens(case.shape, case.batch, 5, 0);
    let tokens = slices(&tokens);
    let mut masks = masks(case.shape, case.batch, false, 0);
    let loss = Loss::Dice;
    masks[0] = 3;
    let refused = decoder.step(&mut workspace, &tokens, &masks, loss, 0.1);
    assert_eq!(
        refused,
        Err(Error::Label {
            label: 3,
            classes: 3
        })
    );
    masks[0] = 0;
    let refused = decoder.step(&mut workspace, &tokens[..4], &masks, loss, 0.1);
    assert!(matches!(refused, Err(Error::Length { what: "layers", .. })));
    let refused = decoder.step(&mut workspace, &tokens, &masks[1..], loss, 0.1);
    assert!(matches!(refused, Err(Error::Length { what: "masks", .. })));
    let refused = decoder.step(&mut workspace, &tokens, &[], loss, 0.1);
    assert!(matches!(refused, Err(Error::Batch { .. })));
    let other = Shape {
        size: 61,
        ..case.shape
    };
    let mut other = Workspace::new(Kind::UNet, other, 1).unwrap();
    let refused = decoder.step(&mut other, &tokens, &masks, loss, 0.1);
    assert!(refused.is_err());
    let copy = decoder.clone();
    let missing = decoder.load(copy.parameters().skip(1));
    assert_eq!(missing, Err(Error::Missing("up1.up.weight".to_owned())));
    let mut tensors: Vec<Tensor<'_>> = copy.parameters().collect();
    tensors[0].shape = &[1];
    let refused = decoder.load(tensors.clone());
    assert!(matches!(refused, Err(Error::TensorShape { .. })));
    tensors[0] = Tensor {
        name: "other",
        ..tensors[1]
    };
    assert_eq!(
        decoder.load(tensors),
        Err(Error::Unknown("other".to_owned()))
    );
    assert!(
        Decoder::new(
            Kind::UNet,
            Shape {
                width: 12,
                ..case.shape
            },
            0
        )
        .is_err()
    );
}
