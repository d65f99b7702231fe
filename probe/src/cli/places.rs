//! The places of results, as commands print them at their end.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use common::text::printable;

use crate::record::RunRecord;

/// Maximum number of runs or files of a kind that are listed.
const LISTED: usize = 3;

/// Prints where the records, scores, heads and pictures of runs are.
pub(super) fn tell(
    runs: &Path,
    records: &[RunRecord],
    messages: &mut impl Write,
) -> io::Result<()> {
    let below = |file: &String| runs.join(file).display().to_string();
    let files = |of: fn(&RunRecord) -> Option<&String>| -> Vec<String> {
        records.iter().filter_map(of).map(below).collect()
    };
    let mut probes: Vec<String> = records
        .iter()
        .map(|record| format!("{}.jsonl", record.probe))
        .collect();
    probes.dedup();
    let maps = records
        .iter()
        .filter_map(|record| record.params.get("label_maps")?.as_str());
    let of_params = |name: &str| -> Vec<String> {
        let files = records
            .iter()
            .filter_map(|record| record.params.get(name)?.as_str());
        files.map(|file| below(&file.to_owned())).collect()
    };
    let pictures = records
        .iter()
        .flat_map(|record| &record.pictures)
        .map(below);
    let lines = [
        ("records", probes.iter().map(below).collect()),
        (
            "runs",
            records
                .iter()
                .map(|record| record.run().to_owned())
                .collect(),
        ),
        ("scores", files(|record| record.predictions.as_ref())),
        ("heads", files(|record| record.head.as_ref())),
        ("label maps", maps.map(str::to_owned).collect()),
        ("pictures", pictures.collect()),
        ("pages", of_params("page")),
        ("tables", of_params("table")),
    ];
    for (what, places) in lines {
        let mut what = what;
        for place in listed(places) {
            writeln!(messages, "{what:<10}  {}", printable(&place))?;
            what = "";
        }
    }
    Ok(())
}

/// The first places, each once, and the number of the others.
fn listed(places: Vec<String>) -> Vec<String> {
    let mut known = BTreeSet::new();
    let mut places: Vec<String> = places
        .into_iter()
        .filter(|place| known.insert(place.clone()))
        .collect();
    let more = places.len().saturating_sub(LISTED);
    if more > 0 {
        places.truncate(LISTED);
        places.push(format!("and {more} more"));
    }
    places
}
