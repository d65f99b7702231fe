//! Inputs that do not fit.

use nn::{Decoder, Error, Kind, Loss, Shape, Tensor, Workspace};

use crate::cases::{cases, masks, slices, tokens};

#[test]
fn inputs_that_do_not_fit_are_errors() {
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
