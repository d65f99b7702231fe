//! The choice of the slices that are shown.

use cache::CacheReader;
use image::RgbImage;
use nn::IGNORE;

use super::cases::Cases;
use super::label_maps;
use super::overlay::{panels, with_legend};
use super::predict::Predictor;
use super::volume::Volume;
use crate::Error;
use crate::metrics::overlap::Confusion;

/// Pictures of the best, the median and the worst volume by mean Dice, each of the slice of `test` with
/// the most foreground, and their names; none if the cache stores no pictures.
pub(super) fn pictures(
    predictor: &mut Predictor<'_>,
    reader: &CacheReader,
    test: &[usize],
    volumes: &[Volume],
) -> Result<Vec<(String, RgbImage)>, Error> {
    if !reader.meta().has_pictures {
        return Ok(Vec::new());
    }
    let mut ranked: Vec<(&Volume, f64)> = volumes
        .iter()
        .filter_map(|volume| Some((volume, volume.counts.mean(Confusion::dice)?)))
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let Some(last) = ranked.len().checked_sub(1) else {
        return Ok(Vec::new());
    };
    let (cases, side) = (predictor.cases, predictor.decoder.shape().size);
    let mut pictures = Vec::new();
    for (word, place) in [("best", 0), ("median", last / 2), ("worst", last)] {
        let sample = &ranked[place].0.sample;
        let rows = test.iter().copied();
        let Some(row) = rows
            .filter(|&row| cases.slices[row].sample == *sample)
            .max_by_key(|&row| foreground(cases, row, side))
        else {
            continue;
        };
        let grey: Vec<u8> = reader.picture(row)?.iter().copied().collect();
        let truth = cases.squares(&[row], side);
        predictor.predict(
            &[row],
            |_| [side; 2],
            |_, predicted| {
                let picture = panels(&grey, &truth, &predicted, side, &cases.slices[row]);
                let picture = with_legend(&picture, &truth, &predicted, &cases.names);
                pictures.push((format!("{word}-{}", label_maps::file_name(sample)), picture));
                Ok(())
            },
        )?;
    }
    Ok(pictures)
}

/// Pixels of a row that are of a structure.
fn foreground(cases: &Cases, row: usize, side: usize) -> usize {
    let truth = cases.squares(&[row], side);
    truth
        .iter()
        .filter(|class| !matches!(**class, 0 | IGNORE))
        .count()
}
