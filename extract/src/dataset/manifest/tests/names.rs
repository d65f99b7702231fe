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
    let cell = format!("found `{}…` as the label", &long[..100]);
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

#[test]
fn labels_that_cannot_be_names_are_refused_where_they_stand() {
    for (manifest, parts) in [
        (
            "image,label\na.png,0\nm.png,-1\n",
            ["line 3", "`-1`", "blank where it is not known"],
        ),
        (
            "image,labels\na.png,\"['x', 'y']\"\nm.png,x\n",
            ["`['x', 'y']`", "line 2", "put `|` between them"],
        ),
        (
            "image,labels\na.png,0|1|0\n",
            ["line 2", "each class once", "`--label-columns`"],
        ),
        (
            "image,label\na.png,\"x\nm.png,y\"\n",
            ["line 2", "line break", "not closed"],
        ),
        (
            "image,label,Label\na.png,x,y\n",
            ["2 columns named `label`", "one", "rename"],
        ),
    ] {
        let text = refusal(manifest);
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(text.contains("hint:"), "{text}");
    }
    let files = [
        ("manifest.csv", "image,label\na.png,NA\n"),
        ("a.png", "x"),
        ("classes.txt", "NA\nEU\n"),
    ];
    let text = listed(&files, &[]).unwrap_err().to_string();
    let is_named = text.contains("classes.txt") && text.contains("`NA`");
    assert!(is_named, "{text}");
}

#[test]
fn names_that_look_alike_and_missing_labels_are_told() {
    let warnings = |manifest: &str| {
        let files = [("manifest.csv", manifest), ("a.png", "x"), ("b.png", "x")];
        listed(&files, &[]).unwrap().warnings.join("\n")
    };
    let text = warnings("image,label,patient,age\na.png,Normal,P1,3\nb.png,normal,p1,4\n");
    for part in [
        "different classes with similar names",
        "`Normal`, `normal`",
        "different patients with similar",
        "columns that are not used: `age`",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    assert!(warnings("image\na.png\n").contains("the samples have no labels"));
    let text = warnings("image,labels\na.png,\"x, y\"\nb.png,x\n");
    assert!(text.contains("`x, y` is one class"), "{text}");
    assert_eq!(warnings("image,label\na.png,x\nb.png,\n"), "");
}

#[test]
fn floats_of_whole_numbers_are_the_same_classes() {
    let manifest = "image,label,slices\na.png,1.0,0.0\nb.png,0.0,2.0\nm.png,,\n";
    let files = [
        ("manifest.csv", manifest),
        ("a.png", "x"),
        ("b.png", "x"),
        ("m.png", "x"),
        ("classes.txt", "0.0\n1.0\n"),
    ];
    let dataset = listed(&files, &[]).unwrap();
    assert_eq!(dataset.classes, ["0", "1"]);
    assert_eq!(dataset.samples[0].labels, Labels::Single(Some(1)));
    assert_eq!(dataset.samples[1].slices, Some(2..=2));
}

#[test]
fn rows_of_one_slice_must_agree() {
    for (second, agrees) in [
        ("5-9,x,train", true),
        ("5-9,y,train", false),
        ("5-9,x,test", false),
    ] {
        let manifest = format!(
            "image,slices,label,split,id\na.png,0-6,x,train,one\na.png,{second},two\na.png,10-12,y,test,three\n"
        );
        let files = [("manifest.csv", &*manifest), ("a.png", "x")];
        let found = listed(&files, &[]);
        if agrees {
            let warnings = found.unwrap().warnings.join("\n");
            assert!(warnings.contains("1 row with slices") && warnings.contains("`a.png`"));
            continue;
        }
        let text = found.unwrap_err().to_string();
        let parts = ["line 3 than in line 2", "`a.png`", "hint:"];
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
    let whole = "image,label,id\na.png,x,1\na.png,y,2\n";
    let text = listed(&[("manifest.csv", whole), ("a.png", "x")], &[]).unwrap_err();
    assert!(text.to_string().contains("line 3"), "{text}");
}
