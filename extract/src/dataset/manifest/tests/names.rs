//! Names of classes that cannot be.

use super::*;

#[test]
fn a_label_with_bars_is_one_class_only_if_a_list_says_so() {
    let manifest = "image,label\nm.png,a\na.png,a|b\n";
    let text = refusal(manifest);
    let parts = [
        "`a|b`",
        "line 3",
        "one class",
        "hint: ",
        "`labels`",
        "`classes.txt`",
    ];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    let files = |list: &'static str| {
        [
            ("manifest.csv", manifest),
            ("a.png", "x"),
            ("m.png", "x"),
            ("classes.txt", list),
        ]
    };
    let dataset = listed(&files("a|b\na\n"), &[]).unwrap();
    assert_eq!(dataset.samples[1].labels, Labels::Single(Some(0)));
    let text = listed(&files("a\nb\n"), &[]).unwrap_err().to_string();
    assert!(
        text.contains("`a|b`") && text.contains("`labels`"),
        "{text}"
    );
}

#[test]
fn names_too_long_for_a_class_are_refused_where_they_stand() {
    let long = "x".repeat(1001);
    let cell = format!("the label is `{}…`", &long[..100]);
    let label = format!("image,label\nm.png,{}\na.png,{long}\n", &long[1..]);
    let text = refusal(&label);
    let parts = [
        "manifest.csv",
        "line 3",
        cell.as_str(),
        "at most 1000 characters",
    ];
    assert!(
        parts.iter().all(|part| text.contains(part)) && text.len() < 500,
        "{text}"
    );
    let joined = format!("image,labels\na.png,b|{long}\n");
    assert!(refusal(&joined).contains("at most 1000 characters"));
    let files = |name: &'static str, text: String| {
        [
            ("manifest.csv", "image,mask,label\na.png,,b\n".to_owned()),
            ("a.png", "x".to_owned()),
            (name, text),
        ]
    };
    for (name, text) in [
        ("classes.csv", format!("value,name\n1,{long}\n")),
        ("classes.txt", format!("b\n{long}\n")),
    ] {
        let files = files(name, text);
        let files: Vec<(&str, &str)> = files.iter().map(|(n, text)| (*n, text.as_str())).collect();
        let text = listed(&files, &[]).unwrap_err().to_string();
        assert!(
            text.contains("at most 1000 characters") && text.len() < 500,
            "{text}"
        );
    }
}
