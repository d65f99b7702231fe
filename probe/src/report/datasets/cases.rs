//! The hardest and the most confidently wrong cases.

use std::path::Path;

use maud::{Markup, html};

use super::curves::Shown;
use crate::predictions::Predictions;
use crate::record::RunRecord;
use crate::report::cells::task;
use crate::report::pictures::{CachePictures, Source};
use crate::report::read::Study;
use crate::report::render::html as render;

/// Cases of each kind.
const CASES: usize = 8;

/// A case with the reason why it is shown.
struct Found {
    case: usize,
    text: String,
}

/// Cases of the result that is shown: those with the largest error, and those with the largest mean error over all
/// backbones. Nothing for scores that are no probabilities.
pub(super) fn tables(study: &Study, shown: &Shown<'_>, caches: &Path) -> Markup {
    if !shown.predictions.scores.kind.is_probability() {
        return html! {};
    }
    let wrong = confidently_wrong(shown);
    let (hard, backbones) = hardest(study, shown);
    let source = CachePictures::of(caches, shown.record).ok();
    html! {
        (list("Most confidently wrong", "Cases whose scores are farthest from their classes.", shown, wrong, source.as_ref()))
        (list("Hardest", &format!("Cases with the largest mean squared error over {}.", common::counted(backbones, "backbone")), shown, hard, source.as_ref()))
    }
}

fn list(
    title: &str,
    text: &str,
    shown: &Shown<'_>,
    found: Vec<Found>,
    source: Option<&CachePictures>,
) -> Markup {
    html! {
        @if !found.is_empty() {
            h4 { (title) }
            p { (text) }
            ul .cases { @for found in found { (item(shown, &found, source)) } }
        }
    }
}

fn item(shown: &Shown<'_>, found: &Found, source: Option<&CachePictures>) -> Markup {
    let case = &shown.predictions.cases[found.case];
    let mut name = case.sample.clone();
    if let Some(slice) = case.slice.filter(|slice| *slice > 0) {
        name += &format!(", slice {slice}");
    }
    let picture = source.and_then(|source| source.picture(case));
    html! {
        li {
            @if let Some(Source { data, size }) = picture {
                img src=(data) width=[size.map(|[width, _]| width)] height=[size.map(|[_, height]| height)] alt={ "Slice of " (render::shown(&name)) };
            }
            b { (render::shown(&name)) }
            @if let Some(patient) = case.patient.as_ref().filter(|patient| **patient != case.sample) {
                br; "patient " (render::shown(patient))
            }
            br; (render::shown(&found.text))
        }
    }
}

/// The squared error of a case, the mean over the classes that are known, and the class with the largest one.
fn error(predictions: &Predictions, case: usize) -> Option<(f64, usize)> {
    let scores = predictions.scores.values.row(case);
    let known = scores.iter().enumerate().filter_map(|(class, score)| {
        let is = predictions.targets.is(case, class)?;
        let off = score - f64::from(u8::from(is));
        Some((off * off, class))
    });
    let known: Vec<(f64, usize)> = known.collect();
    let mean = known.iter().map(|(error, _)| error).sum::<f64>() / known.len() as f64;
    let (_, worst) = known.into_iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some((mean, worst))
}

fn confidently_wrong(shown: &Shown<'_>) -> Vec<Found> {
    let predictions = &shown.predictions;
    let all = (0..predictions.cases.len()).filter_map(|case| {
        let (_, class) = error(predictions, case)?;
        let score = predictions.scores.values[[case, class]];
        let is = predictions.targets.is(case, class)?;
        let off = (score - f64::from(u8::from(is))).abs();
        (off > 0.5).then_some((off, case, class, score, is))
    });
    let mut all: Vec<_> = all.collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.truncate(CASES);
    let found = all.into_iter().map(|(_, case, class, score, is)| Found {
        case,
        text: format!(
            "{}: {}, score {score:.3}",
            shown.names[class],
            if is { "present" } else { "absent" }
        ),
    });
    found.collect()
}

/// The cases with the largest mean error over all backbones with scores of the same cases, and the number of these.
fn hardest(study: &Study, shown: &Shown<'_>) -> (Vec<Found>, usize) {
    let cases = &shown.predictions.cases;
    let mut sums = vec![0.0; cases.len()];
    let mut backbones = 0;
    let records = study.all_of(shown.way, &shown.record.protocol).into_iter();
    let is_same = |record: &&RunRecord| task(record) == task(shown.record);
    for record in records.filter(is_same) {
        let read = study
            .file(record.predictions.as_deref())
            .map(|path| Predictions::read(&path));
        let Some(Ok((other, names))) = read else {
            continue;
        };
        let Ok(other) = other.in_order_of(cases) else {
            continue;
        };
        if names != shown.names || other.targets != shown.predictions.targets {
            continue;
        }
        for (case, sum) in sums.iter_mut().enumerate() {
            *sum += error(&other, case).map_or(0.0, |(mean, _)| mean);
        }
        backbones += 1;
    }
    let mut order: Vec<usize> = (0..cases.len()).collect();
    order.sort_by(|&a, &b| sums[b].total_cmp(&sums[a]).then(a.cmp(&b)));
    order.truncate(CASES);
    let found = order.into_iter().map(|case| Found {
        case,
        text: format!(
            "{}; mean error {:.3}",
            classes(shown, case),
            sums[case] / f64::from(u32::try_from(backbones).unwrap_or(1).max(1))
        ),
    });
    (found.collect(), backbones)
}

/// The classes of a case.
fn classes(shown: &Shown<'_>, case: usize) -> String {
    let names = shown.names.iter().enumerate();
    let present =
        names.filter(|(class, _)| shown.predictions.targets.is(case, *class) == Some(true));
    let present: Vec<&str> = present.map(|(_, name)| name.as_str()).collect();
    if present.is_empty() {
        "no class".into()
    } else {
        present.join(", ")
    }
}
