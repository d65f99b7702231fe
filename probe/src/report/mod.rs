//! Reports: tables, figures and ranks of run records, as a page, Markdown, CSV and LaTeX.
//!
//! [`Study`] reads the records of a folder. [`Report`] makes [`Table`]s of them, which `render` writes in each
//! format, and the page.

mod cells;
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

use self::ranks::Ranking;
use std::path::Path;

use maud::Markup;

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
    retrieval: Option<Table>,
    learning: Option<Table>,
    made: Vec<Table>,
    figures: Option<Markup>,
    /// A part for each dataset.
    datasets: Option<Markup>,
    /// Tables of these parts.
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
            retrieval: retrieval::table(study),
            learning: learning::table(study),
            made: made::tables(study),
            figures: None,
            datasets: None,
            of_datasets: Vec::new(),
            complaints,
        }
    }

    /// Draws the figures of the page, and adds the pictures that records name and those of cases, from `caches`.
    pub fn draw(&mut self, caches: &Path) {
        let (tables, complaints) = (&mut self.of_datasets, &mut self.complaints);
        self.datasets = datasets::datasets(self.study, caches, tables, complaints);
        self.figures = figures::figures(self.study, &mut self.complaints);
    }

    /// Messages about what was left out.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// All tables, in the order of the page.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        let results = (!self.results.rows.is_empty()).then_some(&self.results);
        let first = self.of_study.iter().chain(&self.standings);
        let others = [&self.learning, &self.retrieval, &self.trust];
        let others = others.into_iter().flatten();
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
        for complaint in &self.complaints {
            text += &format!("- Left out: {}\n", common::text::markdown(complaint));
        }
        if self.study.records.is_empty() {
            text += &format!("{}\n\n```sh\n{}\n```\n", page::NOTHING, page::FIRST_STEPS);
        }
        text += "\n";
        text + &self.tables().map(markdown::table).collect::<String>()
    }

    /// All tables as LaTeX, for the packages `array`, `booktabs` and `longtable`.
    pub fn latex(&self) -> String {
        let first = "% \\usepackage{array,booktabs,longtable}\n\n";
        first.to_owned() + &self.tables().map(latex::table).collect::<String>()
    }

    /// Each table as CSV, with its name.
    pub fn csv(&self) -> impl Iterator<Item = (&str, String)> {
        self.tables()
            .map(|table| (table.id.as_str(), csv::table(table)))
    }

    /// The table of all results as CSV.
    pub fn csv_of_results(&self) -> String {
        csv::table(&self.results)
    }
}
