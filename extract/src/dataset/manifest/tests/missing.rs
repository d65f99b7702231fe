//! Rows whose files are not there.

use super::*;

#[test]
fn missing_files_are_counted_and_five_are_named() {
    let lines: String = (0..7).map(|k| format!("gone/{k}.png,\n")).collect();
    let text = refusal(&format!("image,note\n{lines}"));
    assert!(
        text.contains("7 files missing") && text.contains("`gone/4.png`"),
        "{text}"
    );
    assert!(
        !text.contains("gone/5.png") && text.contains("hint:"),
        "{text}"
    );
}

#[test]
fn rows_of_missing_files_are_left_out_if_that_is_allowed() {
    let manifest = "image,mask,label\na.png,gone.png,x\nb.png,m.png,y\nc.png,m.png,x\n";
    let files = [
        ("manifest.csv", manifest),
        ("a.png", "x"),
        ("b.png", "x"),
        ("m.png", "x"),
    ];
    let text = listed(&files, &[]).unwrap_err().to_string();
    let parts = [
        "2 files missing (`gone.png`, `c.png`)",
        "hint: paths",
        "`--allow-missing`",
    ];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    let mut card = card(&[]);
    card.options.allow_missing = true;
    let dataset = open(folder(&files).path(), &card).unwrap();
    assert_eq!(
        (dataset.samples.len(), dataset.samples[0].id.as_str()),
        (1, "b")
    );
    assert!(dataset.warnings[0].contains("`gone.png`, `c.png`"));
    assert!(
        open(folder(&files[..1]).path(), &card).is_err(),
        "nothing is left"
    );
}
