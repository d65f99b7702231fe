//! What all charts have in common: well-formed XML without a number that is none, whatever the data.

use plot::{
    Axis, Bar, BarGroup, Bars, Caption, Cloud, CriticalDifference, Interval, Intervals, Line,
    Lines, Matrix, Point, RankLine, Ranks, Scatter, Spread, Stroke,
};

const HOSTILE: &str =
    "</text></svg><script>alert('x')</script>&amp;\" \u{0}\u{1b}[31m\u{202e}\u{ffff}";

/// An element: its name and attributes, and the text before the next tag.
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
}

impl Element {
    fn get(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        &found
            .unwrap_or_else(|| panic!("<{}> without {name}", self.name))
            .1
    }

    fn number(&self, name: &str) -> f64 {
        self.get(name).parse().expect("a number")
    }
}

/// All elements of a document in order. Panics if the XML is not well-formed.
fn parse(xml: &str) -> Vec<Element> {
    let (mut open, mut elements) = (Vec::new(), Vec::new());
    for piece in xml.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        check_text(text);
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "tags nest");
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "<{name}>");
        open.push(name.to_string());
        let attributes = split_attributes(attributes);
        elements.push(Element {
            name: name.to_string(),
            attributes,
            text: text.to_string(),
        });
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    elements
}

fn split_attributes(mut rest: &str) -> Vec<(String, String)> {
    let mut attributes = Vec::new();
    while !rest.trim().is_empty() {
        let (name, value) = rest.trim_start().split_once("=\"").expect("name=\"value\"");
        let (value, after) = value.split_once('"').expect("a quote ends");
        assert!(
            attributes.iter().all(|(known, _)| known != name),
            "{name} twice"
        );
        check_text(value);
        attributes.push((name.to_string(), value.to_string()));
        rest = after;
    }
    attributes
}

fn check_text(text: &str) {
    let allowed = |c: char| c >= ' ' && c != '\u{ffff}' && c != '\u{202e}';
    assert!(text.chars().all(allowed), "{text:?}");
    for entity in text.split('&').skip(1) {
        let name = entity.split_once(';').expect("an entity ends").0;
        assert!(["amp", "lt", "gt", "quot"].contains(&name), "&{name};");
    }
}

/// One of each kind of chart over the same name and numbers.
fn charts(id: &str, name: &str, values: &[f64]) -> Vec<(&'static str, String)> {
    let caption = |kind: &str| Caption::new(format!("{id}-{kind}"), name, name);
    let names = || {
        values
            .iter()
            .enumerate()
            .map(|(i, _)| format!("{i} {name}"))
    };
    let pairs = || values.iter().zip(values.iter().rev().chain(&[f64::NAN]));
    let points: Vec<Point> = pairs()
        .map(|(x, y)| Point {
            x: *x,
            y: *y,
            interval: Some((y - 0.1, y + 0.1)),
        })
        .collect();
    let bars = |horizontal| Bars {
        caption: caption(if horizontal { "horizontal" } else { "bars" }),
        axis: Axis::new(name),
        series: names().collect(),
        groups: vec![BarGroup {
            name: name.to_string(),
            bars: pairs()
                .map(|(a, b)| Bar {
                    value: Some(*a),
                    interval: Some((a - 0.1, *b)),
                    reference: Some(*b),
                })
                .collect(),
        }],
        reference: name.to_string(),
        horizontal,
    };
    let lines = |x: Axis, stroke, spread| Lines {
        caption: caption(&format!("{stroke:?}")),
        x,
        y: Axis::new(name),
        lines: names()
            .map(|name| Line {
                name,
                points: points.clone(),
                stroke,
                spread,
                of: None,
            })
            .collect(),
        diagonal: true,
        square: false,
    };
    let scatter = |map: bool| Scatter {
        caption: caption(if map { "map" } else { "scatter" }),
        clouds: vec![Cloud {
            name: name.to_string(),
            points: pairs().map(|(x, y)| (*x, *y)).collect(),
            titles: if map {
                Vec::new()
            } else {
                vec![name.to_string()]
            },
        }],
        map,
        ..Scatter::default()
    };
    let critical = CriticalDifference {
        caption: caption("cd"),
        ranks: names().zip(values.iter().copied()).collect(),
        cliques: vec![vec![0, 1], vec![0, 99]],
        difference: values.first().copied(),
    };
    let row = |(name, (a, b)): (String, (&f64, &f64))| Interval {
        name: name.clone(),
        group: name,
        value: Some(*a),
        interval: Some((*a, *b)),
    };
    let intervals = Intervals {
        caption: caption("intervals"),
        axis: Axis::new(name),
        rows: names().zip(pairs()).map(row).collect(),
        reference: values.first().copied(),
    };
    let matrix = Matrix {
        caption: caption("matrix"),
        rows: name.to_string(),
        columns: name.to_string(),
        names: names().collect(),
        counts: vec![values.iter().map(|value| *value as u64).collect()],
    };
    let ranks = Ranks {
        caption: caption("ranks"),
        datasets: names().collect(),
        models: names()
            .map(|name| RankLine {
                name,
                ranks: values.iter().copied().map(Some).collect(),
            })
            .collect(),
    };
    vec![
        ("bars", bars(false).svg().into_string()),
        ("horizontal bars", bars(true).svg().into_string()),
        (
            "lines",
            lines(Axis::new(name), Stroke::Marked, Spread::Bars)
                .svg()
                .into_string(),
        ),
        (
            "steps",
            lines(Axis::new(name).log(), Stroke::Steps, Spread::Band)
                .svg()
                .into_string(),
        ),
        ("map", scatter(true).svg().into_string()),
        ("scatter", scatter(false).svg().into_string()),
        ("critical difference", critical.svg().into_string()),
        ("intervals", intervals.svg().into_string()),
        ("matrix", matrix.svg().into_string()),
        ("ranks", ranks.svg().into_string()),
    ]
}

const NUMBERS: [&str; 12] = [
    "x",
    "y",
    "x1",
    "y1",
    "x2",
    "y2",
    "cx",
    "cy",
    "width",
    "height",
    "r",
    "stroke-width",
];

#[test]
fn charts_are_well_formed_and_accessible() {
    for (kind, svg) in charts("a", "a name", &[1.0, 3.0, 2.0, 4.0]) {
        let elements = parse(&svg);
        let root = &elements[0];
        assert_eq!(root.name, "svg", "{kind}");
        assert_eq!(root.get("role"), "img");
        assert_eq!(
            (elements[1].name.as_str(), elements[2].name.as_str()),
            ("title", "desc")
        );
        let named = format!("{} {}", elements[1].get("id"), elements[2].get("id"));
        assert_eq!(root.get("aria-labelledby"), named);
        assert_eq!(elements[1].text, "a name");
        assert!(!svg.contains("no data"), "{kind}");
        assert!(root.number("font-size") >= 10.0);
        assert!(
            elements
                .iter()
                .skip(1)
                .all(|e| e.attributes.iter().all(|(name, _)| name != "font-size"))
        );
    }
}

#[test]
fn hostile_names_stay_text() {
    for (kind, svg) in charts(HOSTILE, HOSTILE, &[1.0, 3.0, 2.0, 4.0]) {
        let elements = parse(&svg);
        let foreign = elements
            .iter()
            .find(|element| element.name == "script" || element.name == "img");
        assert!(foreign.is_none(), "{kind}");
        let id = elements[1].get("id");
        assert!(
            id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
            "{id}"
        );
    }
}

#[test]
fn numbers_that_are_none_are_not_drawn() {
    let lists: [&[f64]; 8] = [
        &[],
        &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY],
        &[f64::NAN, 2.0, 3.0],
        &[0.0],
        &[-1.0, -1.0],
        &[f64::MAX, f64::MIN, 5e-324],
        &[1e-9, 1e9, 0.0],
        &[1e99, -1e99],
    ];
    for values in lists {
        for (kind, svg) in charts("a", "name", values) {
            let elements = parse(&svg);
            let draws = |text: &str| text.contains("NaN") || text.contains("inf");
            let faulty = elements
                .iter()
                .flat_map(|e| &e.attributes)
                .find(|(_, value)| draws(value));
            assert!(faulty.is_none(), "{kind} of {values:?}: {faulty:?}");
            for element in elements.iter().skip(1) {
                for (name, value) in element
                    .attributes
                    .iter()
                    .filter(|(_, value)| value != "100%")
                {
                    if NUMBERS.contains(&name.as_str()) {
                        assert!(
                            value.parse::<f64>().unwrap().abs() < 1e5,
                            "{kind} of {values:?}: {name}={value}"
                        );
                    }
                }
            }
        }
    }
    for (kind, svg) in charts("a", "name", &[f64::NAN]) {
        assert!(svg.contains("no data"), "{kind}");
    }
}

fn bars_of(values: &[Option<f64>]) -> Vec<Element> {
    let group = |value: &Option<f64>| BarGroup {
        name: "g".to_string(),
        bars: vec![Bar {
            value: *value,
            ..Bar::default()
        }],
    };
    let chart = Bars {
        caption: Caption::new("b", "t", "d"),
        axis: Axis::new("AUROC").range(0.5, 1.0),
        groups: values.iter().map(group).collect(),
        ..Bars::default()
    };
    parse(&chart.svg().into_string())
}

#[test]
fn bars_grow_with_their_value_and_stay_inside_the_axes() {
    let elements = bars_of(&[Some(0.3), Some(0.6), Some(0.75), Some(1.0), Some(7.0)]);
    let bars: Vec<&Element> = elements
        .iter()
        .filter(|e| e.name == "rect" && e.get("class") == "f-1")
        .collect();
    let heights: Vec<f64> = bars.iter().map(|bar| bar.number("height")).collect();
    assert_eq!(heights, [0.0, 50.0, 125.0, 250.0, 250.0]);
    let starts: Vec<f64> = bars.iter().map(|bar| bar.number("x")).collect();
    assert!(
        starts.windows(2).all(|pair| pair[0] < pair[1]),
        "{starts:?}"
    );
    let (wide, high) = (elements[0].number("width"), elements[0].number("height"));
    for bar in bars {
        assert!(bar.number("x") >= 0.0 && bar.number("x") + bar.number("width") <= wide);
        assert!(bar.number("y") >= 0.0 && bar.number("y") + bar.number("height") <= high);
    }
}

#[test]
fn a_missing_bar_is_said_to_be_missing() {
    let elements = bars_of(&[Some(0.8), None]);
    let titles: Vec<&str> = elements
        .iter()
        .filter(|e| e.name == "title")
        .map(|e| e.text.as_str())
        .collect();
    assert_eq!(titles[1..], ["g: 0.8", "g: missing"]);
    assert_eq!(elements.iter().filter(|e| e.name == "rect").count(), 2);
}

#[test]
fn better_ranks_stand_further_left_and_cliques_within_others_are_left_out() {
    let ranks = [("c", 3.0), ("a", 1.2), ("b", 1.8)].map(|(name, rank)| (name.to_string(), rank));
    let chart = CriticalDifference {
        caption: Caption::new("cd", "t", "d"),
        ranks: ranks.to_vec(),
        cliques: vec![vec![1, 2], vec![0, 1, 2], vec![2]],
        difference: None,
    };
    let elements = parse(&chart.svg().into_string());
    let text = |name: &str| {
        elements
            .iter()
            .find(|e| e.name == "text" && e.text == name)
            .unwrap()
    };
    assert!(text("a").number("y") < text("b").number("y"));
    assert!(text("b").number("x") < text("c").number("x"));
    let bars = elements
        .iter()
        .filter(|e| e.name == "line" && e.get("stroke-width") == "4");
    assert_eq!(bars.count(), 1);
}

#[test]
fn lines_break_at_missing_points() {
    let points = [0.0, f64::NAN, 2.0, 3.0].map(|x| Point::new(x, 0.5));
    let line = |stroke| Line {
        stroke,
        ..Line::new("a", points.to_vec())
    };
    let chart = Lines {
        lines: vec![line(Stroke::Plain)],
        ..Lines::default()
    };
    let path = |elements: &[Element]| {
        elements
            .iter()
            .find(|e| e.name == "path")
            .unwrap()
            .get("d")
            .to_string()
    };
    let plain = path(&parse(&chart.svg().into_string()));
    assert_eq!(
        (plain.matches('M').count(), plain.matches('L').count()),
        (2, 1),
        "{plain}"
    );
}

#[test]
fn a_matrix_shows_counts_and_shares_of_rows() {
    let chart = Matrix {
        names: vec!["a".to_string(), "b".to_string()],
        counts: vec![vec![3, 1], vec![0, 0]],
        ..Matrix::default()
    };
    let elements = parse(&chart.svg().into_string());
    let texts: Vec<&str> = elements
        .iter()
        .filter(|e| e.name == "text")
        .map(|e| e.text.as_str())
        .collect();
    for expected in ["3", "75%", "1", "25%", "0"] {
        assert!(texts.contains(&expected), "{texts:?}");
    }
}

#[test]
fn many_points_stay_small() {
    let points = (0..50_000)
        .map(|i| (f64::from(i % 251), f64::from(i % 257)))
        .collect();
    let cloud = Cloud {
        name: "c".to_string(),
        points,
        titles: Vec::new(),
    };
    let chart = Scatter {
        clouds: vec![cloud],
        map: true,
        ..Scatter::default()
    };
    let svg = chart.svg().into_string();
    assert!(svg.len() < 60 * 50_000, "{} bytes", svg.len());
    assert_eq!(parse(&svg).iter().filter(|e| e.name == "path").count(), 2);
}
