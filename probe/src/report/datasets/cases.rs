//! The hardest and the most confidently wrong cases.

use std::path::Path;

use common::counted;
use maud::{Markup, html};

use super::curves::Shown;
use crate::metrics::scored::first_highest;
use crate::predictions::Predictions;
use crate::record::RunRecord;
use crate::report::cells::task;
use crate::report::pictures::{CachePictures, Source};
use crate::report::read::{Study, backbone};
use crate::report::render::html as render;
use crate::report::table::{Cell, Column, Table};
use crate::targets::Targets;

/// Cases of each kind.
const CASES: usize = 8;

/// Classes of a case that are named.
const NAMED: usize = 4;

/// A case with the reason why it is shown.
struct Found {
    case: usize,
    text: String,
}

/// Cases of a kind.
struct List {
    title: &'static str,
    text: String,
    found: Vec<Found>,
}

/// Cases that are classified wrong: those with the scores farthest from the truth in the result that is shown, and
/// those with the largest mean error over all backbones; and the same as a table. Nothing for scores that are no
/// probabilities.
pub(super) fn tables(
    study: &Study,
    shown: &Shown<'_>,
    caches: Option<&Path>,
) -> Option<(Markup, Table)> {
    if !shown.predictions.scores.kind.is_probability() {
        return None;
    }
    let lists = [confidently_wrong(shown), hardest(study, shown)];
    let source = caches.and_then(|caches| CachePictures::of(caches, shown.record).ok());
    let markup = html! {
        @for of in &lists { (list(of, shown, source.as_ref())) }
    };
    Some((markup, table(&lists, shown)))
}

fn list(list: &List, shown: &Shown<'_>, source: Option<&CachePictures>) -> Markup {
    html! {
        h4 { (list.title) }
        p { (list.text) }
        @if !list.found.is_empty() {
            ul .cases { @for found in &list.found { (item(shown, found, source)) } }
        }
    }
}

fn table(lists: &[List], shown: &Shown<'_>) -> Table {
    let rows = lists.iter().flat_map(|list| {
        list.found.iter().map(|found| {
            let case = &shown.predictions.cases[found.case];
            let slice = case.slice.map(|slice| Cell::Count(slice as usize));
            vec![
                list.title.into(),
                case.sample.clone().into(),
                slice.unwrap_or(Cell::Blank),
                case.patient.clone().unwrap_or_default().into(),
                found.text.clone().into(),
            ]
        })
    });
    let dataset = task(shown.record);
    let texts: Vec<String> = lists
        .iter()
        .map(|list| format!("{}: {}", list.title, list.text))
        .collect();
    Table {
        id: format!("cases-{dataset}"),
        title: format!(
            "Cases classified wrong: {} on {dataset}",
            backbone(shown.record)
        ),
        caption: texts.join(" "),
        columns: vec![
            Column::text("list"),
            Column::text("sample"),
            Column::number("slice"),
            Column::text("patient"),
            Column::text("classes and scores"),
        ],
        rows: rows.collect(),
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

/// Scores with the rule by which they classify: the highest score of exclusive classes, else a threshold for each.
struct Judged<'a> {
    predictions: &'a Predictions,
    /// `[C]`: those of the record.
    thresholds: Vec<f64>,
}

impl<'a> Judged<'a> {
    fn new(record: &RunRecord, names: &[String], predictions: &'a Predictions) -> Judged<'a> {
        let known = record.metrics.get("thresholds");
        let threshold = |name: &String| known?.get(name)?.as_f64();
        let default = predictions.scores.kind.threshold();
        let thresholds = names.iter().map(|name| threshold(name).unwrap_or(default));
        Judged {
            predictions,
            thresholds: thresholds.collect(),
        }
    }

    /// The class that a case is classified wrong for with the score farthest from the truth, and the distance.
    fn wrong(&self, case: usize) -> Option<(f64, usize)> {
        let scores = self.predictions.scores.values.row(case);
        let targets = &self.predictions.targets;
        if matches!(targets, Targets::Single(_)) {
            let predicted = first_highest(scores);
            let is_wrong = targets.is(case, predicted) == Some(false);
            return is_wrong.then(|| (scores[predicted], predicted));
        }
        let wrong = scores.iter().enumerate().filter_map(|(class, &score)| {
            let is = targets.is(case, class)?;
            let off = (score - f64::from(u8::from(is))).abs();
            ((score >= self.thresholds[class]) != is).then_some((off, class))
        });
        wrong.max_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// The mean squared error of a case over the classes that are known.
    fn error(&self, case: usize) -> f64 {
        let scores = self.predictions.scores.values.row(case);
        let known = scores.iter().enumerate().filter_map(|(class, score)| {
            let is = self.predictions.targets.is(case, class)?;
            Some((score - f64::from(u8::from(is))).powi(2))
        });
        let known: Vec<f64> = known.collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    }
}

fn confidently_wrong(shown: &Shown<'_>) -> List {
    let predictions = &shown.predictions;
    let judged = Judged::new(shown.record, &shown.names, predictions);
    let all = 0..predictions.cases.len();
    let all = all.filter_map(|case| judged.wrong(case).map(|(off, class)| (off, case, class)));
    let mut all: Vec<(f64, usize, usize)> = all.collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let count = all.len();
    all.truncate(CASES);
    let is_single = matches!(predictions.targets, Targets::Single(_));
    let found = all.into_iter().map(|(_, case, class)| {
        let (name, score) = (
            &shown.names[class],
            predictions.scores.values[[case, class]],
        );
        let text = if is_single {
            format!(
                "{}; predicted {name}, score {score:.3}",
                classes(shown, case)
            )
        } else {
            let is = predictions.targets.is(case, class) == Some(true);
            let state = if is { "present" } else { "absent" };
            format!("{name}: {state}, score {score:.3}")
        };
        Found { case, text }
    });
    let text = match (count, is_single) {
        (0, _) => "No case is classified wrong.".to_owned(),
        (_, true) => {
            "Cases whose highest score is that of a wrong class, the highest first.".to_owned()
        }
        (_, false) => {
            "Cases with a score on the wrong side of the threshold of its class, the farthest from the truth first."
                .to_owned()
        }
    };
    List {
        title: "Most confidently wrong",
        text,
        found: found.collect(),
    }
}

/// Of the cases that some backbone classifies wrong, those with the largest mean error over all backbones with scores
/// of the same cases.
fn hardest(study: &Study, shown: &Shown<'_>) -> List {
    let cases = &shown.predictions.cases;
    let mut sums = vec![0.0; cases.len()];
    let mut wrong = vec![0; cases.len()];
    let mut backbones = 0;
    let records = study.all_of(shown.way, &shown.record.protocol);
    let records = records.compared.into_iter();
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
        let judged = Judged::new(record, &names, &other);
        for case in 0..cases.len() {
            sums[case] += judged.error(case);
            wrong[case] += usize::from(judged.wrong(case).is_some());
        }
        backbones += 1;
    }
    let mut order: Vec<usize> = (0..cases.len()).filter(|&case| wrong[case] > 0).collect();
    order.sort_by(|&a, &b| sums[b].total_cmp(&sums[a]).then(a.cmp(&b)));
    order.truncate(CASES);
    let all = counted(backbones, "backbone");
    let text = if order.is_empty() {
        format!("No case is classified wrong by any of {all}.")
    } else {
        format!(
            "Of the cases that a backbone classifies wrong, those with the largest mean squared error over {all}."
        )
    };
    let found = order.into_iter().map(|case| Found {
        case,
        text: format!(
            "{}; wrong by {} of {all}, mean error {:.3}",
            classes(shown, case),
            wrong[case],
            sums[case] / backbones.max(1) as f64
        ),
    });
    List {
        title: "Hardest",
        text,
        found: found.collect(),
    }
}

/// The classes of a case.
fn classes(shown: &Shown<'_>, case: usize) -> String {
    let names = shown.names.iter().enumerate();
    let present =
        names.filter(|(class, _)| shown.predictions.targets.is(case, *class) == Some(true));
    let present: Vec<&str> = present.map(|(_, name)| name.as_str()).collect();
    match &present[..] {
        [] => "no class".into(),
        // Long lists hide the cases.
        [first @ .., _, _] if first.len() >= NAMED => {
            let more = present.len() - NAMED;
            format!("{} and {more} more", present[..NAMED].join(", "))
        }
        all => all.join(", "),
    }
}
