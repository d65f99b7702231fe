//! Tables of comparisons of backbones.

use std::collections::BTreeSet;

use common::counted;
use serde_json::{Map, Value};
use terminal::{Column, Grid, folded};

use super::{decimals, p_value};
use crate::compare::{Comparison, flatten, written};

/// One row per pair of backbones, with the settings that both have and those in which pairs of a probe differ.
pub fn comparisons(found: &[Comparison]) -> Grid {
    let protocols: BTreeSet<&str> = found.iter().map(|of| of.protocol.as_str()).collect();
    let is_chosen = |of: &Comparison| of.first[1] != of.second[1];
    let has_chosen = found.iter().any(is_chosen);
    let mut columns = vec![
        Column::key("dataset", 8),
        Column::key("probe", 7),
        Column::text("measure", 6),
        Column::key("first / second", 2),
    ];
    if has_chosen {
        let chosen = ["setting of first", "setting of second"];
        columns.extend(chosen.map(|header| Column::text(header, 12)));
    }
    columns.extend([
        Column::number("cases", 5),
        Column::number("value first", 3),
        Column::number("value second", 3),
        Column::number("difference", 0),
        Column::number("p", 4),
        Column::number("p (Holm)", 0),
        Column::number("p (Wilcoxon)", 9),
        Column::number("rank-biserial", 9),
        Column::number("accuracy difference", 9),
        Column::number("p (DeLong)", 10),
        Column::number("p (McNemar)", 11),
    ]);
    let rows = found.iter().map(|of| {
        let (tested, more) = (&of.tested, &of.tested.more);
        let mut probe = vec![of.probe.clone()];
        probe.extend(of_both(of));
        let options = differing(of, found);
        if !options.is_empty() {
            probe.push(format!("({})", options.join(" ")));
        }
        if protocols.len() > 1 {
            probe.push(of.protocol.clone());
        }
        let mut row = vec![
            of.dataset.clone(),
            probe.join(" "),
            measure(of.measure).into(),
            format!("{} / {}", of.first[0], of.second[0]),
        ];
        if has_chosen {
            let settings = [&of.first[1], &of.second[1]].map(String::clone);
            let none = [String::new(), String::new()];
            row.extend(if is_chosen(of) { settings } else { none });
        }
        row.extend([
            cases(of),
            with_recorded(of, 0),
            with_recorded(of, 1),
            with_bounds(tested.difference, tested.ci),
            p_value(tested.p),
            p_value(of.p_holm),
            p_value(more.p_wilcoxon),
            effect(more.rank_biserial, more.rank_biserial_ci),
            effect(more.accuracy_difference, more.accuracy_ci),
            p_value(p_delong(of)),
            p_value(more.p_mcnemar),
        ]);
        row
    });
    Grid::new(columns, rows)
}

/// The same as data: numbers as exact as they are, and blank cells for what does not apply.
pub fn comparison_values(found: &[Comparison]) -> Grid {
    let names = [
        "dataset",
        "probe",
        "protocol",
        "options",
        "measure",
        "first",
        "first_setting",
        "second",
        "second_setting",
        "unit",
        "method",
    ];
    let numbers = [
        "cases",
        "units",
        "first_value",
        "second_value",
        "first_recorded",
        "second_recorded",
        "difference",
        "difference_low",
        "difference_high",
        "level",
        "p",
        "p_holm",
        "p_wilcoxon",
        "rank_biserial",
        "rank_biserial_low",
        "rank_biserial_high",
        "accuracy_difference",
        "accuracy_difference_low",
        "accuracy_difference_high",
        "p_delong",
        "p_mcnemar",
    ];
    let columns = names.map(|name| Column::text(name, 0)).into_iter();
    let columns = columns.chain(numbers.map(|name| Column::number(name, 0)));
    let rows = found.iter().map(|of| {
        let (tested, more) = (&of.tested, &of.tested.more);
        let low = |ci: Option<[f64; 2]>| ci.map(|[low, _]| low);
        let high = |ci: Option<[f64; 2]>| ci.map(|[_, high]| high);
        let mut row = vec![
            of.dataset.clone(),
            of.probe.clone(),
            of.protocol.clone(),
            differing(of, found).join(" "),
            of.measure.to_owned(),
            of.first[0].clone(),
            of.first[1].clone(),
            of.second[0].clone(),
            of.second[1].clone(),
            tested.unit.to_owned(),
            tested.method.to_owned(),
            tested.cases.to_string(),
            tested.units.to_string(),
        ];
        let numbers = [
            tested.values[0],
            tested.values[1],
            tested.recorded[0],
            tested.recorded[1],
            tested.difference,
            low(tested.ci),
            high(tested.ci),
            tested.ci.map(|_| of.confidence.level),
            tested.p,
            of.p_holm,
            more.p_wilcoxon,
            more.rank_biserial,
            low(more.rank_biserial_ci),
            high(more.rank_biserial_ci),
            more.accuracy_difference,
            low(more.accuracy_ci),
            high(more.accuracy_ci),
            p_delong(of),
            more.p_mcnemar,
        ];
        row.extend(numbers.map(|number| number.map_or_else(String::new, |n| n.to_string())));
        row
    });
    Grid::new(columns.collect(), rows)
}

/// The p-value of DeLong's test, if the measure is the AUROC of a single class.
fn p_delong(of: &Comparison) -> Option<f64> {
    let of_classes = &of.tested.more.p_delong;
    let p = of_classes.values().next().filter(|_| of_classes.len() == 1);
    p.and_then(Value::as_f64)
}

/// The meaning of the columns, reasons why differences have no interval, and the number of tests that are corrected for.
pub fn meaning(found: &[Comparison]) -> Vec<String> {
    let tests = found.iter().filter(|of| of.p_holm.is_some()).count();
    let with_interval = found.iter().filter(|of| of.tested.ci.is_some());
    let methods: BTreeSet<&str> = with_interval.map(|of| of.tested.method).collect();
    let methods: Vec<&str> = methods.into_iter().collect();
    let mut difference = "difference: first less second".to_owned();
    if let (Some(of), false) = (found.first(), methods.is_empty()) {
        let level = 100.0 * of.confidence.level;
        difference += &format!(" with its {level}% interval ({})", methods.join("; "));
    }
    let reasons = found
        .iter()
        .filter_map(|of| of.tested.method.strip_prefix("none: "));
    let reasons: BTreeSet<&str> = reasons.collect();
    let mut lines = vec![difference];
    lines.extend(
        reasons
            .iter()
            .map(|reason| format!("no interval and no p: {reason}")),
    );
    if tests > 0 {
        let tests = counted(tests, "test");
        lines.push(format!(
            "p (Holm): p corrected for the {tests} of this table"
        ));
    }
    lines.iter().map(|line| folded(line, 2)).collect()
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

/// The setting that both have; `None` if each has its own, which was chosen on `val`.
fn of_both(of: &Comparison) -> Option<String> {
    let [[_, first], [_, second]] = [&of.first, &of.second];
    if first == second {
        return Some(first.clone());
    }
    // The head and the number of shots are not chosen.
    let words = first
        .split(' ')
        .filter(|word| second.split(' ').any(|other| other == *word));
    let words: Vec<&str> = words.collect();
    Some(words.join(" ")).filter(|words| !words.is_empty())
}

/// Options in which comparisons by a probe differ, as they are typed.
fn differing(of: &Comparison, all: &[Comparison]) -> Vec<String> {
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
        *name != "protocol" && others.iter().any(|other| other.get(*name) != Some(value))
    });
    let words = differing.filter_map(|(name, value)| written(name, value));
    // A grid of which the setting says what was taken.
    let setting = of_both(of).unwrap_or_default();
    // All folds together are named by their number.
    let folds = setting.strip_suffix(" folds");
    let folds = folds.map(|folds| format!("split=kfold:{folds}"));
    words
        .filter(|word| !setting.split(' ').any(|known| known == word))
        .filter(|word| Some(word) != folds.as_ref())
        .collect()
}
