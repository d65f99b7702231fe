//! Settings of records as people write them.

use serde_json::{Map, Value};

/// Options whose names differ from those of the recorded settings.
const OPTIONS: [(&str, &str); 6] = [
    ("ks", "k"),
    ("learning_rates", "lr"),
    ("alphas", "alpha"),
    ("cs", "C"),
    ("split_name", "split"),
    ("fit", "train"),
];

/// Numbers in a list from which on only its ends are written.
const LONG: usize = 10;

/// Nested settings under names with dots, without those of intervals.
pub(crate) fn flatten(prefix: &str, settings: &Map<String, Value>, into: &mut Map<String, Value>) {
    for (name, value) in settings.iter().filter(|(name, _)| *name != "confidence") {
        match value {
            Value::Object(inner) => flatten(&format!("{prefix}{name}."), inner, into),
            value => drop(into.insert(format!("{prefix}{name}"), value.clone())),
        }
    }
}

/// The option of a flat setting: `shots` of `few_shot.shots`.
pub(crate) fn option(setting: &str) -> String {
    let last = setting.rsplit('.').next().unwrap_or(setting);
    let known = OPTIONS.iter().find(|(name, _)| *name == last);
    known.map_or_else(|| last.replace('_', "-"), |(_, option)| (*option).into())
}

/// The value of a setting: `1,2,4,all`, `train+val`, of a long list of numbers its ends. `None` for values that mean that
/// an option is not given.
pub(crate) fn value(setting: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some("true".into()),
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(match number.as_f64() {
            // Values in f32 are recorded as f64.
            Some(value) if f64::from(value as f32) == value => (value as f32).to_string(),
            _ => number.to_string(),
        }),
        Value::Array(values) if values.is_empty() => None,
        Value::Array(values) => {
            // A missing number of shots stands for all.
            let word = |of: &Value| self::value(setting, of).unwrap_or_else(|| "all".into());
            let words: Vec<String> = values.iter().map(word).collect();
            let between = if setting == "fit" { "+" } else { "," };
            Some(match &words[..] {
                [first, .., last] if words.len() > LONG && values[0].is_number() => {
                    format!("{first},…,{last}")
                }
                _ => words.join(between),
            })
        }
        Value::Object(_) => Some(value.to_string()),
    }
}

/// `option=value`, of a flag its name; `None` if it is not given.
pub(crate) fn written(setting: &str, found: &Value) -> Option<String> {
    let (option, value) = (option(setting), value(setting, found)?);
    Some(match found {
        Value::Bool(true) => option,
        _ => format!("{option}={value}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_written_as_options_are_typed() {
        for (setting, found, expected) in [
            (
                "few_shot.shots",
                json!([1, 2, 4, null]),
                Some("shots=1,2,4,all"),
            ),
            ("ks", json!([1]), Some("k=1")),
            (
                "learning_rates",
                json!([0.1_f32, 0.05_f32]),
                Some("lr=0.1,0.05"),
            ),
            ("fit", json!(["train", "val"]), Some("train=train+val")),
            ("fit", json!([]), None),
            ("control", Value::Null, None),
            (
                "control",
                json!("shuffled-labels"),
                Some("control=shuffled-labels"),
            ),
            ("per_patient", json!(true), Some("per-patient")),
            ("per_patient", json!(false), None),
            (
                "alphas",
                json!((1..=12).collect::<Vec<u32>>()),
                Some("alpha=1,…,12"),
            ),
            (
                "vote.softmax.temperature",
                json!(0.07),
                Some("temperature=0.07"),
            ),
        ] {
            assert_eq!(written(setting, &found).as_deref(), expected, "{setting}");
        }
    }
}
