//! Probes fitted on whole splits.

use std::time::Instant;

use cache::CacheReader;

use super::evaluated::Evaluated;
use super::fitted::{Fitted, chosen};
use super::identity::Identity;
use super::parts::Parts;
use super::permuted::permuted;
use super::probe::Probe;
use super::settings::Settings;
use super::task::Task;
use crate::Error;
use crate::control::Control;
use crate::examples::Examples;
use crate::progress::Steps;

/// Evaluates a probe on a cache: one result per reported setting, or one result of all permutations of
/// the labels.
///
/// # Errors
///
/// Those of [`Examples::read`] and [`Probe::fit`], [`Error::EmptySplit`] if a part is empty, and
/// [`Error::OneClass`].
pub(crate) fn evaluate<P: Probe>(
    reader: &CacheReader,
    probe: &P,
    settings: &Settings,
    steps: &Steps<'_>,
) -> Result<Vec<Evaluated>, Error> {
    let start = Instant::now();
    let identity = probe.identity(reader, settings, None)?;
    steps.say("reading tokens");
    let mut examples = probe.examples(reader, settings)?;
    let mut evaluated = match settings.control {
        Some(Control::ShuffledLabels { permutations }) => {
            let bare = settings.without_intervals();
            vec![permuted(
                &mut examples,
                settings,
                permutations,
                steps,
                |examples, steps| {
                    let (task, fitted) = whole(reader, probe, &bare, &identity, examples, steps)?;
                    task.evaluated(P::NAME, chosen(fitted), None)
                },
            )?]
        }
        _ => {
            let (task, fitted) = whole(reader, probe, settings, &identity, &examples, steps)?;
            let confidence = settings.confidence.as_ref();
            let fitted = fitted.into_iter();
            let evaluated = fitted.map(|one| task.evaluated(P::NAME, one, confidence));
            evaluated.collect::<Result<_, Error>>()?
        }
    };
    for evaluated in &mut evaluated {
        evaluated.record.seconds = start.elapsed().as_secs_f64();
    }
    Ok(evaluated)
}

/// Fits a probe on whole splits.
fn whole<'a, P: Probe>(
    reader: &'a CacheReader,
    probe: &P,
    settings: &'a Settings,
    identity: &'a Identity,
    examples: &'a Examples,
    steps: &'a Steps<'a>,
) -> Result<(Task<'a>, Vec<Fitted>), Error> {
    let task = Task {
        reader,
        settings,
        identity,
        examples,
        parts: Parts::whole(examples, settings)?,
        steps,
    };
    task.check()?;
    let mut fitted = probe.fit(&task)?;
    let warnings = task.warnings();
    for fitted in &mut fitted {
        fitted.warnings.extend(warnings.iter().cloned());
    }
    Ok((task, fitted))
}
