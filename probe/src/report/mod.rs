//! Reports: tables, figures and ranks of run records, as a page, Markdown, CSV and LaTeX.
//!
//! [`Study`] reads the records of a folder. [`Report`] makes [`Table`]s of them, which `render` writes in each
//! format, and the page.

mod alike;
mod cells;
mod chart;
mod costs;
mod datasets;
mod figures;
mod learning;
mod made;
mod page;
mod pictures;
mod published;
mod ranks;
mod read;
mod render;
mod resampled;
mod results;
mod retrieval;
mod study_tables;
mod table;
mod trust;

use std::path::Path;

use maud::Markup;

use self::chart::Chart;
pub use self::page::FIRST_STEPS;
use self::ranks::Ranking;
pub use self::read::Study;
use self::render::{csv, latex, markdown};
use self::resampled::Resampled;
pub use self::table::{Cell, Column, Figure, Table};

/// A report of the records of a folder.
#[derive(Debug)]
pub struct Report<'a> {
    study: &'a Study,
    /// Tables of the reference study.
    of_study: Vec<Table>,
    rankings: Vec<Ranking>,
    /// Standings of the rankings.
    standings: Vec<Table>,
    results: Table,
    /// What else the embeddings know.
    trust: Option<Table>,
    /// What training a backbone gives and costs.
    trained: Option<Table>,
    retrieval: Option<Table>,
    learning: Option<Table>,
    learning_curves: Vec<Chart>,
    made: Vec<Table>,
    figures: Vec<Chart>,
    /// Pictures of records that are of no dataset's results.
    pictures: Option<Markup>,
    /// A part for each dataset.
    datasets: Option<Markup>,
    /// Numbers of the figures of rankings and datasets.
    of_rankings: Vec<Table>,
    of_datasets: Vec<Table>,
    /// Messages about records that could not be tested, or be shown in full.
    complaints: Vec<String>,
}

impl<'a> Report<'a> {
    /// Computes the tables. Tests and ranks draw patients `draws` times.
    pub fn of(study: &'a Study, draws: usize) -> Report<'a> {
        let resampled = Resampled::of(study, draws);
        let complaints = [study.complaints.clone(), resampled.complaints.clone()].concat();
        let rankings = ranks::rankings(study, &resampled, draws);
        Report {
            study,
            of_study: study_tables::tables(study, &resampled),
            standings: rankings.iter().map(Ranking::table).collect(),
            rankings,
            results: results::table(study),
            trust: trust::table(study),
            trained: costs::table(study),
            retrieval: retrieval::table(study),
            learning: learning::table(study),
            learning_curves: Vec::new(),
            made: made::tables(study),
            figures: Vec::new(),
            pictures: None,
            datasets: None,
            of_rankings: Vec::new(),
            of_datasets: Vec::new(),
            complaints,
        }
    }

    /// Draws the figures, and makes tables of their numbers. The pictures that records name, and those of cases from
    /// `caches`, are added if there is such a folder; without it, the report has no pictures.
    pub fn draw(&mut self, caches: Option<&Path>) {
        let complaints = &mut self.complaints;
        self.figures = figures::figures(self.study);
        self.learning_curves = learning::charts(self.study);
        self.of_rankings = self.rankings.iter().flat_map(Ranking::numbers).collect();
        let datasets = datasets::datasets(self.study, caches, complaints);
        let (datasets, of_datasets) = datasets.unzip();
        self.datasets = datasets;
        self.of_datasets = of_datasets.unwrap_or_default();
        self.pictures = caches.and_then(|_| pictures::of_others(self.study, complaints));
    }

    /// Messages about what was left out.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// The messages about what was left out, each on one line.
    fn left_out(&self) -> impl Iterator<Item = String> {
        let lines = |text: &String| text.replace("\nhint: ", "; ").replace('\n', " ");
        self.complaints.iter().map(lines)
    }

    /// All tables, in the order of the page.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        let results = (!self.results.rows.is_empty()).then_some(&self.results);
        let ranks = self.standings.iter().chain(&self.of_rankings);
        let first = self
            .of_study
            .iter()
            .chain(numbers(&self.figures))
            .chain(ranks);
        let learning = self.learning.iter().chain(numbers(&self.learning_curves));
        let others = self.retrieval.iter().chain(&self.trust);
        let others = self.trained.iter().chain(learning).chain(others);
        let others = self.of_datasets.iter().chain(others);
        first.chain(others).chain(results).chain(&self.made)
    }

    /// A page that needs no other file; figures and pictures come from [`Report::draw`].
    pub fn html(&self) -> String {
        page::page(self)
    }

    /// All tables as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# {}\n\n{}\n\n",
            page::TITLE,
            common::text::markdown(&page::summary(self.study))
        );
        for complaint in self.left_out() {
            text += &format!("- Left out: {}\n", common::text::markdown(&complaint));
        }
        if self.study.records.is_empty() {
            text += &format!("{}\n\n```sh\n{}\n```\n", page::NOTHING, page::FIRST_STEPS);
        }
        text += "\n";
        text + &self.tables().map(markdown::table).collect::<String>()
    }

    /// All tables as LaTeX, for the packages `array`, `booktabs` and `longtable`.
    pub fn latex(&self) -> String {
        let mut text = "% \\usepackage{array,booktabs,longtable}\n".to_owned();
        for complaint in self.left_out() {
            text += &latex::comment(&format!("Left out: {complaint}"));
        }
        if self.study.records.is_empty() {
            text += &latex::comment(page::NOTHING);
            text += &latex::comment(page::FIRST_STEPS);
        }
        text += "\n";
        text + &self.tables().map(latex::table).collect::<String>()
    }

    /// Each table as CSV, with a name for its file: letters, digits and hyphens.
    pub fn csv(&self) -> impl Iterator<Item = (String, String)> {
        self.tables()
            .map(|table| (render::html::id(&table.id), csv::table(table)))
    }

    /// The table of all results as CSV.
    pub fn csv_of_results(&self) -> String {
        csv::table(&self.results)
    }
}

/// The numbers of charts.
fn numbers(charts: &[Chart]) -> impl Iterator<Item = &Table> {
    charts.iter().map(|chart| &chart.numbers)
}
