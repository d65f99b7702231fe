//! Tables of comparisons of backbones.

use std::collections::BTreeSet;

use common::counted;
use serde_json::{Map, Value};
use terminal::{Column, Grid};

use super::{decimals, p_value};
use crate::compare::{Comparison, brief, flatten};

/// One row per pair of backbones, with the settings in which pairs of a probe differ.
pub fn comparisons(found: &[Comparison]) -> Grid {
    let columns = vec![
        Column::key("dataset", 1),
        Column::key("probe", 2),
        Column::key("protocol", 6),
        Column::key("setting", 3),
        Column::text("measure", 4),
        Column::key("first", 0),
        Column::key("second", 0),
        Column::number("cases", 5),
        Column::number("value first", 1),
        Column::number("value second", 1),
        Column::number("difference", 0),
        Column::number("p", 2),
        Column::number("p (Holm)", 0),
        Column::number("p (Wilcoxon)", 7),
        Column::number("rank-biserial", 7),
        Column::number("accuracy difference", 7),
        Column::number("p (DeLong)", 8),
        Column::number("p (McNemar)", 9),
    ];
    let rows = found.iter().map(|of| {
        let [first, second] = [&of.first, &of.second].map(|[backbone, _]| backbone.clone());
        let (tested, more) = (&of.tested, &of.tested.more);
        let delong = match more.p_delong.len() {
            1 => more.p_delong.values().next().and_then(Value::as_f64),
            _ => None,
        };
        let [value, other] = [0, 1].map(|i| with_recorded(of, i));
        vec![
            of.dataset.clone(),
            of.probe.clone(),
            of.protocol.clone(),
            setting_of_both(of, found),
            measure(of.measure).into(),
            first,
            second,
            cases(of),
            value,
            other,
            with_bounds(tested.difference, tested.ci),
            p_value(tested.p),
            p_value(of.p_holm),
            p_value(more.p_wilcoxon),
            effect(more.rank_biserial, more.rank_biserial_ci),
            effect(more.accuracy_difference, more.accuracy_ci),
            p_value(delong),
            p_value(more.p_mcnemar),
        ]
    });
    Grid::new(columns, rows)
}

/// The meaning of the columns, and the number of tests that are corrected for.
pub fn meaning(found: &[Comparison]) -> [String; 2] {
    let tests = found.iter().filter(|of| of.p_holm.is_some()).count();
    let with_interval = found.iter().filter(|of| of.tested.ci.is_some());
    let methods: BTreeSet<&str> = with_interval.map(|of| of.tested.method).collect();
    let methods: Vec<&str> = methods.into_iter().collect();
    let mut difference = "difference: first less second".to_owned();
    if let (Some(of), false) = (found.first(), methods.is_empty()) {
        let level = 100.0 * of.confidence.level;
        difference += &format!(" with its {level}% interval ({})", methods.join("; "));
    }
    let tests = counted(tests, "test");
    let holm = format!("p (Holm): p corrected for the {tests} of this table");
    [difference, holm]
}

/// What is compared, in words.
fn measure(name: &str) -> &str {
    match name {
        "auroc_macro" => "AUROC",
        "dice_macro" => "Dice",
        "dice_pooled" => "Dice (pooled)",
        other => other,
    }
}

/// Cases, and the number of draws that a mean is of.
fn cases(of: &Comparison) -> String {
    let tested = &of.tested;
    if tested.unit == "draw" {
        format!("{} ({})", tested.cases, counted(tested.units, "draw"))
    } else {
        tested.cases.to_string()
    }
}

/// An effect that may not apply.
fn effect(value: Option<f64>, ci: Option<[f64; 2]>) -> String {
    value.map_or_else(|| "-".into(), |value| with_bounds(Some(value), ci))
}

fn with_bounds(value: Option<f64>, ci: Option<[f64; 2]>) -> String {
    match ci {
        Some([low, high]) => format!("{} [{low:.3}, {high:.3}]", decimals(value, 4)),
        None => decimals(value, 4),
    }
}

/// The measure over defined classes, and the recorded one where the protocol makes it another.
fn with_recorded(of: &Comparison, which: usize) -> String {
    let [found, recorded] =
        [of.tested.values, of.tested.recorded].map(|both| decimals(both[which], 4));
    if found == recorded {
        found
    } else {
        format!("{found} (recorded {recorded})")
    }
}

/// The head of a comparison of few shots: `logreg` of `logreg shots=4`.
fn head(of: &Comparison) -> Option<&str> {
    let [_, setting] = &of.first;
    setting.split(' ').next().filter(|_| of.probe == "few-shot")
}

/// The setting of both, or each one's, and other settings in which comparisons by the probe differ.
fn setting_of_both(of: &Comparison, all: &[Comparison]) -> String {
    let [[_, first], [_, second]] = [&of.first, &of.second];
    let both = if first == second {
        first.clone()
    } else {
        format!("{first} / {second}")
    };
    let flat = |of: &Comparison| {
        let mut flat = Map::new();
        flatten("", &of.settings, &mut flat);
        flat
    };
    let own = flat(of);
    // Heads of few shots have options of their own.
    let alike = all
        .iter()
        .filter(|other| other.probe == of.probe && head(other) == head(of));
    let others: Vec<Map<String, Value>> = alike.map(flat).collect();
    let differing = own.iter().filter(|(name, value)| {
        *name != "protocol"
            && !value.is_null()
            && others.iter().any(|other| other.get(*name) != Some(value))
    });
    let differing = differing.map(|(name, value)| format!(" {name}={}", brief(value)));
    both + &differing.collect::<String>()
}
