//! Options in messages as the keys of a study's file.

/// A message in which options between backticks are written as a study has them: `` `split = "main"` `` for
/// `` `--split main` ``. Whole commands stay as they are.
pub(super) fn as_keys(message: &str, options: &[String]) -> String {
    let parts = message.split('`').enumerate().map(|(at, part)| {
        let key = Some(part).filter(|_| at % 2 == 1);
        let key = key.and_then(|part| key_of(part, options));
        key.unwrap_or_else(|| part.to_owned())
    });
    parts.collect::<Vec<_>>().join("`")
}

/// `k = 5` of `--k 5`, and the name of an option without a value; `None` if it is no option.
fn key_of(part: &str, options: &[String]) -> Option<String> {
    let (name, value) = match part.strip_prefix("--")?.split_once([' ', '=']) {
        Some((name, value)) => (name, value),
        None => (part.strip_prefix("--")?, ""),
    };
    let is_known = options.iter().any(|option| option == name);
    if !is_known || value.contains(" --") {
        return None;
    }
    Some(match value {
        "" => name.to_owned(),
        value if value.parse::<f64>().is_ok() => format!("{name} = {value}"),
        value => format!("{name} = \"{value}\""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_keys_and_commands_stay() {
        let options = ["split", "k", "per-patient"].map(str::to_owned);
        let text = "`--k 5000` exceeds\nhint: `extract split --name main`, and give `--split main` or `--per-patient`; `--other 1` stays";
        let expected = "`k = 5000` exceeds\nhint: `extract split --name main`, and give `split = \"main\"` or `per-patient`; `--other 1` stays";
        assert_eq!(as_keys(text, &options), expected);
    }
}
