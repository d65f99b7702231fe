//! `probe pca`.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::Outcome;
use super::explore::{LookArgs, View};
use crate::explore::{Choice, Cut, Painted, PatchOptions, paint};
use crate::picture::write_picture;
use crate::table::{Column, Grid};
use crate::values::finite;

/// Number of images without `--case`.
const IMAGES: u16 = 4;

#[derive(Debug, Args)]
pub(super) struct Pca {
    /// Image to show: a sample, of a volume its middle slice, or a slice of a sample; give it several times
    /// [default: some images of each class, see --images]
    #[arg(long = "case", value_name = "ID[:SLICE]")]
    cases: Vec<String>,
    /// Images that are shown without --case, spread over the classes [default: 4]
    #[arg(long, value_name = "N", conflicts_with = "cases", value_parser = clap::value_parser!(u16).range(1..=256))]
    images: Option<u16>,
    /// Block whose patch tokens are shown, 1 for the last
    #[arg(long, default_value_t = 1)]
    layer: u32,
    /// Score on the first component above which a patch is foreground [default: found by Otsu's method]
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, value_parser = finite)]
    threshold: Option<f64>,
    /// Show the other side of the first component as the foreground
    #[arg(long)]
    flip: bool,
    /// Show all patches, without a cut of the background
    #[arg(long, conflicts_with_all = ["threshold", "flip"])]
    no_cut: bool,
    #[command(flatten)]
    pub(super) look: LookArgs,
}

impl Pca {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let options = self.options();
        self.look.each(out, messages, |reader, runs, steps| {
            let mut painted = paint(reader, &options, steps)?;
            let file = format!("pictures/pca-{}.png", painted.record.key);
            write_picture(&painted.sheet, &runs.join(&file))?;
            painted.record.pictures = vec![file];
            let view = view(&painted);
            Ok((painted.record, view))
        })
    }

    fn options(&self) -> PatchOptions {
        PatchOptions {
            images: if self.cases.is_empty() {
                Choice::Spread(self.images.unwrap_or(IMAGES).into())
            } else {
                Choice::Named(self.cases.clone())
            },
            layer: self.layer,
            cut: match (self.threshold, self.no_cut) {
                (_, true) => Cut::Nowhere,
                (Some(threshold), _) => Cut::At(threshold),
                (None, _) => Cut::Found,
            },
            flip: self.flip,
        }
    }
}

fn view(painted: &Painted) -> View {
    let metrics = &painted.record.metrics;
    let number = |name: &str| metrics.get(name).and_then(Value::as_f64);
    let mut lines = vec![painted.record.setting.clone()];
    if let (Some(threshold), Some(share)) = (number("threshold"), number("foreground")) {
        let share = percent(share);
        lines.push(format!(
            "foreground: {share} of the patches, above {threshold:.4}"
        ));
    }
    let shares = metrics["explained_variance_ratio"].as_array();
    let shares = shares.into_iter().flatten().filter_map(Value::as_f64);
    let shares: Vec<String> = shares
        .map(|share| format!("{:.1}%", 100.0 * share))
        .collect();
    lines.push(format!(
        "variance in red, green and blue: {}",
        shares.join(", ")
    ));
    let columns = vec![Column::text("image", 0), Column::number("foreground", 0)];
    let images = painted.images.iter();
    let rows = images.map(|(name, share)| vec![name.clone(), percent(*share)]);
    let images = painted.images.iter();
    let data = images.map(|(name, share)| vec![name.clone(), share.to_string()]);
    View {
        lines,
        tables: vec![(String::new(), Grid::new(columns.clone(), rows))],
        data: Grid::new(columns, data),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0}%", 100.0 * share)
}
