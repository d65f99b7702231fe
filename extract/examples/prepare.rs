//! Prepares image files as `extract` does, without a model, and tells how fast.
//!
//! `cargo run --release --example prepare -- scan.nii.gz xray.png` prints how many slices they have,
//! and slices per second on one thread, the median of the rounds.

use std::path::{Path, PathBuf};
use std::time::Instant;

use cache::Task;
use clap::Parser;
use extract::Error;
use extract::dataset::{Dataset, Sample};
use extract::prepare;
use imaging::preprocess::{Intensity, NonFinitePolicy, Preprocess, Rescale, Resize, Slicing};
use imaging::read::{Reader, Source};

#[derive(Parser)]
struct Arguments {
    /// Images and volumes.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How often all are prepared.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Side of the result in pixels.
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u32).range(1..))]
    image_size: u32,
    /// Which intensities are kept.
    #[arg(long, default_value = "minmax")]
    intensity: Intensity,
    /// How volumes are cut.
    #[arg(long, default_value = "stored-k-xy")]
    slicing: Slicing,
}

#[allow(clippy::print_stdout, reason = "a program")]
fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let recipe = recipe(&arguments);
    let mut seconds = Vec::new();
    let mut slices = 0;
    for _ in 0..arguments.rounds {
        let start = Instant::now();
        let counts = arguments
            .files
            .iter()
            .map(|file| prepare_all(file, &recipe));
        slices = counts.sum::<Result<usize, Error>>()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let speed = slices as f64 / seconds[seconds.len() / 2];
    println!("{slices} slices, {speed:.1} slices/s");
    Ok(())
}

fn recipe(arguments: &Arguments) -> Preprocess {
    Preprocess {
        image_size: arguments.image_size,
        slicing: arguments.slicing,
        intensity: arguments.intensity,
        resize: Resize::default(),
        rescale: Rescale::default(),
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        non_finite: NonFinitePolicy::Zero,
        views: None,
    }
}

/// Reads a file and prepares all of its slices; returns how many there are.
fn prepare_all(file: &Path, recipe: &Preprocess) -> Result<usize, Error> {
    let dataset = Dataset {
        name: "files".to_owned(),
        root: PathBuf::new(),
        task: Task::Unlabelled,
        classes: Vec::new(),
        mask_classes: Vec::new(),
        ignored_values: Vec::new(),
        ignore_unnamed: false,
        labels_from_mask: false,
        samples: vec![Sample::of_image(Source::File(file.to_path_buf()))],
        warnings: Vec::new(),
        dicom_ids: None,
        pseudonyms: None,
    };
    let reader = Reader::new(&dataset.root);
    let sample = prepare::open(&reader, 0, &dataset, &dataset.samples[0], recipe)?;
    for k in sample.slices() {
        std::hint::black_box(sample.slice(k, 0)?);
    }
    Ok(sample.slices().len())
}
