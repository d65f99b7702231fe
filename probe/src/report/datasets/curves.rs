//! ROC, precision and recall, calibration and confusion of one result, from its saved scores.

use maud::{Markup, html};
use plot::{Axis, Caption, Line, Lines, Matrix, Point, Stroke};

use crate::Error;
use crate::metrics::calibration::reliability;
use crate::metrics::confusion;
use crate::metrics::curves::{precision_recall, roc};
use crate::metrics::measures::Scored;
use crate::metrics::ranked::{Ranked, auroc, average_precision};
use crate::metrics::weights::Weights;
use crate::predictions::Predictions;
use crate::record::RunRecord;
use crate::report::cells::{Way, task};
use crate::report::figures::MOST;
use crate::report::read::{Study, backbone};
use crate::report::table::{Cell, Column, Table};

/// Classes of a confusion matrix.
const MOST_CLASSES: usize = 25;
/// Classes of a confusion matrix whose cells have room for their numbers.
const MOST_NUMBERED: usize = 16;
/// Rows of a table of confusions.
const MOST_PAIRS: usize = 500;

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
    /// [`Error::Input`] if they cannot be read, and those of [`Scored::new`].
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
    pub(super) fn charts(&self) -> Markup {
        let once = Weights::once(self.predictions.cases.len());
        let (classes, omitted) = self.drawn(&once);
        let rates = self.curves(
            "roc",
            "ROC",
            ["false positive rate", "true positive rate"],
            &classes,
            omitted,
            |class| (roc(class, &once), auroc(class, &once)),
        );
        let precision = self.curves(
            "precision",
            "Precision and recall",
            ["recall", "precision"],
            &classes,
            omitted,
            |class| {
                (
                    precision_recall(class, &once),
                    average_precision(class, &once),
                )
            },
        );
        html! {
            (rates)
            (precision)
            @if let Some(chart) = self.calibration(&once) { (chart) }
            @if let Some(chart) = self.confusion(&once) { (chart) }
        }
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

    fn curves(
        &self,
        name: &str,
        title: &str,
        [x, y]: [&str; 2],
        classes: &[&Ranked],
        omitted: usize,
        curve: impl Fn(&Ranked) -> (Points, Option<f64>),
    ) -> Markup {
        let lines = classes.iter().filter_map(|class| {
            let (points, area) = curve(class);
            let points = points?.into_iter().map(|[x, y]| Point::new(x, y));
            Some(Line {
                name: format!("{} {:.3}", self.names[class.class()], area?),
                points: points.collect(),
                stroke: Stroke::Plain,
                ..Line::default()
            })
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
        plot::figure(&chart.caption, &chart.svg())
    }

    fn calibration(&self, once: &Weights) -> Option<Markup> {
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
            format!(" Expected calibration error: {ece:.3}.")
        });
        let points = bins
            .into_iter()
            .map(|(score, share, _)| Point::new(score, share));
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
        Some(plot::figure(&chart.caption, &chart.svg()))
    }

    /// The confusion matrix as a table, if it has more classes than there is room for numbers: a row for each pair
    /// of classes with cases.
    pub(super) fn pairs(&self) -> Option<Table> {
        let single = self.scored.single.as_ref()?;
        if self.names.len() <= MOST_NUMBERED {
            return None;
        }
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
            "Numbers of the matrix: cases by true class and class with the highest score, and their share of the cases of the true class. Pairs without cases are left out.".to_owned();
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

    fn confusion(&self, once: &Weights) -> Option<Markup> {
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
        Some(plot::figure(&chart.caption, &chart.svg()))
    }
}
