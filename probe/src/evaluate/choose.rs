//! Choice of one linear model of a grid on `val`.

use cache::Split;
use serde_json::{Map, Value, json};

use super::fitted::{Choice, Fitted, best};
use super::linear_model::LinearModel;
use super::select::Select;
use super::task::Task;
use crate::Error;
use crate::metrics::measures::Scored;

/// A grid of settings, each of which gives a linear model.
pub(crate) trait Grid {
    /// A fitted model with its setting.
    type Model: Clone;
    /// Name of the chosen thing, for messages.
    const CHOSEN: &'static str;
    /// An option that may help if none can be chosen.
    const REMEDY: Option<&'static str> = None;

    /// Fits the models of all settings, or of setting number `only`, to a part of the examples.
    ///
    /// # Errors
    ///
    /// If none of the models can be used.
    fn fit(&self, part: &[usize], only: Option<usize>) -> Result<Vec<Self::Model>, Error>;

    /// Whether a model may be chosen.
    fn is_usable(&self, _model: &Self::Model) -> bool {
        true
    }

    /// Weights of a model.
    fn linear(&self, model: &Self::Model) -> LinearModel;

    /// Description of the chosen model, which was fitted again; `grid` are all models.
    fn report(&self, model: &Self::Model, grid: &[Self::Model]) -> Report;
}

/// Description of a chosen model.
pub(crate) struct Report {
    /// Short, for people: `C=1`.
    pub(crate) setting: String,
    pub(crate) params: Map<String, Value>,
    pub(crate) warnings: Vec<String>,
}

/// Fits the grid on `parts.train`, chooses the best model on `parts.val` (of equally good ones the
/// first), fits it again on `parts.fit`, and scores `parts.test`.
///
/// # Errors
///
/// [`Error::SelectAccuracy`], [`Error::EmptySplit`] without a `val`, [`Error::NoChoice`], and those of
/// [`Grid::fit`].
pub(crate) fn choose<G: Grid>(task: &Task<'_>, grid: &G, select: Select) -> Result<Fitted, Error> {
    let parts = &task.parts;
    select.check(task)?;
    if parts.val.is_empty() {
        return Err(task.examples.empty_split(&[Split::Val]));
    }
    let models = grid.fit(&parts.train, None)?;
    let mut scored = on_val(task, grid, &models)?;
    let undefined = task.settings.protocol.undefined_auroc();
    let measured = scored
        .iter()
        .map(|scored| select.of(scored.as_ref()?, undefined));
    let measured: Vec<Option<f64>> = measured.collect();
    let no_choice = || task.no_choice(G::CHOSEN, G::REMEDY);
    let chosen = best(&measured).ok_or_else(no_choice)?;
    let on_val = scored.swap_remove(chosen).ok_or_else(no_choice)?;
    let again = if parts.fit == parts.train {
        None
    } else {
        grid.fit(&parts.fit, Some(chosen))?.pop()
    };
    let model = again.unwrap_or_else(|| models[chosen].clone());
    let (thresholds, without) = match parts.chosen_on {
        Split::Val => task.thresholds(&on_val),
        _ => (None, None),
    };
    let on_test = (parts.chosen_on == Split::Test).then(|| format!("{} chosen on test", G::CHOSEN));
    let mut report = grid.report(&model, &models);
    let measure = format!("val_{}", select.measure());
    report.params.insert(measure, json!(measured[chosen]));
    let warnings = on_test.into_iter().chain(report.warnings).chain(without);
    let linear = grid.linear(&model);
    Ok(Fitted {
        setting: report.setting,
        params: report.params,
        scores: task.linear_scores(&linear, task.examples.plain(&parts.test).view()),
        n_train: parts.fit.len(),
        choice: Some(Choice {
            is_chosen: true,
            on: parts.chosen_on,
        }),
        warnings: warnings.collect(),
        head: Some(task.head(linear, thresholds.as_ref())),
        thresholds,
    })
}

/// The scores of each usable model on `val`.
fn on_val<G: Grid>(
    task: &Task<'_>,
    grid: &G,
    models: &[G::Model],
) -> Result<Vec<Option<Scored>>, Error> {
    let val = &task.parts.val;
    let features = task.examples.plain(val);
    let scored = models.iter().map(|model| {
        if !grid.is_usable(model) {
            return Ok(None);
        }
        let scores = task.linear_scores(&grid.linear(model), features.view());
        task.scored(val, scores).map(Some)
    });
    scored.collect()
}
