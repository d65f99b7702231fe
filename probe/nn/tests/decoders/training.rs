//! Properties of initial parameters and of training.

use nn::{Decoder, IGNORE, Kind, Loss, Shape, Workspace};

use crate::cases::{bytes, cases, masks, slices, tokens};

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
        // The workspace keeps nothing of it.
        assert!(case.step(&mut decoder, &mut workspace, 0).is_finite());
    }
}

#[test]
fn ignored_images_have_no_loss_and_no_gradient() {
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
