//! ROC, precision and recall, calibration and confusion of one result, from its saved scores.

use plot::{Axis, Caption, Line, Lines, Matrix, Point, Stroke};

use crate::Error;
use crate::metrics::calibration::reliability;
use crate::metrics::confusion;
use crate::metrics::curves::{precision_recall, roc, thinned};
use crate::metrics::measures::Scored;
use crate::metrics::ranked::{Ranked, auroc, average_precision};
use crate::metrics::weights::Weights;
use crate::predictions::Predictions;
use crate::record::RunRecord;
use crate::report::cells::{Way, task};
use crate::report::chart::{Chart, number};
use crate::report::figures::MOST;
use crate::report::read::{Study, backbone};
use crate::report::table::{Cell, Column, Table};

/// Classes of a confusion matrix that is drawn.
const MOST_CLASSES: usize = 25;
/// Rows of a table of confusions.
const MOST_PAIRS: usize = 500;
/// Steps of the first axis in the table of a curve.
const STEPS: usize = 20;

/// A result with its saved scores.
pub(super) struct Shown<'a> {
    pub(super) way: Way,
    pub(super) record: &'a RunRecord,
    pub(super) predictions: Predictions,
    pub(super) names: Vec<String>,
    scored: Scored,
}

type Points = Option<Vec<[f64; 2]>>;

impl<'a> Shown<'a> {
    /// Reads the scores of a classification; `None` if none are saved.
    ///
    /// # Errors
    ///
    /// [`FileError::Input`](crate::error::FileError::Input) if they cannot be read, and those of [`Scored::new`].
    pub(super) fn read(
        study: &Study,
        way: Way,
        record: &'a RunRecord,
    ) -> Result<Option<Shown<'a>>, Error> {
        let Some(path) = study.file(record.predictions.as_deref()) else {
            return Ok(None);
        };
        if way.is_segmentation() {
            return Ok(None);
        }
        let (predictions, names) = Predictions::read(&path)?;
        let scored = Scored::new(&predictions)?;
        Ok(Some(Shown {
            way,
            record,
            predictions,
            names,
            scored,
        }))
    }

    /// All charts.
    pub(super) fn charts(&self) -> Vec<Chart> {
        let once = Weights::once(self.predictions.cases.len());
        let (classes, omitted) = self.drawn(&once);
        let rates = self.curves(
            ("roc", "ROC"),
            ["false positive rate", "true positive rate"],
            &classes,
            omitted,
            |class| (roc(class, &once), auroc(class, &once)),
            |x, at| x <= at,
        );
        let precision = self.curves(
            ("precision", "Precision and recall"),
            ["recall", "precision"],
            &classes,
            omitted,
            |class| {
                (
                    precision_recall(class, &once),
                    average_precision(class, &once),
                )
            },
            |x, at| x >= at,
        );
        let mut charts = vec![rates, precision];
        charts.extend(self.calibration(&once));
        charts.extend(self.confusion(&once));
        charts
    }

    fn caption(&self, name: &str, title: &str, text: String) -> Caption {
        let dataset = task(self.record);
        Caption::new(
            format!("{name}-{dataset}"),
            format!("{title}: {} on {dataset}", backbone(self.record)),
            text,
        )
    }

    /// The classes with the most positive cases, and the number of others.
    fn drawn(&self, once: &Weights) -> (Vec<&Ranked>, usize) {
        let mut classes: Vec<&Ranked> = self.scored.classes.iter().collect();
        classes.retain(|class| !class.totals(once).contains(&0));
        let omitted = classes.len().saturating_sub(MOST);
        if omitted > 0 {
            classes.sort_by_key(|class| std::cmp::Reverse(class.totals(once)[0]));
            classes.truncate(MOST);
        }
        (classes, omitted)
    }

    /// A curve for each class. The table has the highest value among the points whose place on the first axis `is_of`
    /// a step.
    fn curves(
        &self,
        (name, title): (&str, &str),
        [x, y]: [&str; 2],
        classes: &[&Ranked],
        omitted: usize,
        curve: impl Fn(&Ranked) -> (Points, Option<f64>),
        is_of: impl Fn(f64, f64) -> bool,
    ) -> Chart {
        let found = classes.iter().filter_map(|class| {
            let (points, area) = curve(class);
            let name = format!("{} {:.3}", self.names[class.class()], area?);
            Some((name, points?))
        });
        let found: Vec<(String, Vec<[f64; 2]>)> = found.collect();
        let lines = found.iter().map(|(name, points)| Line {
            name: name.clone(),
            points: thinned(points.clone())
                .into_iter()
                .map(|[x, y]| Point::new(x, y))
                .collect(),
            stroke: Stroke::Plain,
            ..Line::default()
        });
        let lines: Vec<Line> = lines.collect();
        let mut text = match &lines[..] {
            // A single line has no legend.
            [only] => format!("{y} by {x}; area below the curve: {}.", only.name),
            _ => {
                format!("{y} by {x} of each class against the rest; numbers: area below the curve.")
            }
        };
        if omitted > 0 {
            text += &format!(" {omitted} rarer classes are left out.");
        }
        let chart = Lines {
            caption: self.caption(name, title, text),
            x: Axis::new(x).range(0.0, 1.0),
            y: Axis::new(y).range(0.0, 1.0),
            lines,
            diagonal: name == "roc",
            square: true,
        };
        let mut columns = vec![Column::number(x)];
        columns.extend(found.iter().map(|(name, _)| Column::number(name)));
        let rows = (0..=STEPS).map(|step| {
            let at = step as f64 / STEPS as f64;
            let highest = |points: &Vec<[f64; 2]>| {
                let there = points.iter().filter(|[x, _]| is_of(*x, at));
                there.map(|[_, y]| *y).max_by(f64::total_cmp)
            };
            let mut row = vec![number(Some(at), 2, None)];
            row.extend(
                found
                    .iter()
                    .map(|(_, points)| number(highest(points), 3, None)),
            );
            row
        });
        let mut chart = Chart::new(&chart.caption, &chart.svg(), columns, rows.collect());
        let most = if name == "roc" { "most" } else { "least" };
        chart.numbers.caption +=
            &format!(" The highest {y} at a {x} of at {most} that of the row.");
        chart
    }

    fn calibration(&self, once: &Weights) -> Option<Chart> {
        let is_probability = self.predictions.scores.kind.is_probability();
        let single = self
            .scored
            .single
            .as_ref()
            .filter(|_| self.scored.classes.len() > 1);
        let bins = match single {
            Some(single) => single.reliability(once),
            None => reliability(&self.scored.classes, once),
        };
        let bins = bins.filter(|_| is_probability)?;
        let what = match single {
            Some(_) => "Share of correct predictions by the highest score of a case",
            None => "Share of positive cases by score, all classes together",
        };
        let ece = self
            .record
            .metrics
            .get("ece")
            .and_then(serde_json::Value::as_f64);
        let ece = ece.map_or_else(String::new, |ece| {
            let of = match single {
                None if self.scored.classes.len() > 1 => ", mean over classes",
                _ => "",
            };
            format!(" Expected calibration error{of}: {ece:.3}.")
        });
        let points = bins
            .iter()
            .map(|&(score, share, _)| Point::new(score, share));
        let chart = Lines {
            caption: self.caption(
                "calibration",
                "Calibration",
                format!("{what}, in 15 bins; the dotted line is perfect calibration.{ece}"),
            ),
            x: Axis::new("score").range(0.0, 1.0),
            y: Axis::new("share").range(0.0, 1.0),
            lines: vec![Line::new("", points.collect())],
            diagonal: true,
            square: true,
        };
        let columns = ["mean score", "share", "cases"].map(Column::number);
        let rows = bins.iter().map(|&(score, share, cases)| {
            vec![
                number(Some(score), 3, None),
                number(Some(share), 3, None),
                Cell::Count(cases as usize),
            ]
        });
        Some(Chart::new(
            &chart.caption,
            &chart.svg(),
            columns.to_vec(),
            rows.collect(),
        ))
    }

    /// The confusion matrix as a table, if it has too many classes to be drawn.
    pub(super) fn undrawn(&self) -> Option<Table> {
        (self.names.len() > MOST_CLASSES).then(|| self.pairs())?
    }

    /// The confusion matrix as a table: a row for each pair of classes with cases.
    fn pairs(&self) -> Option<Table> {
        let single = self.scored.single.as_ref()?;
        let once = Weights::once(self.predictions.cases.len());
        let counts = confusion::Matrix::new(single, &once);
        let counts = counts.counts();
        let mut pairs: Vec<((usize, usize), u64)> = counts
            .indexed_iter()
            .map(|(at, &count)| (at, count))
            .filter(|(_, count)| *count > 0)
            .collect();
        let omitted = pairs.len().saturating_sub(MOST_PAIRS);
        pairs.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        pairs.truncate(MOST_PAIRS);
        let rows = pairs.into_iter().map(|((truth, predicted), count)| {
            let all = counts.row(truth).sum();
            vec![
                self.names[truth].clone().into(),
                self.names[predicted].clone().into(),
                Cell::Count(count as usize),
                Cell::plain(Some(count as f64 / all as f64)),
            ]
        });
        let mut caption =
            "Cases by true class and class with the highest score, and their share of the cases of the true class. Pairs without cases are left out.".to_owned();
        if omitted > 0 {
            caption += &format!(" {omitted} rarer pairs are left out.");
        }
        let dataset = task(self.record);
        Some(Table {
            id: format!("confusion-{dataset}"),
            title: format!("Confusion: {} on {dataset}", backbone(self.record)),
            caption,
            columns: vec![
                Column::text("true class"),
                Column::text("predicted class"),
                Column::number("cases"),
                Column::number("share"),
            ],
            rows: rows.collect(),
        })
    }

    /// The confusion matrix with its table; `None` if there are too many classes to draw it.
    fn confusion(&self, once: &Weights) -> Option<Chart> {
        let single = self.scored.single.as_ref()?;
        if self.names.len() > MOST_CLASSES {
            return None;
        }
        let counts = confusion::Matrix::new(single, once);
        let counts = counts.counts();
        let rows = counts.outer_iter().map(|row| row.to_vec());
        let chart = Matrix {
            caption: self.caption(
                "confusion",
                "Confusion",
                "Cases by true class (rows) and class with the highest score (columns).".into(),
            ),
            rows: "true class".into(),
            columns: "predicted class".into(),
            names: self.names.clone(),
            counts: rows.collect(),
        };
        Some(Chart::beside(&chart.caption, &chart.svg(), self.pairs()?))
    }
}
