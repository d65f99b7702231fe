//! Tables of comparisons of backbones.

use serde_json::{Map, Value};
use terminal::{Column, Grid};

use super::{decimals, p_value};
use crate::evaluate::{Comparison, flatten, short};

/// One row per pair of backbones, with the settings in which pairs of a probe differ.
pub fn comparisons(found: &[Comparison]) -> Grid {
    let columns = vec![
        Column::text("dataset", 0),
        Column::text("probe", 2),
        Column::text("protocol", 6),
        Column::text("setting", 3),
        Column::text("first", 0),
        Column::text("second", 0),
        Column::number("cases", 5),
        Column::number("AUROC first", 1),
        Column::number("AUROC second", 1),
        Column::number("difference", 0),
        Column::number("p (bootstrap)", 0),
        Column::number("p (DeLong)", 7),
        Column::number("p (McNemar)", 8),
    ];
    let rows = found.iter().map(|of| {
        let [first, second] = [&of.first, &of.second].map(|[backbone, _]| backbone.clone());
        let difference = match of.ci {
            Some([low, high]) => {
                format!("{} [{low:.3}, {high:.3}]", decimals(of.difference, 4))
            }
            None => decimals(of.difference, 4),
        };
        let delong = match of.p_delong.len() {
            1 => of.p_delong.values().next().and_then(Value::as_f64),
            _ => None,
        };
        let [auroc, other] = [0, 1].map(|i| with_recorded(of, i));
        vec![
            of.dataset.clone(),
            of.probe.clone(),
            of.protocol.clone(),
            setting_of_both(of, found),
            first,
            second,
            of.cases.to_string(),
            auroc,
            other,
            difference,
            p_value(of.p_bootstrap),
            p_value(delong),
            p_value(of.p_mcnemar),
        ]
    });
    Grid::new(columns, rows)
}

/// The macro AUROC over defined classes, and the recorded one where the protocol makes it another.
fn with_recorded(of: &Comparison, which: usize) -> String {
    let [found, recorded] =
        [of.auroc_macro, of.recorded_auroc_macro].map(|both| decimals(both[which], 4));
    if found == recorded {
        found
    } else {
        format!("{found} (recorded {recorded})")
    }
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
    let alike = all.iter().filter(|other| other.probe == of.probe);
    let others: Vec<Map<String, Value>> = alike.map(flat).collect();
    let differing = own.iter().filter(|(name, value)| {
        *name != "protocol" && others.iter().any(|other| other.get(*name) != Some(value))
    });
    let differing = differing.map(|(name, value)| format!(" {name}={}", short(value)));
    both + &differing.collect::<String>()
}
