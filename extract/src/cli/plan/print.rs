//! Printing of plans.

use cache::Tokens;
use common::counted;
use common::disk::size;
use common::text::printable;
use serde_json::{Value, json};
use terminal::{folded, markdown};

use super::super::{TableFormat, grid, print_line};
use super::{Pair, PlanArgs};
use crate::extraction::{Burst, Forecast};

/// Columns with the ranks by which they may be left out.
const COLUMNS: [(&str, u8); 16] = [
    ("dataset", 0),
    ("model", 0),
    ("tokens", 2),
    ("device", 6),
    ("slices", 0),
    ("cls", 7),
    ("mean", 8),
    ("patch", 5),
    ("residual", 5),
    ("mask", 9),
    ("picture", 10),
    ("all", 0),
    ("free", 4),
    ("slices/s", 1),
    ("hours", 0),
    ("memory", 3),
];

/// Number of the first column that is aligned to the right.
const FIRST_NUMBER: usize = 4;

/// Columns of the table as data: keys of the JSON object, and of its tables.
const DATA: [&str; 20] = [
    "dataset",
    "model",
    "tokens",
    "device",
    "slices_found",
    "not_measured",
    "error",
    "slices",
    "cls",
    "mean",
    "patch",
    "residual",
    "mask",
    "picture",
    "bytes",
    "bytes_there",
    "bytes_free",
    "slices_per_second",
    "hours",
    "peak_memory_bytes",
];

/// Number of the columns of text among them.
const TEXTS: usize = 7;

/// A row of the table as data; blank where there is no value.
fn values(pair: &Value) -> Vec<String> {
    let cell = |name: &&str| match pair.get(*name).or(pair["tables"].get(*name)) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    DATA.iter().map(cell).collect()
}

/// Prints a line for each pair, and notes and the sum below; as CSV and JSON what a program needs of each pair.
pub(super) fn show(pairs: &[Pair], args: &PlanArgs) -> anyhow::Result<()> {
    let rows = pairs.iter().map(|pair| values(&json(pair)));
    let data = grid(
        DATA.map(|name| (name, 0)).into_iter(),
        rows.collect(),
        TEXTS,
    );
    match (args.format, args.format.of(&data, args.wide)?) {
        (TableFormat::Csv, Some(data)) => return Ok(print_line(&data)?),
        (_, None) => {
            return pairs
                .iter()
                .try_for_each(|pair| Ok(print_line(&json(pair).to_string())?));
        }
        _ => {}
    }
    // Paragraphs of Markdown are apart.
    let is_markdown = args.format == TableFormat::Markdown;
    let paragraph = |text: &str| {
        let text = if is_markdown {
            format!("\n{}", markdown(text))
        } else {
            folded_lines(text)
        };
        print_line(&text)
    };
    let known = pairs
        .iter()
        .filter_map(|pair| Some((pair, pair.forecast.as_ref().ok()?)));
    let known: Vec<_> = known.collect();
    let rows = known
        .iter()
        .map(|(pair, forecast)| cells(pair, forecast))
        .collect();
    if !known.is_empty() {
        let table = grid(COLUMNS.into_iter(), rows, FIRST_NUMBER);
        print_line(&args.format.of(&table, args.wide)?.unwrap_or_default())?;
    }
    for note in notes(pairs) {
        paragraph(&note)?;
    }
    if known.is_empty() {
        return Ok(());
    }
    let forecasts = || known.iter().map(|(_, forecast)| forecast);
    let bytes: u64 = forecasts()
        .map(|f| f.bytes().saturating_sub(f.there.0))
        .sum();
    let hours: Option<f64> = forecasts().map(|forecast| forecast.hours()).sum();
    let hours = hours.map_or("unknown hours".to_owned(), |hours| {
        format!("{} h", rounded(hours))
    });
    let free = forecasts().find_map(|forecast| forecast.free);
    let mut all = format!("to write: {} in {hours}", size(bytes));
    if let Some(free) = free {
        all += &format!("; {} free", size(free));
        if free < bytes {
            all += ", which is too little";
        }
    }
    Ok(paragraph(&all)?)
}

fn folded_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| folded(line, 2)).collect();
    lines.join("\n")
}

fn cells(pair: &Pair, forecast: &Forecast) -> Vec<String> {
    let of = |table: &str| {
        let found = forecast.tables.iter().find(|(name, _)| *name == table);
        found.map_or("-".to_owned(), |(_, bytes)| size(*bytes))
    };
    let burst = forecast.burst.as_ref().ok();
    let known = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        pair.dataset.clone(),
        pair.model.clone(),
        tokens(forecast).to_owned(),
        known(burst.map(|burst| burst.device.clone())),
        forecast.slices.rows.to_string(),
        of("cls"),
        of("mean"),
        of("patch"),
        of("residual"),
        of("mask"),
        of("picture"),
        size(forecast.bytes()),
        known(forecast.free.map(size)),
        known(burst.map(|burst| rounded(1.0 / burst.seconds))),
        known(forecast.hours().map(rounded)),
        known(burst.and_then(|burst| burst.memory).map(size)),
    ]
}

fn tokens(forecast: &Forecast) -> &'static str {
    match forecast.tokens {
        Tokens::Cls => "cls",
        Tokens::All => "all",
        Tokens::Residual => "residual",
    }
}

/// Three digits.
fn rounded(number: f64) -> String {
    let digits = match number {
        n if n < 0.0995 => 3,
        n if n < 9.95 => 2,
        n if n < 99.5 => 1,
        _ => 0,
    };
    format!("{number:.digits$}")
}

/// Notes on the counting of slices, the measured batches and failures.
fn notes(pairs: &[Pair]) -> Vec<String> {
    let mut notes = Vec::new();
    for pair in pairs {
        let (dataset, model) = (printable(&pair.dataset), printable(&pair.model));
        match &pair.forecast {
            Err(error) => notes.push(format!(
                "{dataset}, {model}: {}",
                error.replace('\n', "\n  ")
            )),
            Ok(forecast) => {
                let note = format!("{dataset}: slices {}", forecast.slices.how);
                if !notes.contains(&note) {
                    notes.push(note);
                }
                notes.push(match &forecast.burst {
                    Err(reason) => format!("{dataset}, {model}: not measured: {reason}"),
                    Ok(Burst { batch_size, embedding, reading, .. }) => format!(
                        "{dataset}, {model}: batches of {batch_size}, per slice {embedding:.4} s in the backbone and {reading:.4} s of one thread to read and prepare",
                    ),
                });
                if forecast.there.1 > 0 {
                    let (bytes, rows) =
                        (size(forecast.there.0), counted(forecast.there.1, "slice"));
                    notes.push(format!(
                        "{dataset}, {model}: {rows}, {bytes}, are in the cache already"
                    ));
                }
            }
        }
    }
    notes
}

fn json(pair: &Pair) -> Value {
    let forecast = match &pair.forecast {
        Ok(forecast) => forecast,
        Err(error) => {
            return json!({"dataset": pair.dataset, "model": pair.model, "error": error});
        }
    };
    let tables: serde_json::Map<_, _> = forecast
        .tables
        .iter()
        .map(|(table, bytes)| ((*table).to_owned(), json!(bytes)))
        .collect();
    let burst = forecast.burst.as_ref();
    json!({
        "dataset": pair.dataset,
        "model": pair.model,
        "tokens": tokens(forecast),
        "slices": forecast.slices.rows,
        "slices_found": forecast.slices.how,
        "tables": tables,
        "bytes": forecast.bytes(),
        "bytes_there": forecast.there.0,
        "slices_there": forecast.there.1,
        "bytes_free": forecast.free,
        "device": burst.ok().map(|burst| &burst.device),
        "batch_size": burst.ok().map(|burst| burst.batch_size),
        "slices_per_second": burst.ok().map(|burst| 1.0 / burst.seconds),
        "hours": forecast.hours(),
        "peak_memory_bytes": burst.ok().and_then(|burst| burst.memory),
        "not_measured": burst.err(),
    })
}
