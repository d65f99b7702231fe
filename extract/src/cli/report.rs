//! Cards and findings as text.

use std::fmt::Write;

use cache::{Split, Task};
use common::counted;
use common::text::{printable, shown};
use terminal::folded;

use super::table;
use crate::dataset::DatasetCard;
use crate::inspect::{Findings, Problem, SPLITS};

/// Number of places that a problem lists.
const PLACES: usize = 10;

/// A card in a few lines.
pub(super) fn entry(card: &DatasetCard) -> String {
    let mut text = folded(&format!("{}: {}", card.name, card.title), 2);
    let facts = [&card.modality, &card.size, &card.licence];
    let facts: Vec<&str> = facts
        .map(String::as_str)
        .into_iter()
        .filter(|f| !f.is_empty())
        .collect();
    for line in [&card.task, &facts.join(" · "), &card.source] {
        if !line.is_empty() {
            text += &format!("\n{}", folded(&format!("  {}", printable(line)), 4));
        }
    }
    text
}

/// A card in full.
pub(super) fn card(card: &DatasetCard) -> String {
    let title = match card.title.as_str() {
        "" => printable(&card.name).into_owned(),
        title => printable(&format!("{}: {title}", card.name)).into_owned(),
    };
    let mut text = folded(&title, 2) + "\n";
    let facts = [
        ("task", &card.task),
        ("modality", &card.modality),
        ("licence", &card.licence),
        ("size", &card.size),
        ("source", &card.source),
        ("layout", &card.layout),
        ("classes", &card.classes.join(", ")),
        ("in masks", &mask_classes(card)),
    ];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        let line = format!("{name:<9} {}", printable(value));
        text += &format!("{}\n", folded(&line, 10));
    }
    if !card.tree.is_empty() {
        text += &format!("\nfiles, unpacked:\n{}", indented(card.tree.trim_end()));
    }
    if !card.recipe.is_empty() {
        text += "\nrecipes:\n";
    }
    for (name, recipe) in &card.recipe {
        let line = format!(
            "  {:<9} intensity {}, slicing {}, rescale {}, normalise {}, split {}",
            printable(name),
            recipe.intensity,
            recipe.slicing,
            word(&recipe.rescale),
            word(&recipe.normalise),
            recipe.split.clone().unwrap_or_default()
        );
        text += &format!("{}\n", folded(&line, 12));
    }
    text.trim_end().to_owned()
}

fn mask_classes(card: &DatasetCard) -> String {
    let classes = card.mask_classes.iter();
    let classes = classes.map(|class| format!("{} {}", class.value, class.name));
    classes.collect::<Vec<_>>().join(", ")
}

/// The word for a setting in files.
fn word(setting: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(setting).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// Contents and problems of a download, with hints.
pub(super) fn findings(findings: &Findings, problems: &[Problem]) -> String {
    let mut text = section("found", &found(findings));
    let places = |is_lack: bool| {
        let problems = problems.iter().filter(|problem| problem.is_lack == is_lack);
        problems.map(problem).collect::<String>()
    };
    text += &section("missing", &places(true));
    text += &section("problems", &places(false));
    text += &section("notes", &notes(findings));
    let hints = problems.iter().map(|problem| format!("{}\n", problem.hint));
    text += &section("what to do", &hints.collect::<String>());
    if problems.is_empty() {
        text += "no problems\n";
    }
    text.trim_end().to_owned()
}

fn section(title: &str, lines: &str) -> String {
    if lines.is_empty() {
        String::new()
    } else {
        format!("{title}\n{}\n", indented(lines.trim_end()))
    }
}

fn indented(lines: &str) -> String {
    // Lists go on with more spaces than they begin with.
    let folded = |line: &str| {
        let spaces = line.len() - line.trim_start_matches(' ').len();
        folded(line, spaces + 2)
    };
    let lines = lines.lines().map(|line| folded(&format!("  {line}")));
    lines
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

fn found(findings: &Findings) -> String {
    let Findings {
        dataset,
        root,
        samples,
        patients,
        ..
    } = findings;
    let mut text = format!("`{}` in `{}`\n", printable(dataset), shown(root));
    text += &format!(
        "{} of {}, ",
        counted(*samples, "sample"),
        counted(findings.files.count, "file")
    );
    text += &match findings.without_patient {
        0 => counted(*patients, "patient") + "\n",
        unknown if unknown == *samples => "unknown patients\n".to_owned(),
        unknown => format!(
            "{}, and {} without a patient\n",
            counted(*patients, "patient"),
            counted(unknown, "sample")
        ),
    };
    text += &counted(findings.read, "sample");
    text += &match findings.unreadable.len() {
        0 => " read without errors".to_owned(),
        bad => format!(" read, {bad} unreadable"),
    };
    text += if findings.read < *samples {
        " (`--pixels` reads all)\n\n"
    } else {
        "\n\n"
    };
    text += &match findings.rule_error {
        None => format!("split by `{}`\n", shown(&findings.rule.to_string())),
        Some(_) => format!(
            "official split, not `{}`\n",
            shown(&findings.rule.to_string())
        ),
    };
    text += &format!("{}\n\n", splits(findings));
    text += &classes(findings);
    text
}

fn name_of(split: Option<Split>) -> &'static str {
    split.map_or("none", Split::name)
}

fn splits(findings: &Findings) -> String {
    let columns = if findings.patients > 0 { 3 } else { 2 };
    let rows = findings.splits.iter().map(|count| {
        let name = name_of(count.split).to_owned();
        let row = [name, count.samples.to_string(), count.patients.to_string()];
        row.into_iter().take(columns).collect()
    });
    table(
        &["split", "samples", "patients"][..columns],
        rows.collect(),
        1,
    )
}

fn classes(findings: &Findings) -> String {
    if findings.task == Task::Unlabelled {
        return "no labels\n".to_owned();
    }
    let Some(classes) = &findings.classes else {
        return "classes are in the masks; `--pixels` counts them\n".to_owned();
    };
    let used = findings.splits.iter().map(|count| count.split);
    let used: Vec<Option<Split>> = used.collect();
    let mut header = vec!["class"];
    header.extend(used.iter().map(|split| name_of(*split)));
    let unlabelled = ("(no label)", findings.unlabelled);
    let all = classes
        .iter()
        .map(|class| (class.class.as_str(), class.samples));
    let has_unlabelled = SPLITS
        .iter()
        .any(|split| findings.unlabelled.of(*split) > 0);
    let all = all.chain(has_unlabelled.then_some(unlabelled));
    let rows = all.map(|(class, samples)| {
        let mut row = vec![class.to_owned()];
        row.extend(used.iter().map(|split| samples.of(*split).to_string()));
        row
    });
    table(&header, rows.collect(), 1) + "\n"
}

fn problem(problem: &Problem) -> String {
    let count = problem.places.len();
    let mut text = format!("{}: {count}\n", problem.what);
    for place in problem.places.iter().take(PLACES) {
        let _ = writeln!(text, "  {}", place.replace('\n', "\n    "));
    }
    if count > PLACES {
        let _ = writeln!(
            text,
            "  and {} more (`--format json` lists all)",
            count - PLACES
        );
    }
    text
}

/// Warnings and what is allowed.
fn notes(findings: &Findings) -> String {
    let mut notes = findings.warnings.clone();
    if findings.overlap_allowed && !findings.overlaps.is_empty() {
        let count = findings.overlaps.len();
        notes.push(format!("patients in several splits (allowed): {count}"));
    }
    let copies = findings.duplicates.iter().flatten().filter(|d| !d.leaks);
    let copies: Vec<String> = copies.map(|d| d.samples.join(" = ")).collect();
    if let Some(first) = copies.first() {
        let count = copies.len();
        notes.push(format!(
            "identical images in one split: {count}, for instance {first}"
        ));
    }
    notes.iter().map(|note| printable(note) + "\n").collect()
}
