use super::*;

fn grid(cell: &str) -> Grid {
    let columns = vec![
        Column::text("name", 0),
        Column::text("long", 1),
        Column::number("n", 2),
    ];
    Grid::new(columns, [vec!["a".into(), cell.into(), "1".into()]])
}

#[test]
fn columns_are_left_out_until_a_row_has_80_characters() {
    assert_eq!(grid("b").text(false), "name  long  n\na     b     1");
    let shorter = grid(&"b".repeat(73)).text(false);
    assert!(shorter.ends_with("b\n(--wide shows n)"), "{shorter}");
    let long = grid(&"b".repeat(99));
    let text = long.text(false);
    assert!(
        text.starts_with("name\na\nlong\n  bbb") && text.ends_with("b\n  (--wide shows n)"),
        "{text}"
    );
    let rows = ["b", "c"].map(|letter| vec!["a".into(), letter.repeat(99), letter.into()]);
    let apart = Grid::new(long.columns.clone(), rows);
    assert_eq!(apart.text(false), "name\na\na\n(--wide shows long, n)");
    assert!(long.text(true).contains("bbb") && !long.text(true).contains("--wide"));
}

#[test]
fn keys_are_wrapped_if_nothing_more_can_be_left_out() {
    let columns = vec![Column::text("name", 0), Column::key("setting", 1)];
    let row = |n: u32| vec!["a".repeat(40), format!("{} n={n}", "word=1 ".repeat(9))];
    let text = Grid::new(columns, [row(1), row(2)]).text(false);
    assert!(width(&text) <= WIDTH, "{text}");
    assert!(!text.contains("--wide") && text.contains("n=2"), "{text}");
    let words = text.split_whitespace();
    assert_eq!(words.filter(|word| *word == "word=1").count(), 18, "{text}");
    // A column that is too wide by one character.
    let columns = vec![Column::text("name", 0), Column::key("found", 0)];
    let row = ["a".repeat(38), "word ".repeat(8) + "w"].to_vec();
    let text = Grid::new(columns, [row]).text(false);
    assert!(width(&text) <= WIDTH, "{text}");
    let columns = ["first", "second", "third"].map(|name| Column::key(name, 0));
    let long = Grid::new(
        columns.to_vec(),
        [["a", "b", "c"].map(|name| name.repeat(40)).to_vec()],
    );
    let text = long.text(false);
    assert!(
        width(&text) <= WIDTH && text.matches('c').count() == 41,
        "{text}"
    );
}

#[test]
fn columns_beside_a_setting_do_not_depend_on_its_length() {
    let text = |setting: &str| {
        let columns = vec![
            Column::text("model", 0),
            Column::text("setting", 0).with_room(16),
            Column::number("first", 0),
            Column::number("second", 1).brief(),
            Column::number("third", 2).brief(),
        ];
        let row = |n: u32| {
            let model = format!("{}{n}", "m".repeat(24));
            let value = format!("0.{n} [0.100, 0.200]");
            vec![
                model,
                setting.to_owned(),
                "f".repeat(21),
                value.clone(),
                value,
            ]
        };
        Grid::new(columns, [row(1), row(2)]).text(false)
    };
    for setting in ["k=1", "blocks=1+mean learning=0.00001 *"] {
        let text = text(setting);
        assert!(width(&text) <= WIDTH, "{text}");
        let header: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(header, ["model", "setting", "first", "second"], "{text}");
        assert!(text.contains("0.2\n") && !text.contains("[0.1"), "{text}");
        let end = "(--wide shows third, intervals of second)";
        assert!(text.ends_with(end), "{text}");
    }
}

#[test]
fn hostile_cells_stay_cells() {
    let hostile = grid("a|b,\"<i>\"\n\u{1b}[2J");
    assert_eq!(hostile.text(false).lines().count(), 2);
    let lines = "| name | long | n |\n| --- | --- | ---: |\n| a | a\\|b,\"&lt;i>\"\\\\n";
    assert!(
        hostile.markdown().starts_with(lines),
        "{}",
        hostile.markdown()
    );
    assert_eq!(hostile.markdown().lines().count(), 3);
    let csv = hostile.csv();
    assert!(csv.contains("a,\"a|b,\"\"<i>\"\"\\n"), "{csv}");
}
