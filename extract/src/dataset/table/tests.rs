use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::dataset::fixtures::folder;

fn read(name: &str, content: &[u8]) -> Result<Table, Error> {
    let root = folder(&[(name, content)]);
    Table::read(&root.path().join(name))
}

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn cells(table: &Table) -> Vec<Vec<&str>> {
    let headers = table.headers.iter().map(String::as_str).collect();
    let rows = table
        .rows
        .iter()
        .map(|row| row.cells.iter().map(String::as_str).collect());
    std::iter::once(headers).chain(rows).collect()
}

#[test]
fn fields_lie_between_commas_semicolons_or_tabs() {
    for (text, expected) in [
        (
            "image,label\na;1.png,x\n",
            [["image", "label"], ["a;1.png", "x"]],
        ),
        (
            "\u{feff}image;label\r\na.png;x, y\r\n",
            [["image", "label"], ["a.png", "x, y"]],
        ),
        (
            "image\tlabel\na.png\tx;y\n",
            [["image", "label"], ["a.png", "x;y"]],
        ),
        ("\"a,b\";\"c;d;e\"\n1;2\n", [["a,b", "c;d;e"], ["1", "2"]]),
        ("image,\"a;b;c\"\n1,2\n", [["image", "a;b;c"], ["1", "2"]]),
    ] {
        assert_eq!(cells(&read("t.csv", text.as_bytes()).unwrap()), expected);
    }
    let one = read("t.csv", b"image\na,b.png,\n");
    assert!(matches!(one, Err(Error::RaggedRow { line: 2, .. })));
}

#[test]
fn a_gzipped_table_is_read_like_any_other() {
    let table = read("t.csv.gz", &gzipped(b"image;label\na.png;x\n")).unwrap();
    assert_eq!(cells(&table), [["image", "label"], ["a.png", "x"]]);
    let whole = gzipped(&b"image,label\na.png,x\n".repeat(50));
    let text = read("t.csv.gz", &whole[..whole.len() - 9])
        .err()
        .unwrap()
        .to_string();
    assert!(
        text.contains("cannot be unpacked") && text.contains("hint:"),
        "{text}"
    );
}

#[test]
fn text_in_utf_16_is_refused_with_what_to_do() {
    for mark in ["\u{ff}\u{fe}", "\u{fe}\u{ff}"] {
        let mark: Vec<u8> = mark.chars().map(|byte| byte as u8).collect();
        let text = read("t.csv", &[&mark[..], b"i\0m\0"].concat())
            .err()
            .unwrap()
            .to_string();
        assert!(
            text.contains("found UTF-16") && text.contains("hint: save it as UTF-8"),
            "{text}"
        );
    }
}
