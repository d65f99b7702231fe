//! An extraction by another program, without the command line.

use std::fs;
use std::sync::atomic::AtomicBool;

use cache::CacheReader;
use extract::dataset::{self, DatasetCard, Recipe};
use extract::extraction::{BackboneChoice, Event, Extraction, Settings};
use extract::split::SplitRule;
use extract::{backbone::Provider, prepare, project};
use onnx_models::ModelCard;

#[test]
fn a_program_extracts_and_resumes_without_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let home = super::project();
    let mut csv = String::from("image,label,split\n");
    for (name, split) in [("a", "train"), ("b", "test")] {
        let image = folder.path().join(format!("{name}.png"));
        fs::copy(home.join("tests/golden/tokens/xray.png"), image).unwrap();
        csv += &format!("{name}.png,{name},{split}\n");
    }
    let manifest = folder.path().join("manifest.csv");
    fs::write(&manifest, csv).unwrap();
    let card = ModelCard::read(&project::models(&home), "tiny-vit").unwrap();
    let mut dataset = dataset::open(&DatasetCard::find("manifest").unwrap(), &manifest).unwrap();
    dataset.name = "two".to_owned();
    let recipe = prepare::preprocess(&Recipe::default(), card.image_size, card.mean, card.std);
    let backbone = BackboneChoice {
        provider: Some(Provider::Cpu),
        ..BackboneChoice::default()
    };
    let extraction = Extraction {
        runtime: super::runtime(),
        home: &home,
        card: &card,
        backbone: &backbone,
        dataset: &dataset,
        rule: &SplitRule::Official,
        recipe: &recipe,
        caches: folder.path(),
        staging: folder.path(),
        settings: Settings::default(),
        stop: &AtomicBool::new(false),
    };
    let mut finished = 0;
    let mut report = |event| {
        if let Event::Progress(progress) = event {
            finished = progress.samples;
        }
    };
    let summary = extraction.run(&mut report).unwrap();
    assert_eq!((finished, summary.outcome.slices), (2, 2));
    let cache = CacheReader::open(&summary.dir).unwrap();
    cache.verify().unwrap();
    let labels: Vec<_> = cache
        .slices()
        .unwrap()
        .into_iter()
        .map(|s| s.labels)
        .collect();
    assert_ne!(labels[0], labels[1]);
    let again = extraction.run(&mut |_| {}).unwrap();
    assert_eq!((again.dir, again.outcome.slices), (summary.dir, 0));
}
